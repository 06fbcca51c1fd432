"""A customer's two objects, for whoever brings one in: ``paybill onboard``, and a checkout that was paid.

What is absent is left out, so that whoever declares it later owns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paybill.api.base import Resource
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.desired import names
from paybill.lifecycle.signup import Order, Signup


def tenant(
    name: str, *, owners: Iterable[Mapping[str, Any]] = (), cell: str | None = None, policy: str | None = None,
    session: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The Tenant; ``policy``: its deletionPolicy, ``session``: the checkout that it comes of."""
    spec: dict[str, Any] = {"owners": [dict(one) for one in owners]} if owners else {}
    spec |= {"cellRef": {"name": cell}} if cell else {}
    spec |= {"deletionPolicy": policy} if policy else {}
    return _object(Tenant, name, spec, session)


def subscription(
    name: str, plan: str, payment: Mapping[str, Any], *, quantity: int = 1,
    add_ons: Iterable[tuple[str, int]] = (), session: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The Subscription of the Tenant of that name; ``add_ons``: Plans and how many of each."""
    spec: dict[str, Any] = {"tenantRef": {"name": name}, "planRef": {"name": plan}, "payment": dict(payment)}
    spec |= {"quantity": quantity} if quantity != 1 else {}
    extras = [{"planRef": {"name": one}, "quantity": number} for one, number in add_ons]
    spec |= {"addOns": extras} if extras else {}
    return _object(Subscription, name, spec, session)


def signed_up(template: Signup, order: Order) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Tenant and the Subscription of an order."""
    payment = {"provider": "Stripe", "subscription": order.subscription, "customer": order.customer}
    payment |= {"sold": template.sold} if template.sold != "AsDeclared" else {}
    return (
        tenant(
            order.name,
            owners=[owner.wire() for owner in template.owners],
            cell=template.cell,
            policy=template.deletion_policy,
            session=order.session,
        ),
        subscription(
            order.name, order.plan, payment, quantity=order.quantity, add_ons=order.add_ons, session=order.session
        ),
    )


def _object(model: type[Resource], name: str, spec: dict[str, Any], session: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if session is not None:
        metadata["annotations"] = {names.CHECKOUT_ANNOTATION: session}
    return {"apiVersion": model.api_version, "kind": model.kind, "metadata": metadata, "spec": spec}
