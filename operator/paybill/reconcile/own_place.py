"""What a tenant has to itself, a server or a database: connected for whoever works with what is in it.

A tenant of a pool has nothing of the kind, and its pool is connected by its Cell.
"""

from __future__ import annotations

from paybill.control.claims import Claim
from paybill.reconcile import own_database, own_server
from paybill.reconcile.world import World


async def connected(world: World, claim: Claim) -> bool:
    """Whether there is a place where the tenant can have data; its own one is connected then, as it is.

    Raises Retry while its server is away.
    """
    if claim.level == "Server":
        if not own_server.handed_over(world, claim):
            return False  # its server was never there, so nobody ever got in
        await own_server.attach(world, claim, deep=False)
    return claim.level != "Database" or await own_database.reached(world, claim)
