"""How whatever is asked for once begins, a TenantBackup or a TenantRestore: one that is gone or paused has no work.

Such an object has a job that outlives the reconcile that began it; who takes the object away ends the job as well.
"""

from __future__ import annotations

from typing import Any, TypeVar

from paybill.api.base import Resource
from paybill.cluster.shelf import Shelf
from paybill.desired import names
from paybill.reconcile.queue import Work
from paybill.reconcile.world import World

R = TypeVar("R", bound=Resource)


async def asked(world: World, shelf: Shelf[R, Any], name: str) -> R | None:
    """The object of that name, if there may be something to do for it; of one that is gone the job is stopped."""
    found = shelf.get(name)
    if found is None:
        await world.jobs.stop(Work(shelf.kind, name))
    elif found.metadata.annotations.get(names.PAUSED_ANNOTATION) != "true":
        return found
    return None
