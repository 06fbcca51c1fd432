"""The database of a tenant's own on a shared server: made once, then connected and looked at like a pool of one.

Its server tells every minute, in one query for all of its tenants, whose roles and rights changed; only those databases
are looked into before their tenants' turn comes anyway. One that is gone is never made again by itself: an empty
database in its place would look like a tenant that lost nothing.
"""

from __future__ import annotations

from paybill.api.failures import Blocked
from paybill.control.claims import Claim
from paybill.databases.own_database import exists
from paybill.databases.pools import ensure_pool
from paybill.desired.database import PoolDatabase
from paybill.desired.sql_names import tenant_database
from paybill.reconcile.site import refuse_removed
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World


def pool_of(claim: Claim) -> PoolDatabase:
    """The database that a claim's tenant has to itself on its server."""
    return PoolDatabase(
        server=claim.server,
        cell=claim.cell,
        name=tenant_database(claim.id),
        holds="Schemas",
        installation=claim.installation,
        subject=claim.origin_uid,
    )


async def attach(world: World, claim: Claim, cause: str, *, deep: bool) -> None:
    """Have the tenant's database made, where it never was, and connected.

    ``deep`` looks into it whatever its server says. Raises Blocked (DatabaseMissing) when it was there and is gone.
    """
    refuse_removed(world, claim)
    home = world.servers.get(claim.cell, claim.server)
    known = home.databases.get(claim.id)
    if known is not None and known.made:
        if deep or known.print != home.print_of(claim.id):
            known.print = home.print_of(claim.id)
            await known.look_at_all()
        return
    pool, acting = pool_of(claim), not world.brakes.halt.observing
    if not await exists(home.server, pool):
        _refuse_lost(claim, pool)
        scope = Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)
        target = f"Database/{pool.name}"
        make = Step(action="database.create", target=target, act=lambda: ensure_pool(home.server, pool), inputs=pool)
        await take(world, scope, [make])
    elif acting:
        await ensure_pool(home.server, pool)
    await world.servers.attach_database(home, claim.id, pool, made=acting)


async def reached(world: World, claim: Claim) -> bool:
    """Whether there is a database of the tenant, which is then connected, as it is."""
    home = world.servers.get(claim.cell, claim.server)
    if claim.id in home.databases:
        return True
    pool = pool_of(claim)
    if not await exists(home.server, pool):
        return False
    acting = not world.brakes.halt.observing
    if acting:
        await ensure_pool(home.server, pool)
    await world.servers.attach_database(home, claim.id, pool, made=acting)
    return True


def _refuse_lost(claim: Claim, pool: PoolDatabase) -> None:
    if claim.ready_time is not None:
        raise Blocked(
            "DatabaseMissing",
            f"Tenant {claim.tenant_name}: its database {pool.name} is gone from server {claim.server} of Cell "
            f"{claim.cell}; an empty one is not made in its place: restore it there under this name, or delete the "
            "Tenant",
        )
