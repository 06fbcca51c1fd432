"""What a TenantRestore says of itself, in the words that its Event, the log and ``paybill restore`` use too."""

from __future__ import annotations

from paybill.api import conditions as c
from paybill.api.failures import Failure
from paybill.api.tenant_restore import TenantRestore, TenantRestoreStatus
from paybill.reconcile import report
from paybill.reconcile.status import Fact
from paybill.reconcile.world import World


def done(asked: TenantRestore, status: TenantRestoreStatus) -> Fact:
    """Ready, and what proves it."""
    what = f"{status.rows} rows of {status.tables} tables"
    if asked.spec.dry_run:
        said = f"backup {status.backup} is whole: {what} would replace all that Tenant {status.tenant} has"
        return Fact(type=c.READY, status=c.TRUE, reason="DryRun", message=said)
    scrubbed = ", and were scrubbed then" if asked.spec.scrub is not None else ""
    said = f"{what} were restored into Tenant {status.tenant} and are what was counted before the backup{scrubbed}"
    return Fact(type=c.READY, status=c.TRUE, reason="Restored", message=said)


async def tell(
    world: World,
    asked: TenantRestore,
    failure: Failure | None,
    status: TenantRestoreStatus,
    said: Fact | None = None,
) -> None:
    """Say on the object how it is; nothing when that is what it says."""
    await report.tell(world, world.declared.restores, asked, status, failure, said or done(asked, status))
