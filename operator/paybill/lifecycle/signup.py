"""Signing up by paying: what a paid checkout comes to, by a template that the provider wrote. Pure.

Whoever pays is a stranger. So what he gets is told by what he paid for, never by what he said: the Plan is the one that
is sold at the price that is billed. Of words there is one, the Tenant's name, and only where the provider's own server
put it into the metadata at Stripe; it is read strictly, and without one the name is made from the session's id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from paybill.api.base import ApiModel
from paybill.api.failures import Blocked, Invalid
from paybill.api.fields import Name
from paybill.api.plan import Plan
from paybill.api.rules import LABEL_PATTERN
from paybill.api.subscription import SoldAs
from paybill.api.tenant import DeletionPolicy, Owner
from paybill.lifecycle.provider import Status

CHECKOUTS = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})
"""Events of a session that may have been paid by now: at once, or days later by a transfer."""
LONGEST_NAME = 40
"""Characters of a name that somebody chose, with the prefix."""

_NAME = re.compile(LABEL_PATTERN)
_NAMED_BY_ID = 12
_PAID, _NOTHING_DUE = "paid", "no_payment_required"
_RUNS = frozenset({Status.ACTIVE, Status.TRIALING})


class Signup(ApiModel):
    """The template of those who sign up by paying."""

    model_config = ConfigDict(extra="forbid")

    plans: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    """The Plans of type Base that can be had so; each by one of its prices with provider Stripe."""
    add_ons: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    """The Plans of type AddOn that can be had with them."""
    cell: Name | None = None
    """Where their tenants are put; absent: the default Cell."""
    owners: Annotated[tuple[Owner, ...], Field(max_length=64)] = ()
    """Who may act in their tenants' namespaces; the same for all, such as your support's group."""
    deletion_policy: DeletionPolicy = "Snapshot"
    """What a deletion of such a Tenant leaves."""
    name_prefix: Annotated[str, Field(max_length=20, pattern="^([a-z]([-a-z0-9]*)?)?$")] = "c-"
    """What all their names begin with, so that nobody signs up under a name that you keep for something else."""
    without_payment: bool = False
    """Whether a checkout at which nothing was due, such as a trial, is enough."""
    sold: SoldAs = "AsDeclared"
    """AsBilled: what Stripe bills goes on saying what is sold; AsDeclared: it did so once, at the checkout."""
    per_hour: Annotated[int, Field(ge=1, le=10_000)] = 30
    """How many Tenants are made in an hour at most; others wait."""


def signup_of(text: str) -> Signup:
    """The template, from JSON; raises Invalid."""
    try:
        return Signup.model_validate_json(text)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
        raise Invalid("InvalidSetting", f"PAYBILL_SIGNUP says no template: {where}") from None


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A session at Stripe and its subscription, as they are now. ``items``: prices and how many of each are billed.

    ``tenant`` and ``meant_for`` are what the metadata of the two say; empty where they say nothing.
    """

    session: str
    subscription: str
    customer: str
    complete: bool
    payment: str
    standing: Status
    items: tuple[tuple[str, int], ...]
    tenant: str = ""
    meant_for: str = ""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be made for a checkout."""

    session: str
    subscription: str
    customer: str
    name: str
    plan: str
    quantity: int
    add_ons: tuple[tuple[str, int], ...] = ()


def order(template: Signup, checkout: Checkout, plans: Mapping[str, Plan], name: str = "") -> Order:
    """What is to be made; ``plans``: those that are declared, ``name``: the one it was begun under, if it was.

    Raises Blocked where it is not paid, where no Plan of the template is what was paid for, or more than one, and where
    the name is none.
    """
    _refuse_unpaid(template, checkout)
    bases = _billed(template.plans, checkout, plans, "Base")
    add_ons = _billed(template.add_ons, checkout, plans, "AddOn")
    sold = frozenset[str]().union(*(_prices(plans[one]) for one in (*bases, *add_ons)))
    strange = sorted({price for price, _ in checkout.items} - sold)
    if strange:
        message = f"{', '.join(strange)} is billed, and no Plan that can be signed up for has that price"
        raise Blocked("SignupPriceUnknown", message)
    if len(bases) != 1:
        said = " and ".join(sorted(bases)) or "no Plan of type Base"
        raise Blocked("SignupPlanUnclear", f"what is billed is {said}: one Plan of type Base is what a contract is to")
    (plan,) = bases
    return Order(
        session=checkout.session,
        subscription=checkout.subscription,
        customer=checkout.customer,
        name=name or _name(template, checkout),
        plan=plan,
        quantity=bases[plan],
        add_ons=tuple(sorted(add_ons.items())),
    )


def _refuse_unpaid(template: Signup, checkout: Checkout) -> None:
    if not checkout.complete:
        raise Blocked("SignupNotPaid", "the session is not complete")
    if checkout.payment != _PAID and not (checkout.payment == _NOTHING_DUE and template.without_payment):
        raise Blocked("SignupNotPaid", f"its payment_status is {checkout.payment or 'not there'}")
    if checkout.standing not in _RUNS:
        raise Blocked("SignupNotPaid", f"its subscription {checkout.subscription} is {checkout.standing}")


def _billed(names: Iterable[str], checkout: Checkout, plans: Mapping[str, Plan], kind: str) -> dict[str, int]:
    """How often each of these Plans is billed, where it is."""
    found = {}
    for name in names:
        plan = plans.get(name)
        if plan is None or plan.spec.type != kind or plan.metadata.deletion_timestamp is not None:
            continue
        number = sum(quantity for price, quantity in checkout.items if price in _prices(plan))
        if number:
            found[name] = number
    return found


def _prices(plan: Plan) -> frozenset[str]:
    return frozenset(price.id for price in plan.spec.prices if price.provider == "Stripe")


def _name(template: Signup, checkout: Checkout) -> str:
    """The Tenant's name: what the session's metadata says, else the subscription's, else one of the session's id."""
    said = checkout.tenant or checkout.meant_for
    name = _chosen(template, said) if said else f"{template.name_prefix}{_hashed(checkout.session)}"
    if checkout.meant_for not in ("", name):
        raise Blocked(
            "SignupNameRefused",
            f"paybill.dev/tenant of {checkout.subscription} is not {name}, which this comes to: let them agree at "
            "Stripe, or take it off there",
        )
    return name


def _chosen(template: Signup, said: str) -> str:
    chosen = re.sub("[ _]+", "-", said.strip().lower())
    name = chosen if chosen.startswith(template.name_prefix) else f"{template.name_prefix}{chosen}"
    if len(name) > LONGEST_NAME or not chosen or not _NAME.fullmatch(name):
        raise Blocked(
            "SignupNameRefused",
            f"paybill.dev/tenant at Stripe makes no Tenant's name: after {template.name_prefix!r} it takes lower-case "
            f"letters, digits and '-', {LONGEST_NAME} characters with the prefix",
        )
    return name


def _hashed(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()[:_NAMED_BY_ID]
