"""Deadlines come at their second and not before, whatever the operator did meanwhile, and an edit moves them back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.running import Operator
from tests.cluster.waiting import until

PAID_UNTIL = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
PAYMENT = {"graceDays": 14, "restrictAfterDays": 7, "endAfterDays": 30, "retainDays": 30}
DEADLINES = [
    ("Active", "PastDue", PAID_UNTIL),
    ("PastDue", "Restricted", PAID_UNTIL + 7 * DAY),
    ("Restricted", "Suspended", PAID_UNTIL + 14 * DAY),
    ("Suspended", "Ended", PAID_UNTIL + 30 * DAY),
]


@pytest.fixture
async def customer(customers: Customers, name: str) -> Customer:
    await customers.plan(name, "Shared", "Rows", payment=PAYMENT)
    return await customers.onboard(plan=name, paid=samples.written(PAID_UNTIL))


async def at(operator: Operator, customers: Customers, customer: Customer, moment: datetime) -> Object:
    """What the contract is at a moment, once the operator has looked."""
    operator.clock.frozen = moment
    operator.look_at("Tenant", customer.name)
    await until(lambda: operator.call(lambda world: world.queue.idle))
    found = await customers.api.get("Subscription", customer.name)
    assert found is not None
    return found["status"]


@pytest.mark.parametrize(("before", "after", "deadline"), DEADLINES)
async def test_a_deadline_comes_at_its_second(
    before: str, after: str, deadline: datetime, operator: Operator, customers: Customers, customer: Customer
) -> None:
    status = await at(operator, customers, customer, deadline - SECOND)
    assert status["phase"] == before
    assert status["next"]["phase"] == after
    assert samples.read(status["next"]["time"]) == deadline

    status = await at(operator, customers, customer, deadline)
    assert status["phase"] == after


async def test_a_deadline_wakes_the_operator_by_itself(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name, "Shared", "Rows")
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    await customers.onboard(plan=name, paid=samples.written(soon))

    found = await customers.phase(name, "PastDue")

    turned = samples.read(condition(found, "PaymentCurrent")["lastTransitionTime"])
    assert turned >= soon, "never early"
    assert samples.read(found["status"]["anchors"]["pastDueSinceTime"]) == soon


async def test_a_date_moved_back_lifts_what_it_had_brought(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    status = await at(operator, customers, customer, PAID_UNTIL + 14 * DAY)
    assert status["phase"] == "Suspended"
    assert not await may_connect(await customers.binding(customer))

    later = samples.written(PAID_UNTIL + 60 * DAY)
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": later}}})

    found = await customers.phase(customer.name, "Active")
    assert samples.read(found["status"]["next"]["time"]) == PAID_UNTIL + 60 * DAY
    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))
    assert await may_connect(await customers.binding(customer))


async def test_an_operator_that_slept_through_a_deadline_finds_it_at_its_start(
    operator: Operator, customers: Customers, customer: Customer
) -> None:
    operator.stop()
    operator.clock.frozen = PAID_UNTIL + 15 * DAY

    operator.start()

    found = await customers.phase(customer.name, "Suspended")
    assert samples.read(found["status"]["anchors"]["pastDueSinceTime"]) == PAID_UNTIL
    assert samples.read(found["status"]["anchors"]["suspendedTime"]) == PAID_UNTIL + 15 * DAY


async def test_a_suspension_counts_from_when_it_took_effect_whatever_the_status_is_made_to_say(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    first = PAID_UNTIL + 14 * DAY
    await at(operator, customers, customer, first)
    lie = {"status": {"anchors": {"suspendedTime": "2031-01-01T00:00:00Z", "endedTime": "2031-01-01T00:00:00Z"}}}
    await api.edit("Subscription", customer.name, lie, status=True)

    await at(operator, customers, customer, first + DAY)

    truth = {"suspendedTime": samples.written(first)}
    found = await customers.until(
        customer.name, lambda one: truth.items() <= one["status"]["anchors"].items(), kind="Subscription"
    )
    assert found["status"]["phase"] == "Suspended"
    assert "endedTime" not in found["status"]["anchors"]


async def test_a_trial_runs_from_the_first_moment_of_ready(
    api: Api, operator: Operator, customers: Customers, name: str
) -> None:
    await customers.plan(name, "Shared", "Rows", trialDays=14)
    began = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
    operator.clock.frozen = began
    customer = await customers.onboard(plan=name, paid=None)

    found = await customers.phase(name, "Trialing")
    assert samples.read(found["status"]["anchors"]["trialEndTime"]) == began + 14 * DAY
    status = await at(operator, customers, customer, began + 14 * DAY - SECOND)
    assert status["phase"] == "Trialing"
    status = await at(operator, customers, customer, began + 14 * DAY)
    assert status["phase"] == "PastDue"


async def test_a_contract_that_starts_later_builds_nothing_before(
    api: Api, operator: Operator, customers: Customers, name: str
) -> None:
    await customers.plan(name, "Shared", "Rows")
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    contract = samples.subscription(name, name, startTime=samples.written(start))
    await api.apply(samples.tenant(name), contract)
    found = await customers.phase(name, "Pending")
    assert found["status"]["next"]["phase"] == "Active"
    assert "id" not in (await api.get("Tenant", name) or {}).get("status", {})

    operator.clock.frozen = start
    operator.look_at("Tenant", name)

    await customers.ready(name)


async def test_a_first_payment_that_never_comes_abandons_the_contract(
    api: Api, operator: Operator, customers: Customers, name: str
) -> None:
    await customers.plan(name, "Shared", "Rows", payment={"firstPaymentWindow": "24h"})
    await api.apply(samples.tenant(name), samples.subscription(name, name, paid=None))
    await customers.phase(name, "AwaitingPayment")

    operator.clock.offset = timedelta(hours=25)
    operator.look_at("Tenant", name)

    await customers.phase(name, "Abandoned")
    assert "id" not in (await api.get("Tenant", name) or {}).get("status", {})
