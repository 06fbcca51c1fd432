"""Asks the stack of a tenant's own server for the administrator's login again, once the server refuses the known one.

A cloud that draws the administrator's password draws another one when it rotates it, and tells nobody. The stack knows
where it is kept, so an operation reads it there, and the tenant is then connected by what came of that. Whether it is
right shows when it is tried; while it is not, it is asked for again, each time after a longer pause.
"""

from __future__ import annotations

from datetime import timedelta

from paybill.api.failures import Blocked, Failure, Retry
from paybill.control.claims import Claim
from paybill.lifecycle.operation import Run, read_again
from paybill.reconcile.infrastructure import Wanted, begin, refuse_elsewhere, wanted_of
from paybill.reconcile.world import World

LOOK_SECONDS = 30.0
"""Until it is looked at again without a cause: the end of an operation is one."""


async def asked_again(world: World, claim: Claim | None, failure: Failure, cause: str) -> Failure:
    """The failure; where a tenant's own server refuses our login, after its stack was asked for a newer one."""
    if failure.reason != "DatabaseAccessDenied" or claim is None or claim.level != "Server":
        return failure
    wanted = _wanted(world, claim)
    if wanted is None:
        return failure
    until = world.now() + timedelta(seconds=LOOK_SECONDS)
    if world.operations.store.open_of(claim.id) is None:
        last = world.operations.store.newest_read(claim.id)
        answer = read_again(last.decided if last is not None else None, world.now())
        if isinstance(answer, Run):
            await begin(world, claim, wanted, answer, cause=cause, tier="Other")
        elif answer.until is not None:
            until = answer.until
    message = f"{failure.message}; its stack is asked for the administrator's login again, each time a while later"
    return Retry("DatabaseAccessDenied", message, after=max(1.0, (until - world.now()).total_seconds()))


def _wanted(world: World, claim: Claim) -> Wanted | None:
    """The stack to ask; None where nobody knows where it is."""
    content = world.revisions.get(claim.plan_name, claim.plan_revision)
    try:
        wanted = wanted_of(world, claim, content, "Retain") if content is not None else None
        if wanted is not None:
            refuse_elsewhere(claim, wanted, world.operations.store.stack(claim.id))
    except Blocked:
        return None
    return wanted
