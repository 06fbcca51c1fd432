"""From a payment at Stripe to pods and logins, over the wire: localstripe signs and sends, the receiver keeps, the
operator asks again and acts."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.billing.front import Front
from tests.billing.localstripe import KEY, LocalStripe
from tests.billing.receiving import SECRET, Receiver, as_role, event
from tests.cluster import samples
from tests.cluster.api import condition, holds
from tests.cluster.customers import may_connect
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS: dict[str, Any] = {"stripe_poll_seconds": 3600.0, "stripe_pause_hours": 24.0}


@pytest.fixture(scope="module", autouse=True)
def stripe(control_plane: LocalThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStripe]:
    folder = tmp_path_factory.mktemp("stripe")
    (folder / "key").write_text(f"{KEY}\n")
    role = f"webhook_{secrets.token_hex(4)}"
    with psycopg.connect(control_plane.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
    one = LocalStripe(folder)
    before = Front(one.url)
    SETTINGS.update(stripe_key_file=folder / "key", stripe_url=before.url, webhook_role=role)
    one.front = before
    yield one
    before.stop()
    one.stop()


@pytest.fixture
async def receiver(
    operator: Any, stripe: LocalStripe, control_dsn: str, tmp_path: Path
) -> AsyncIterator[Receiver]:  # fmt: skip
    """A receiver that Stripe sends to."""
    dsn = as_role(control_dsn, SETTINGS["webhook_role"])
    one = Receiver(dsn, tmp_path, PAYBILL_INSTALLATION=operator.settings.installation)
    await one.start()
    await stripe.answers()
    await stripe.hook(one.url, SECRET)
    yield one
    await one.stop()


def by_stripe(name: str, plan: str, **payment: str) -> dict[str, Any]:
    one = samples.subscription(name, plan)
    one["spec"]["payment"] = {"provider": "Stripe", **payment}
    return one


async def test_who_pays_runs_who_does_not_is_stopped_and_paying_brings_everything_back(
    customers, operator, api, stripe, receiver, name
):
    plan = (await customers.plan(name, prices=[{"provider": "Stripe", "id": name}]))["metadata"]["name"]
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name, **{"metadata[paybill.dev/tenant]": name})
    await api.apply(samples.tenant(name), by_stripe(name, plan, customer=payer))
    customer = await customers.ready(name)
    found = await customers.phase(name, "Active")
    assert found["status"]["provider"]["id"] == paid
    assert holds(found, "ProviderReachable")
    assert holds(found, "BilledAsDeclared")
    binding = await customers.binding(customer)

    invoice = await stripe.fall_behind(payer, paid)
    found = await customers.phase(name, "PastDue", seconds=30)
    assert found["status"]["provider"]["status"] == "past_due"
    assert found["status"]["next"]["phase"] == "Suspended"
    operator.clock.offset = timedelta(days=14, minutes=1)
    operator.look_at("Tenant", name)
    await customers.phase(name, "Suspended")
    await until(lambda: _shut(binding))

    await stripe.pay(payer, invoice)
    await customers.phase(name, "Active", seconds=30)
    await customers.ready(name)
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)

    operator.clock.reset()
    await stripe.call("DELETE", f"/v1/subscriptions/{paid}")
    found = await customers.phase(name, "Ended", seconds=30)
    assert found["status"]["next"]["phase"] == "Archived"


async def _shut(binding: dict[str, str]) -> bool:
    return not await may_connect(binding)


async def test_what_no_webhook_told_is_found_by_asking(customers, operator, api, stripe, name):
    await stripe.answers()
    await customers.plan(name)
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    await api.apply(samples.tenant(name), by_stripe(name, name, subscription=paid))
    await customers.phase(name, "Active")
    await stripe.call("DELETE", f"/v1/subscriptions/{paid}")

    def poll(world: Any) -> None:
        world.payments.polled = None
        world.payments.woken.set()

    operator.call(poll)
    await customers.phase(name, "Ended")


async def test_a_subscription_that_is_not_there_or_is_for_somebody_else_changes_nothing(
    customers, operator, api, stripe, name
):
    await stripe.answers()
    await customers.plan(name)
    await stripe.plan(name)
    payer = await stripe.customer()
    other = await stripe.subscribe(payer, name, **{"metadata[paybill.dev/tenant]": "somebody-else"})
    await api.apply(samples.tenant(name), by_stripe(name, name, subscription=other))
    found = await customers.until(name, lambda one: said(one) == "ProviderMismatch", kind="Subscription")
    assert found["status"]["phase"] == "Pending"
    await api.apply(by_stripe(name, name, subscription="sub_that_never_was"))
    found = await customers.until(name, lambda one: said(one) == "UnknownAtProvider", kind="Subscription")
    assert found["status"]["phase"] == "Pending"
    mine = await stripe.subscribe(payer, name)
    await api.apply(by_stripe(name, name, subscription=mine))
    await customers.phase(name, "Active")


def said(one: dict[str, Any]) -> str | None:
    return (condition(one, "ProviderReachable") or {}).get("reason")


async def test_stripe_away_stops_nobody_and_a_restart_knows_what_was_said(customers, operator, api, stripe, name):
    await stripe.answers()
    await customers.plan(name)
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    await api.apply(samples.tenant(name), by_stripe(name, name, subscription=paid))
    await customers.phase(name, "Active")
    await customers.ready(name)
    usual = operator.settings
    operator.stop()
    operator.settings = replace(usual, stripe_url="http://127.0.0.1:9")  # nobody listens there
    operator.start()
    try:
        await until(lambda: operator.call(lambda world: world.payments.api.away))
        operator.look_at("Tenant", name, deep=True)
        await customers.quiet()
        assert holds(await api.get("Tenant", name), "Ready")
        assert (await api.get("Subscription", name))["status"]["phase"] == "Active"
    finally:
        operator.stop()
        operator.settings = usual


METER = {"provider": "Stripe", "event": "storage", "usage": "Storage", "unit": "1Mi"}


async def test_what_a_tenant_used_is_on_its_bill_once_also_when_the_operator_ends_meanwhile(
    customers, operator, api, stripe, control, name
):
    await stripe.answers()
    await customers.plan(name, meters=[METER])
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    await api.apply(samples.tenant(name), by_stripe(name, name, subscription=paid))
    customer = await customers.ready(name)
    stripe.front.now = lambda: operator.clock()
    await counted(operator, control, customer.id)
    start = operator.clock().replace(minute=0, second=0)
    for hour, megabytes in ((1, 3), (2, 5)):
        await used(control, customer.id, start + timedelta(hours=hour), megabytes)

    stripe.front.meters.answers = [None]  # the first hour arrives, and the answer does not
    operator.clock.offset += timedelta(hours=3, minutes=6)
    await until(lambda: len(stripe.front.meters.asked) >= 1)
    operator.crash()
    operator.clock.offset += timedelta(hours=1)
    operator.start()
    bill = {(payer, "storage"): 8}
    await until(lambda: stripe.front.meters.bill() == bill, otherwise=lambda: stripe.front.meters.bill())
    await until(lambda: told(control, customer.id))
    assert stripe.front.meters.bill() == bill

    stripe.front.meters.meters.discard("storage")
    await used(control, customer.id, start + timedelta(hours=5), 7)
    operator.clock.offset += timedelta(hours=2)
    found = await customers.until(name, lambda one: condition(one, "UsageTold"), kind="Subscription", seconds=60)
    assert condition(found, "UsageTold")["reason"] == "UsageRefused"
    assert "No active meter found for event name storage" in condition(found, "UsageTold")["message"]
    stripe.front.meters.meters.add("storage")
    operator.clock.offset += timedelta(hours=1)
    await customers.until(name, lambda one: not condition(one, "UsageTold"), kind="Subscription", seconds=60)
    assert stripe.front.meters.bill() == {(payer, "storage"): 15}


async def used(control: Any, tenant: str, hour: Any, megabytes: int) -> None:
    await control.execute(
        "INSERT INTO paybill.usage (tenant_id, hour, bytes, connections) VALUES (%s, %s, %s, 0)"
        " ON CONFLICT (tenant_id, hour) DO UPDATE SET bytes = excluded.bytes",
        (tenant, hour, megabytes * 2**20),
    )


async def counted(operator: Any, control: Any, tenant: str) -> None:
    """Wait until the meters of a tenant are known."""
    operator.call(lambda world: setattr(world.reporting, "counted", None))

    async def known() -> bool:
        query = "SELECT 1 FROM paybill.meter_cursors AS c JOIN paybill.subscription_facts AS f USING (subscription_uid)"
        query += " JOIN paybill.tenants AS t ON t.subscription_uid = f.subscription_uid WHERE t.id = %s"
        return await (await control.execute(query, (tenant,))).fetchone() is not None

    await until(known)


async def told(control: Any, tenant: str) -> bool:
    """Whether all of a tenant's events that there are have been sent."""
    query = "SELECT bool_and(state = 'Sent') FROM paybill.meter_events WHERE tenant_id = %s"
    return await (await control.execute(query, (tenant,))).fetchone() == (True,)


