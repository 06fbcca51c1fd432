"""What users declared, as last seen on the watch: Plans, Tenants, Subscriptions and Cells, parsed once per change.

The handlers feed it, reconciles read it. A reconcile therefore costs no read of the API server; what it decides
on may be a moment old, which is harmless because the next event makes it look again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

from pydantic import ValidationError

from paybill.api.base import Resource
from paybill.api.cell import Cell
from paybill.api.plan import Plan
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant

logger = logging.getLogger(__name__)

MODELS: dict[str, type[Resource]] = {"Plan": Plan, "Tenant": Tenant, "Subscription": Subscription, "Cell": Cell}


class Declared:
    """The four kinds by name, with the indices that reconciles ask for."""

    def __init__(self) -> None:
        self.plans: dict[str, Plan] = {}
        self.tenants: dict[str, Tenant] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.cells: dict[str, Cell] = {}
        self._by_kind: dict[str, dict[str, Any]] = {
            "Plan": self.plans,
            "Tenant": self.tenants,
            "Subscription": self.subscriptions,
            "Cell": self.cells,
        }
        self._subscriptions_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._subscriptions_to: dict[str, dict[str, None]] = defaultdict(dict)

    def put(self, kind: str, obj: dict[str, Any]) -> bool:
        """Take up an object; False when it is no news (a write of ours that was taken up already, or older).

        What does not parse is logged and left out: admission refuses what the schema does not allow, so that
        happens only with an object stored under an older or newer schema.
        """
        try:
            parsed = MODELS[kind].model_validate(obj)
        except ValidationError as error:
            logger.error("%s %s cannot be read: %s", kind, obj.get("metadata", {}).get("name"), error)
            return False
        name = parsed.metadata.name
        before = self._by_kind[kind].get(name)
        if before is not None and _version(before) >= _version(parsed):
            return False
        if isinstance(before, Subscription):
            self._unindex(before)
        self._by_kind[kind][name] = parsed
        if isinstance(parsed, Subscription):
            self._subscriptions_of[parsed.spec.tenant_ref.name][name] = None
            for plan in plans_of(parsed):
                self._subscriptions_to[plan][name] = None
        return True

    def remove(self, kind: str, name: str, uid: str) -> None:
        """Forget an object, unless its name has been taken by a newer one already."""
        before = self._by_kind[kind].get(name)
        if before is None or before.metadata.uid != uid:
            return
        del self._by_kind[kind][name]
        if isinstance(before, Subscription):
            self._unindex(before)

    def subscriptions_of(self, tenant: str) -> list[Subscription]:
        """The Subscriptions that name this Tenant."""
        return [self.subscriptions[name] for name in self._subscriptions_of.get(tenant, ())]

    def subscriptions_to(self, plan: str) -> list[Subscription]:
        """The Subscriptions that name this Plan, as base or add-on."""
        return [self.subscriptions[name] for name in self._subscriptions_to.get(plan, ())]

    def _unindex(self, subscription: Subscription) -> None:
        name = subscription.metadata.name
        _drop(self._subscriptions_of, subscription.spec.tenant_ref.name, name)
        for plan in plans_of(subscription):
            _drop(self._subscriptions_to, plan, name)


def _drop(index: dict[str, dict[str, None]], of: str, name: str) -> None:
    """Take one name out of an index, and its place with the last one: names come and go for years."""
    index[of].pop(name, None)
    if not index[of]:
        del index[of]


def _version(resource: Resource) -> int:
    """Versions of one kind compare as numbers; an object without one is older than any."""
    return int(resource.metadata.resource_version or 0)


def plans_of(subscription: Subscription) -> set[str]:
    """The names of the Plans a Subscription refers to."""
    spec = subscription.spec
    return {spec.plan_ref.name, *(add_on.plan_ref.name for add_on in spec.add_ons)}
