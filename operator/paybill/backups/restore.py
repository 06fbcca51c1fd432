"""Restores a backup into a tenant: beside what is there, proved there, and put in its place by one transaction.

What a tenant has is never half replaced. A schema is restored under another name and renamed when all of it is there;
rows of shared tables are exchanged in a single transaction that compares before it commits. A restore that is killed is
begun again, over what it left, unless the exchange had been made: that is told by a mark which is part of it.
"""

from __future__ import annotations

import logging

from paybill.api.failures import Blocked, Failure, Retry
from paybill.backups import restore_rows, restore_schema
from paybill.backups.restoring import Restore, Target, scratch_of
from paybill.backups.scratch import remove, scratch_name
from paybill.databases.closing import shut
from paybill.databases.drop import Fence

logger = logging.getLogger(__name__)


def refuse_unfit(restore: Restore) -> None:
    """Raise ``Blocked("RestoreUnfit")`` when the backup cannot become what the target is."""
    known, target = restore.known, restore.target
    if (known.level == "Rows") is not target.rows:
        raise Blocked(
            "RestoreUnfit",
            f"backup {known.id} is of level {known.level}, tenant {target.tenant} is not: restore it into one on the"
            " same level, and change the Plan afterwards",
        )
    if target.rows and known.database != target.pool.name:
        raise Blocked(
            "RestoreUnfit",
            f"backup {known.id} holds rows of the shared tables of {known.database}, whose sequences know its numbers;"
            f" those of {target.pool.name} do not: restore it into a tenant there, and move that one afterwards",
        )


async def prepare(restore: Restore) -> None:
    """All that can be done while the tenant goes on: prove the backup, and put a schema beside the tenant's own.

    Raises ``Blocked("RestoreUnfit" | "BackupDamaged" | "BackupIncomplete" | "ScrubFailed" | …)``: nothing of the
    tenant was changed then.
    """
    refuse_unfit(restore)
    if await switched(restore):
        return
    restore.reached("clear")
    await abandon(restore)
    restore.reached("scratch")
    async with scratch_of(restore) as scratch:
        if restore.target.rows:
            return
        try:
            await restore_schema.stage(restore, scratch)
        except Failure:
            # Before the scratch database, whose drop needs a checkpoint: on a full disk that would end the server.
            await _abandon_after(restore)
            raise


async def close(restore: Restore) -> None:
    """Close the tenant's logins and end its sessions, so that nothing is written any more.

    Raises ``Retry("SessionsStillOpen" | "RestoreWaits")``; the logins are closed then all the same.
    """
    restore.reached("close")
    target = restore.target
    prepared = await shut(target.server, target.pool, target.tenant, restore.fence)
    if prepared:
        said = f"tenant {target.tenant} has {prepared} prepared transactions, which could still commit"
        raise Retry("RestoreWaits", said, after=60.0)


async def switch(restore: Restore) -> None:
    """Close the tenant's logins, and exchange what it has for what was prepared; they stay closed behind it.

    One transaction: before it everything is as it was, after it everything is as in the backup.
    """
    if await switched(restore):
        return
    restore.reached("switch")
    if restore.target.rows:
        await restore_rows.switch(restore, lambda: close(restore))
    else:
        await close(restore)
        await restore_schema.switch(restore)
    restore.reached("switched")


async def switched(restore: Restore) -> bool:
    """Whether the exchange has been made; of rows nothing is left that could tell, and making it twice is the same."""
    return await restore_schema.switched(restore.target, restore.job)


async def finish(restore: Restore) -> None:
    """Drop what was put aside; to be called when the tenant is open again."""
    restore.reached("finish")
    await restore_schema.drop(restore.target, restore.fence, restore_schema.aside(restore.target))


async def abandon(restore: Restore) -> None:
    """Drop what was prepared and not put in anybody's place."""
    await restore_schema.drop(restore.target, restore.fence, restore_schema.staging(restore.target))


async def _abandon_after(restore: Restore) -> None:
    """Do so behind a failure, which says more than why that cannot be done now; ``clear`` comes behind both."""
    try:
        await abandon(restore)
    except Failure as failure:
        logger.warning("what restore %s prepared for tenant %s stays: %s", restore.job, restore.target.tenant, failure)


async def clear(target: Target, fence: Fence, job: str) -> None:
    """The same for a restore that is over, also of one that was killed: no scratch database of it remains either."""
    await restore_schema.drop(target, fence, restore_schema.staging(target))
    await remove(target.server, scratch_name(job))
