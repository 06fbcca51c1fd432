"""Signing up by paying: a checkout at Stripe that was paid becomes a Tenant and its Subscription.

Off unless the provider wrote a template (``PAYBILL_SIGNUP``), and then the only way in which the operator makes a
Tenant: its role gets that right with the template, and an admission policy holds it to it. The session is asked of
Stripe, whatever the event said. What is made is made once: by POST, which never changes what is there, and remembered
by the session's id (control/signups.py) before it is begun. A session that cannot be carried out is told and kept: it
is looked at again for a day and a half, and whenever somebody says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.api.plan import Plan
from paybill.billing.stripe_words import checkout, signs_up, subscription_of
from paybill.cluster.events import News
from paybill.control.signups import SignedUp, SignupStore
from paybill.desired import names, onboarding
from paybill.desired.resource import Key
from paybill.lifecycle.signup import Order, Signup, order
from paybill.reconcile import metrics
from paybill.reconcile.servers import FENCED
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

MANAGER = "paybill-signup"
HOUR = timedelta(hours=1)
AWAY = frozenset({"StripeUnreachable", "ControlDatabaseUnreachable"})
"""What is nothing of the session's: everything else waits for it as well."""

Object = Mapping[str, Any]


async def follow(world: World, session_id: str, template: Signup) -> str:
    """Carry a session out, or on; returns why it waits, or nothing when it is settled.

    Raises Retry while Stripe or the control database is away, and what says that another process leads.
    """
    store = world.signups
    row = await store.get(session_id)
    if row is not None and row.settled:
        return ""
    why = ""
    try:
        await _carry_out(world, store, session_id, row, template)
    except Failure as failure:
        if failure.reason in FENCED or failure.reason in AWAY:
            raise
        why = await _refused(world, session_id, row, failure, template)
    metrics.SIGNUPS_WAITING.set(await store.unsettled())
    return why


async def settled_elsewhere(world: World, session_id: str) -> None:
    """Note that a contract names the subscription of a session, whoever made it."""
    row = await world.signups.get(session_id)
    if row is not None and not row.settled:
        await world.signups.settle(session_id, world.now(), epoch=world.epoch)
        metrics.SIGNUPS_WAITING.set(await world.signups.unsettled())


async def _carry_out(
    world: World, store: SignupStore, session_id: str, row: SignedUp | None, template: Signup
) -> None:  # fmt: skip
    wanted = await _ordered(world, session_id, row, template)
    if wanted is None:
        return
    if row is None or row.state != "Begun":
        await _refuse_taken(world, wanted)
        await _refuse_too_many(world, store, template)
        await store.begin(wanted, world.now(), epoch=world.epoch)
    scope = Scope(cause=f"Stripe: {session_id}", cell=template.cell)
    tenant, subscription = onboarding.signed_up(template, wanted)
    await _make(world, scope, wanted, "tenant.create", tenant)
    await _make(world, scope, wanted, "subscription.create", subscription)
    await store.settle(session_id, world.now(), epoch=world.epoch)
    metrics.SIGNUPS.labels("made").inc()
    logger.info("checkout %s: Tenant and Subscription %s to Plan %s", session_id, wanted.name, wanted.plan)


async def _ordered(world: World, session_id: str, row: SignedUp | None, template: Signup) -> Order | None:
    """What a session comes to, as Stripe has it now; None where it is none of a contract."""
    api = world.payments.api
    assert api is not None  # noqa: S101 - whoever follows hints has one
    session = await api.checkout_session(session_id)
    if session is None:
        raise Blocked("SignupUnknown", f"Stripe has no checkout session {session_id}")
    if not signs_up(session):
        return None
    found = await api.subscription(subscription_of(session))
    if found is None:
        raise Blocked("SignupUnknown", f"Stripe has no subscription {subscription_of(session)} of {session_id}")
    return order(template, checkout(session, found[0]), _plans(world, template), row.tenant if row is not None else "")


def _plans(world: World, template: Signup) -> dict[str, Plan]:
    shelf = world.declared.plans
    found = {name: shelf.get(name) for name in (*template.plans, *template.add_ons)}
    return {name: plan for name, plan in found.items() if plan is not None}


async def _refuse_taken(world: World, wanted: Order) -> None:
    """A name that anybody has, or had whose data is still kept, is nobody else's."""
    name = wanted.name
    there = [kind for kind in ("Tenant", "Subscription") if await world.cluster.get(Key(kind, "", name)) is not None]
    if there or world.registry.named(name) or world.declared.subscriptions_of(name):
        raise Blocked(
            "SignupNameTaken",
            f"there is, or was, a Tenant or a contract called {name}: nothing of it is touched. Write another name "
            "into the session's metadata at Stripe, or onboard the customer under one (`paybill onboard`)",
        )


async def _refuse_too_many(world: World, store: SignupStore, template: Signup) -> None:
    begun = await store.begun_since(world.now() - HOUR)
    if begun >= template.per_hour:
        raise Retry("SignupsPerHour", f"{begun} signed up within the hour, and the template allows {template.per_hour}")


async def _make(world: World, scope: Scope, wanted: Order, action: str, obj: Object) -> None:
    """Make one object, unless it is there: of this session, for otherwise it is somebody else's."""
    kind, name = str(obj["kind"]), wanted.name
    found = await world.cluster.get(Key(kind, "", name))
    if found is None:
        act = partial(world.cluster.create, obj, manager=MANAGER)
        await take(world, scope, [Step(action=action, target=f"{kind}/{name}", act=act, inputs=obj)])
    elif (found["metadata"].get("annotations") or {}).get(names.CHECKOUT_ANNOTATION) != wanted.session:
        message = f"{kind} {name} was made by somebody else meanwhile: nothing of it is touched"
        raise Blocked("SignupNameTaken", message)


async def _refused(world: World, session_id: str, row: SignedUp | None, failure: Failure, template: Signup) -> str:
    """Keep why, and tell it once."""
    known = row.subscription if row is not None else ""
    said = (failure.reason, failure.message)
    if row is None or (row.reason, row.message) != said:
        await world.signups.refuse(session_id, known, *said, world.now(), epoch=world.epoch)
    if row is None or row.reason != failure.reason:
        logger.warning("checkout %s: %s", session_id, failure)
        metrics.SIGNUPS.labels("refused" if isinstance(failure, Blocked | Invalid) else "waiting").inc()
        about = next(iter(_plans(world, template).values()), None)
        if about is not None:
            message = f"{session_id}: {failure.reason}: {failure.message}"
            world.events.post(News(about=about, reason="SignupRefused", message=message, warning=True))
    return f"{failure.reason}: {failure.message}"