def sweep(world: Any) -> None:
    """Ask for all subscriptions again: localstripe sends no event when one is changed."""
    world.payments.swept = None
    world.payments.woken.set()


async def test_an_end_that_stripe_announces_is_foretold_and_comes_when_it_says_so_again(
    customers, operator, api, stripe, name
):
    await stripe.answers()
    await customers.plan(name)
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    await api.apply(samples.tenant(name), by_stripe(name, name, subscription=paid))
    await customers.phase(name, "Active")
    await customers.ready(name)

    async def announced(on: bool) -> dict[str, Any]:
        await stripe.call("POST", f"/v1/subscriptions/{paid}", cancel_at_period_end=str(on).lower())
        operator.call(sweep)
        said = "Ended" if on else None
        return await customers.until(
            name, lambda one: (one["status"].get("next") or {}).get("phase") == said, kind="Subscription"
        )

    found = await announced(True)
    coming = found["status"]["next"]
    assert coming["time"] == found["status"]["anchors"]["periodEndTime"]
    assert "cancelled at the payment provider" in coming["because"]

    # It is taken back, and nothing tells of it: Stripe is asked before anybody is stopped, and again while it is away.
    await stripe.call("POST", f"/v1/subscriptions/{paid}", cancel_at_period_end="false")
    stripe.front.down = True
    try:
        operator.clock.offset += datetime.fromisoformat(coming["time"]) - operator.clock() + timedelta(minutes=1)
        operator.look_at("Tenant", name)
        await until(lambda: operator.call(lambda world: world.payments.api.away))
        assert (await api.get("Subscription", name))["status"]["phase"] == "Active"
    finally:
        stripe.front.down = False
    await until(lambda: operator.call(lambda world: not world.payments.confirming))
    await customers.quiet()
    found = await customers.until(name, lambda one: "next" not in one["status"], kind="Subscription")
    assert found["status"]["phase"] == "Active"

    operator.clock.reset()
    await announced(True)
    operator.clock.offset += datetime.fromisoformat(coming["time"]) - operator.clock() + timedelta(minutes=1)
    operator.look_at("Tenant", name)
    await customers.phase(name, "Ended", seconds=60)


