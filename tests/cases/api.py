"""All cases of the API, as one table: objects to write (``CASES``) and updates of objects that exist (``CHANGES``)."""

from __future__ import annotations

from tests.cases import (
    agent_policy,
    agent_run,
    agent_workflow,
    approval,
    cell,
    plan,
    subscription,
    tenant,
    tenant_backup,
    tenant_restore,
)
from tests.cases.model import Case, Change

CASES: tuple[Case, ...] = (
    *cell.CASES,
    *plan.CASES,
    *tenant.CASES,
    *subscription.CASES,
    *approval.CASES,
    *tenant_backup.CASES,
    *tenant_restore.CASES,
    *agent_policy.CASES,
    *agent_workflow.CASES,
    *agent_run.CASES,
)
CHANGES: tuple[Change, ...] = (
    *cell.CHANGES,
    *plan.CHANGES,
    *tenant.CHANGES,
    *subscription.CHANGES,
    *approval.CHANGES,
    *tenant_backup.CHANGES,
    *tenant_restore.CHANGES,
    *agent_policy.CHANGES,
    *agent_workflow.CHANGES,
    *agent_run.CHANGES,
)
