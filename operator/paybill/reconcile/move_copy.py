"""The copy of a tenant's rows, beside its reconciles: begun by one, told about by those after it, ended with the move.

It lives in this process only. Whoever finds a subscription that does nothing yet, and no copy here, begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from paybill.api.failures import Failure, Retry
from paybill.control.claims import Claim
from paybill.lifecycle.move import Copying
from paybill.moves import copying
from paybill.moves.job import Job
from paybill.moves.replication import Progress
from paybill.moves.streams import Carried
from paybill.reconcile.backup_jobs import Progress as Tell
from paybill.reconcile.queue import Work
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

PLACE = ("moves", "")
"""Copies are bounded by how many moves there may be, and take no backup's room on a server."""


def _work(claim: Claim) -> Work:
    return Work("Tenant", claim.tenant_name)


def refuse_beside_backup(world: World, claim: Claim) -> None:
    """Raise Retry while a backup or a restore of the tenant goes on: both would open the same logins."""
    if not world.jobs.room(PLACE, claim.id, limit=len(world.moves.all()) + 1):
        raise Retry("MoveWaits", f"a backup or a restore of Tenant {claim.tenant_name} goes on", after=10.0)


def begin(world: World, claim: Claim, job: Job, tables: Sequence[str], definition: bytes) -> None:
    """Begin to copy into the target that was just made; the tenant is looked at when it ends."""
    carried = Carried()

    async def run(_: Tell) -> None:
        await copying.copy(job, tables, definition, carried)
        world.copied.add(claim.id)

    world.copied.discard(claim.id)
    world.carried[claim.id] = carried
    world.jobs.begin(_work(claim), PLACE, claim.id, run)


async def stop(world: World, claim: Claim) -> None:
    """End the copy, if there is one, and wait until its logins are gone: whoever makes them anew must not lose them."""
    await world.jobs.stop(_work(claim))
    forget(world, claim)


def forget(world: World, claim: Claim) -> None:
    """Forget a copy that is followed, or will be begun anew."""
    world.copied.discard(claim.id)
    world.carried.pop(claim.id, None)


def seen(world: World, claim: Claim, progress: Progress) -> tuple[Progress, Copying | None]:
    """What is known of a move's copy, with that of ours while changes are not replicated yet."""
    if progress.following or progress.broken:
        return progress, None
    ended = world.jobs.ended(_work(claim))
    failure = ended.exception() if ended is not None and not ended.cancelled() else None
    if failure is not None:
        if not isinstance(failure, Failure):
            logger.error("the copy of Tenant %s ended by a mistake of ours", claim.tenant_name, exc_info=failure)
        said = failure.message if isinstance(failure, Failure) else type(failure).__name__
        return replace(progress, broken=f"the copy failed: {said}"), None
    carried = world.carried.get(claim.id)
    if carried is None:
        return progress, "Lost"
    known = replace(progress, done=carried.tables, rows=carried.rows, size=carried.size)
    if world.jobs.running(_work(claim)) is not None:
        return known, "Runs"
    return known, "Done" if claim.id in world.copied else "Lost"