def dispute(stripe: LocalStripe, customer: str, status: str, **more: Any) -> dict[str, Any]:
    """A dispute of a payment of a customer, as Stripe has it from now on; returns the event that tells of it."""
    one = {
        "id": f"dp_{customer}", "object": "dispute", "status": status, "reason": "fraudulent", "created": 1_790_000_000,
        "metadata": {}, "charge": {"id": "ch_1", "object": "charge", "customer": customer},
    } | more  # fmt: skip
    stripe.front.disputes[one["id"]] = one
    closed = status in ("won", "lost")
    plain = one | {"charge": "ch_1"}
    return event(f"charge.dispute.{'closed' if closed else 'created'}", data={"object": plain})


async def test_a_disputed_payment_holds_changes_of_whose_it_is_until_it_is_won_or_settled(
    customers, operator, api, stripe, receiver, name
):
    other, bigger = f"{name}-other", f"{name}-bigger"
    for plan in (name, bigger):
        await customers.plan(plan)
        await stripe.plan(plan)
    payers = {}
    for one in (name, other):
        payers[one] = await stripe.customer()
        paid = await stripe.subscribe(payers[one], name, **{"metadata[paybill.dev/tenant]": one})
        await api.apply(samples.tenant(one), by_stripe(one, name, subscription=paid, customer=payers[one]))
        await customers.ready(one)
    payer = payers[name]

    async def held(count: int) -> dict[str, Any]:
        return await customers.until(
            name, lambda found: len(found["status"].get("holds", ())) == count, kind="Subscription", seconds=60
        )

    assert await receiver.post(dispute(stripe, payer, "needs_response")) == 200
    (hold,) = (await held(1))["status"]["holds"]
    assert (hold["source"], hold["id"], hold["blocks"]) == ("Dispute", f"dp_{payer}", "Changes")
    for one in (name, other):
        await api.edit("Subscription", one, {"spec": {"planRef": {"name": bigger}}})
    await customers.until(other, lambda found: found["status"]["plan"]["name"] == bigger)
    await customers.until(name, lambda found: (condition(found, "PlanCurrent") or {}).get("reason") == "ChangeHeld")
    found = await api.get("Tenant", name)
    assert (found["status"]["plan"]["name"], holds(found, "Ready")) == (name, True)
    assert (await api.get("Subscription", name))["status"]["phase"] == "Active"

    # The same again, and another restart, change nothing; losing it lifts nothing.
    assert await receiver.post(dispute(stripe, payer, "lost")) == 200
    await customers.until(name, lambda found: "lost" in found["status"]["holds"][0]["reason"], kind="Subscription")
    operator.restart()
    await customers.quiet()
    assert len((await api.get("Subscription", name))["status"]["holds"]) == 1

    settled = dispute(stripe, payer, "lost", metadata={"paybill.dev/settled": "true"})
    assert await receiver.post(settled) == 200
    await held(0)
    await customers.until(name, lambda found: found["status"]["plan"]["name"] == bigger, seconds=60)


