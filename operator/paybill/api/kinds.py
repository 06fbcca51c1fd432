"""All kinds, in the order a person would apply them."""

from __future__ import annotations

from paybill.api.agent_policy import AgentPolicy
from paybill.api.agent_run import AgentRun
from paybill.api.agent_workflow import AgentWorkflow
from paybill.api.approval import Approval
from paybill.api.base import Resource
from paybill.api.cell import Cell
from paybill.api.plan import Plan
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.api.tenant_backup import TenantBackup
from paybill.api.tenant_restore import TenantRestore

KINDS: tuple[type[Resource], ...] = (
    Cell, Plan, Tenant, Subscription, Approval, TenantBackup, TenantRestore, AgentPolicy, AgentWorkflow, AgentRun
)  # fmt: skip
"""Every kind that has a CRD."""

BY_KIND: dict[str, type[Resource]] = {kind.kind: kind for kind in KINDS}
"""The model of a kind by its name in ``kind:``."""
