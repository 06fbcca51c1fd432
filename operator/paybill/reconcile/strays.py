"""Tenants that a database server holds and the registry does not know.

A control database that was restored from a backup is older than the newest tenants: their roles and schemas carry our
mark, but no row says whose they are. Nothing is done to them, ever; the Cell says that they are there, so that
whoever restored the backup learns what it lacks.
"""

from __future__ import annotations

from paybill.api import conditions as c
from paybill.desired import sql_names
from paybill.desired.database import ObservedDatabase
from paybill.reconcile.servers import Attached
from paybill.reconcile.status import UNKNOWN_TENANTS, Fact
from paybill.reconcile.world import World

MOST_NAMES = 20


async def look(world: World, attached: Attached) -> None:
    """Remember on the server which of the ids seen there are strays: marked by this installation, in no registry."""
    unknown = sorted(one for one in attached.observed if world.registry.by_id(one) is None)
    ours = [one for one in unknown if _is_ours(world, attached.observed.get(one))]
    # Its drop may have ended while all were looked at: a new suspect is looked at once more.
    found = [one for one in ours if one in attached.strays or not await _gone(attached, one)]
    attached.strays = tuple(one for one in found if world.registry.by_id(one) is None)


def _is_ours(world: World, seen: ObservedDatabase | None) -> bool:
    """Whether anything of this id carries the mark of this installation; canaries of a check come and go."""
    if seen is None or sql_names.is_canary(seen.id):
        return False
    prefix = sql_names.mark(world.settings.installation, "x").removesuffix("x")
    return any((mark or "").startswith(prefix) for mark in seen.marks.values())


async def _gone(attached: Attached, tenant_id: str) -> bool:
    seen = await attached.look(tenant_id)
    if seen is None or seen.absent:
        attached.observed.pop(tenant_id, None)
        return True
    return False


def condition(world: World, cell: str) -> Fact:
    """What the Cell says of them; nothing when there are none."""
    found = [(one.spec.name, stray) for one in world.servers if one.cell == cell for stray in one.strays]
    if not found:
        return Fact(type=UNKNOWN_TENANTS, status=None)
    listed = ", ".join(f"{stray} on {server}" for server, stray in found[:MOST_NAMES])
    more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
    return Fact(
        type=UNKNOWN_TENANTS,
        status=c.TRUE,
        reason="NotInRegistry",
        message=f"{len(found)} tenants have data here that the registry does not know, and nothing is done to them: "
        f"{listed}{more}. Was the control database restored from a backup? See docs/how-to/recover.md",
    )