async def test_a_customer_who_is_deleted_at_stripe_ends_the_contract_and_nothing_is_deleted_for_it(
    customers, operator, api, stripe, receiver, name
):
    await customers.plan(name)
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    await api.apply(samples.tenant(name), by_stripe(name, name, subscription=paid))
    customer = await customers.ready(name)
    binding = await customers.binding(customer)

    # Stripe cancels what a deleted customer has; localstripe leaves that to us.
    await stripe.call("DELETE", f"/v1/subscriptions/{paid}")
    await stripe.call("DELETE", f"/v1/customers/{payer}")
    found = await customers.phase(name, "Ended", seconds=60)
    found = await customers.until(name, lambda one: one["status"].get("holds"), kind="Subscription", seconds=60)
    (hold,) = found["status"]["holds"]
    assert (hold["source"], hold["id"]) == ("CustomerDeleted", payer)
    await until(lambda: _shut(binding))
    operator.clock.offset += timedelta(days=200)
    operator.look_at("Tenant", name)
    await customers.quiet_for(2)
    found = await api.get("Subscription", name)
    assert found["status"]["phase"] == "Ended"
    assert f"held back by hold CustomerDeleted {payer}" in found["status"]["next"]["because"]
    assert await api.get("Namespace", customer.namespace) is not None
    operator.clock.reset()

    # Another customer of theirs pays: the same data, the same logins.
    again = await stripe.subscribe(await stripe.customer(), name)
    await api.apply(by_stripe(name, name, subscription=again))
    await customers.phase(name, "Active", seconds=60)
    await customers.ready(name)
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)


async def test_nobody_is_billed_on_for_a_tenant_that_cannot_be_made_until_it_is(customers, operator, api, stripe, name):
    await stripe.answers()
    await customers.plan(name)
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    await api.apply(samples.tenant(name, cellRef={"name": name}), by_stripe(name, name, subscription=paid))
    await customers.until(name, lambda one: holds(one, "Stalled"), seconds=60)
    found = await collects(customers, name, "PauseComing")
    assert paid not in stripe.front.pauses.paused

    operator.clock.offset += timedelta(hours=24, minutes=1)
    found = await collects(customers, name, "ProvisioningFailed")
    assert holds(found, "CollectionPaused")
    assert stripe.front.pauses.paused[paid] == {"behavior": "void"}
    assert found["status"]["phase"] == "Active", "what was paid is paid"
    # A restart, and looks at it, tell Stripe nothing.
    asked = len(stripe.front.pauses.asked)
    operator.restart()
    operator.look_at("Tenant", name, deep=True)
    await customers.quiet_for(7)
    assert len(stripe.front.pauses.asked) == asked

    await api.apply(samples.cell(name))
    await customers.ready(name)
    await until(lambda: paid not in stripe.front.pauses.paused, seconds=60)
    await customers.until(name, lambda one: not condition(one, "CollectionPaused"), kind="Subscription", seconds=60)
    assert stripe.front.pauses.marks[paid] == {}
    assert len(stripe.front.pauses.asked) == asked + 1


async def collects(customers: Any, name: str, reason: str) -> dict[str, Any]:
    """Wait until a Subscription says this of what Stripe collects."""
    return await customers.until(
        name,
        lambda one: (condition(one, "CollectionPaused") or {}).get("reason") == reason,
        kind="Subscription",
        seconds=60,
    )


SEATS = [{"name": "seats", "integer": 2, "perUnit": True}]


