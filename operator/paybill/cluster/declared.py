"""What users declared, as last seen on the watch: Plans, Tenants, Subscriptions, Cells, Approvals, and what was asked
of backups: TenantBackups, TenantRestores; and what agents of tenants may do, go
through and are asked for: AgentPolicies, AgentWorkflows, AgentRuns.

The handlers feed it, reconciles read it. A reconcile therefore costs no read of the API server; what it decides
on may be a moment old, which is harmless because the next event makes it look again. Tenants and Subscriptions, of
which there are thousands, are kept as text (shelf.py).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

from pydantic import ValidationError

from paybill.api.agent_policy import AgentPolicy
from paybill.api.agent_run import AgentRun
from paybill.api.agent_workflow import AgentWorkflow
from paybill.api.approval import Approval
from paybill.api.base import keyed
from paybill.api.cell import Cell
from paybill.api.plan import Plan
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.api.tenant_backup import TenantBackup
from paybill.api.tenant_restore import TenantRestore
from paybill.cluster.glances import (
    BackupGlance,
    PolicyGlance,
    RestoreGlance,
    SubscriptionGlance,
    TenantGlance,
    glance_at_backup,
    glance_at_plan,
    glance_at_policy,
    glance_at_restore,
    glance_at_subscription,
    glance_at_tenant,
)
from paybill.cluster.shelf import Shelf
from paybill.lifecycle.sale import Listed

logger = logging.getLogger(__name__)


class Declared:
    """The kinds by name, with the indices that reconciles ask for."""

    def __init__(self) -> None:
        self.plans: Shelf[Plan, Listed] = Shelf(Plan, glance_at_plan)
        self.tenants: Shelf[Tenant, TenantGlance] = Shelf(Tenant, glance_at_tenant)
        self.subscriptions: Shelf[Subscription, SubscriptionGlance] = Shelf(Subscription, glance_at_subscription)
        self.cells: Shelf[Cell, None] = Shelf(Cell, lambda _: None)
        self.approvals: Shelf[Approval, str] = Shelf(Approval, lambda approval: approval.spec.subject.name)
        self.backups: Shelf[TenantBackup, BackupGlance] = Shelf(TenantBackup, glance_at_backup)
        self.restores: Shelf[TenantRestore, RestoreGlance] = Shelf(TenantRestore, glance_at_restore)
        self.policies: Shelf[AgentPolicy, PolicyGlance] = Shelf(AgentPolicy, glance_at_policy)
        self.workflows: Shelf[AgentWorkflow, None] = Shelf(AgentWorkflow, lambda _: None)
        self.runs: Shelf[AgentRun, None] = Shelf(AgentRun, lambda _: None)
        kinds = (
            self.plans, self.tenants, self.subscriptions, self.cells, self.approvals, self.backups, self.restores,
            self.policies, self.workflows, self.runs,
        )  # fmt: skip
        self._by_kind: dict[str, Shelf[Any, Any]] = {shelf.kind: shelf for shelf in kinds}
        self._subscriptions_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._subscriptions_to: dict[str, dict[str, None]] = defaultdict(dict)
        self._paid_by: dict[str, dict[str, None]] = defaultdict(dict)
        self._unclear: dict[str, None] = {}
        self._approvals_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._backups_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._policies_of: dict[str, dict[str, None]] = defaultdict(dict)

    def put(self, kind: str, obj: dict[str, Any]) -> bool:
        """Take up an object; False when it is no news (a write of ours that was taken up already, or older).

        What does not parse is logged and left out: admission refuses what the schema does not allow, so that
        happens only with an object stored under an older or newer schema.
        """
        shelf, name = self._by_kind[kind], keyed(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        # Versions of one kind compare as numbers; an object without one is older than any.
        before = shelf.entry(name)
        if before is not None and before.version >= int(obj["metadata"].get("resourceVersion") or 0):
            return False
        try:
            shelf.put(obj)
        except ValidationError as error:
            logger.error("%s %s cannot be read: %s", kind, name, error)
            return False
        if before is not None:
            self._unindex(name, before.glance)
        match shelf.glance(name):
            case SubscriptionGlance() as glance:
                self._subscriptions_of[glance.tenant][name] = None
                for plan in glance.plans:
                    self._subscriptions_to[plan][name] = None
                for payer in glance.payers:
                    self._paid_by[payer][name] = None
                if glance.unclear:
                    self._unclear[name] = None
            case BackupGlance() as glance:
                self._backups_of[glance.tenant][name] = None
            case PolicyGlance() as glance:
                self._policies_of[glance.tenant][name] = None
            case str(subject):
                self._approvals_of[subject][name] = None
        return True

    def remove(self, kind: str, name: str, uid: str) -> None:
        """Forget an object, unless its name has been taken by a newer one already."""
        shelf = self._by_kind[kind]
        before = shelf.entry(name)
        if before is not None and before.uid == uid:
            shelf.pop(name)
            self._unindex(name, before.glance)

    def approvals_of(self, subject: str) -> list[Approval]:
        """The Approvals whose subject has this name."""
        return [self.approvals[name] for name in self._approvals_of.get(subject, ())]

    def backups_of(self, tenant: str) -> list[BackupGlance]:
        """The TenantBackups that name this Tenant, at a glance, the newest first."""
        found = (self.backups.glance(name) for name in self._backups_of.get(tenant, ()))
        return sorted((one for one in found if one is not None), key=lambda one: (one.created, one.name), reverse=True)

    def policies_of(self, tenant: str) -> list[PolicyGlance]:
        """The AgentPolicies that name this Tenant, at a glance, the oldest first; of one second, who was let in."""
        found = (self.policies.glance(key) for key in self._policies_of.get(tenant, ()))
        return sorted((one for one in found if one is not None), key=lambda one: (one.created, not one.let_in, one.key))

    def restores_into(self, tenant: str, tenant_id: str | None) -> list[RestoreGlance]:
        """The TenantRestores whose data goes into this Tenant, the oldest first; there are few of them at all."""
        found = [one for one in self.restores.glances() if one.goes_into(tenant, tenant_id)]
        return sorted(found, key=lambda one: (one.created, one.name))

    def subscriptions_of(self, tenant: str) -> list[Subscription]:
        """The Subscriptions that name this Tenant."""
        return [self.subscriptions[name] for name in self._subscriptions_of.get(tenant, ())]

    def paid_by(self, payer: str) -> list[str]:
        """The names of the Subscriptions that name this subscription or customer of a payment provider."""
        return list(self._paid_by.get(payer, ()))

    def is_named(self, tenant: str) -> bool:
        """Whether any Subscription names this Tenant."""
        return tenant in self._subscriptions_of

    def subscriptions_to(self, plan: str) -> list[SubscriptionGlance]:
        """The Subscriptions that name this Plan, as base or add-on, at a glance: they may be all there are."""
        found = (self.subscriptions.glance(name) for name in self._subscriptions_to.get(plan, ()))
        return [one for one in found if one is not None]

    def unclear(self) -> list[SubscriptionGlance]:
        """The Subscriptions whose bill means nothing as yet, at a glance."""
        found = (self.subscriptions.glance(name) for name in self._unclear)
        return [one for one in found if one is not None]

    def _unindex(self, name: str, glance: Any) -> None:
        match glance:
            case SubscriptionGlance():
                _drop(self._subscriptions_of, glance.tenant, name)
                for plan in glance.plans:
                    _drop(self._subscriptions_to, plan, name)
                for payer in glance.payers:
                    _drop(self._paid_by, payer, name)
                self._unclear.pop(name, None)
            case BackupGlance():
                _drop(self._backups_of, glance.tenant, name)
            case PolicyGlance():
                _drop(self._policies_of, glance.tenant, name)
            case str():
                _drop(self._approvals_of, glance, name)


def _drop(index: dict[str, dict[str, None]], of: str, name: str) -> None:
    """Take one name out of an index, and its place with the last one: names come and go for years."""
    index[of].pop(name, None)
    if not index[of]:
        del index[of]