async def test_what_is_billed_is_what_is_sold_more_at_once_and_less_with_the_period(
    customers, operator, api, stripe, receiver, name
):
    payer, paid, customer = await billed(customers, api, stripe, name, planChange="AtPeriodEnd")
    logs, strange = f"{name}-logs", f"{name}-strange"
    extra = {"type": "AddOn", "prices": [{"provider": "Stripe", "id": logs}]}
    await api.apply(samples.ours("Plan", logs, {**extra, "features": [{"name": "logs", "integer": 10}]}))

    async def told(seats: int, **more: str) -> dict[str, Any]:
        """Stripe tells that something changed; wait until it counts."""
        subscription = {"id": paid, "object": "subscription", "customer": payer}
        assert await receiver.post(event("customer.subscription.updated", data={"object": subscription})) == 200
        wanted = {"feature.seats": str(seats), **more}

        async def handed_over() -> bool:
            found = await customers.entitlements(customer)
            return {key: value for key, value in found.items() if key in ("feature.seats", "feature.logs")} == wanted

        await until(handed_over, seconds=90)
        return await api.get("Subscription", name)

    await stripe.sell(paid, name, 5)
    found = await told(10)
    assert found["spec"].get("quantity", 1) == 1, "a spec is its owner's"
    stripe.front.pauses.items[paid] = [{"price": {"id": logs}, "quantity": 3}]
    await told(10, **{"feature.logs": "30"})

    # What no Plan has a price for changes nothing, and says so.
    stripe.front.pauses.items[paid] = [{"price": {"id": strange}, "quantity": 1}]
    await stripe.sell(paid, name, 1)
    operator.call(sweep)
    found = await customers.until(
        name, lambda one: (condition(one, "BilledAsDeclared") or {}).get("reason") == "BilledUnclear",
        kind="Subscription", seconds=60,
    )  # fmt: skip
    assert strange in condition(found, "BilledAsDeclared")["message"]
    assert found["status"]["sold"]["quantity"] == 5
    await told(10, **{"feature.logs": "30"})
    known = {"type": "AddOn", "prices": [{"provider": "Stripe", "id": strange}]}
    await api.apply(samples.ours("Plan", f"{name}-more", {**known, "features": [{"name": "logs", "integer": 1}]}))
    await customers.until(name, lambda one: holds(one, "BilledAsDeclared"), kind="Subscription", seconds=60)
    await told(10, **{"feature.logs": "31"})

    # Fewer: until the end of what was paid everything stays.
    stripe.front.pauses.items[paid] = []
    await stripe.sell(paid, name, 2)
    found = await told(10, **{"feature.logs": "31"})
    found = await customers.until(name, lambda one: one["status"]["sold"].get("untilTime"), kind="Subscription")
    end = found["status"]["sold"]["untilTime"]
    assert end == found["status"]["anchors"]["periodEndTime"]
    operator.restart()
    await customers.quiet()
    await told(10, **{"feature.logs": "31"})
    operator.clock.offset += datetime.fromisoformat(end) - operator.clock() + timedelta(minutes=1)
    operator.look_at("Tenant", name)
    found = await told(4)
    assert found["status"]["sold"] == {"plan": name, "quantity": 2}


async def test_another_plan_that_is_billed_is_had_once_nothing_is_owed(
    customers, operator, api, stripe, receiver, name
):
    payer, paid, customer = await billed(customers, api, stripe, name)
    bigger = f"{name}-max"
    await customers.plan(bigger, prices=[{"provider": "Stripe", "id": bigger}],
                         features=[{"name": "seats", "integer": 100, "perUnit": True}])  # fmt: skip
    await stripe.plan(bigger)
    invoice = await stripe.fall_behind(payer, paid)
    await customers.phase(name, "PastDue", seconds=60)
    await stripe.sell(paid, bigger, 3)
    operator.call(sweep)
    await customers.until(
        name, lambda one: (condition(one, "PlanCurrent") or {}).get("reason") == "ChangeHeld", seconds=60
    )
    assert (await customers.entitlements(customer))["feature.seats"] == "2"

    await stripe.pay(payer, invoice)
    await customers.until(name, lambda one: one["status"]["plan"]["name"] == bigger, seconds=90)
    found = await customers.until(
        name, lambda one: one["status"]["sold"] == {"plan": bigger, "quantity": 3}, kind="Subscription", seconds=60
    )
    assert found["spec"]["planRef"]["name"] == name
    assert (await customers.entitlements(customer))["feature.seats"] == "300"
    assert holds(found, "BilledAsDeclared")


async def billed(customers: Any, api: Any, stripe: LocalStripe, name: str, **spec: Any) -> tuple[str, str, Any]:
    """A Tenant whose contract is left to its bill; the customer and the subscription at Stripe, and itself."""
    await stripe.answers()
    await customers.plan(name, prices=[{"provider": "Stripe", "id": name}], features=SEATS)
    await stripe.plan(name)
    payer = await stripe.customer()
    paid = await stripe.subscribe(payer, name)
    contract = by_stripe(name, name, subscription=paid, sold="AsBilled")
    contract["spec"] |= spec
    await api.apply(samples.tenant(name), contract)
    return payer, paid, await customers.ready(name)
