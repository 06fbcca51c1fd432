"""A halt holds at once and everywhere, survives whatever happens to the operator, and ends by a person's word only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from paybill.doors import Doors
from paybill.reconcile import metrics
from tests.cluster import samples, workloads
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.halting import MODE, PAID, UNPAID, done, mode, mode_of, paybill, paybill_json, says, set_mode
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import stays, until
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]


@pytest.fixture(autouse=True)
async def full(api: Api, operator: Operator) -> AsyncIterator[None]:
    """Each test begins and ends with everything permitted."""
    await set_mode(api, operator, "Full")
    yield
    await api.apply(mode("Full"))
    if operator.running:
        await until(lambda: mode_of(operator) == "Full")


async def test_non_destructive_suspends_nobody_and_serves_everybody_else(
    api: Api, customers: Customers, operator: Operator, control: Postgres
) -> None:
    customer = await customers.onboard("old")
    binding = await customers.binding(customer)
    await set_mode(api, operator, "NonDestructive")

    await api.edit("Subscription", customer.name, UNPAID)
    await until(lambda: says(api, customer.name, "Halted"))
    await customers.onboard("new", plan=customer.plan)

    found = await api.get("Tenant", customer.name)
    message = condition(found, "Ready")["message"]
    assert "somebody" in message
    assert "a test" in message
    assert "paybill resume" in message
    assert await may_connect(binding)
    assert customer.id not in await done(control, "tenant.suspend")

    await set_mode(api, operator, "Full")
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    assert not await may_connect(binding)


async def test_observe_does_nothing_and_says_what_it_would(
    api: Api, customers: Customers, operator: Operator, control: Postgres, journal: Journal
) -> None:
    customer = await customers.onboard("old")
    await customers.quiet()
    claims = await rows(control, "tenants")
    facts = await rows(control, "subscription_facts")
    await set_mode(api, operator, "Observe")
    journal.begin()

    await api.delete("ResourceQuota", "paybill", customer.namespace)
    await api.edit("Subscription", customer.name, UNPAID)
    name = f"{customers.prefix}-new"
    await api.apply(samples.tenant(name), samples.subscription(name, customer.plan))
    await until(lambda: says(api, customer.name, "Halted"))
    await until(lambda: says(api, name, "Halted"))
    await customers.quiet()

    assert "wait" in condition(await api.get("Tenant", customer.name), "Ready")["message"]
    assert "id" not in ((await api.get("Tenant", name)) or {})["status"], "it has no place yet"
    assert await rows(control, "tenants") == claims
    assert await rows(control, "subscription_facts") == facts
    wrote = {one.resource + "/" + one.subresource for one in journal.writes() if one.resource != "leases"}
    assert wrote <= {"tenants/status", "subscriptions/status", "plans/status", "cells/status", "events/"}

    await set_mode(api, operator, "Full")
    await customers.ready(name)
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))


async def rows(control: Postgres, table: str) -> list[Any]:
    found = await control.execute(f"SELECT * FROM paybill.{table} ORDER BY 1")  # type: ignore[arg-type]
    return await found.fetchall()


@pytest.mark.parametrize("chosen", ["NonDestructive", "Observe"])
async def test_a_halt_writes_nothing_to_tenants_that_have_nothing_to_do(
    chosen: str, api: Api, customers: Customers, operator: Operator, journal: Journal
) -> None:
    customer = await customers.onboard()
    await customers.quiet()
    journal.begin()

    await set_mode(api, operator, chosen)
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()

    assert [one.what for one in journal.writes() if one.resource not in {"leases", "events"}] == []
    assert holds(await api.get("Tenant", customer.name), "Ready", "Provisioned")


async def test_a_deletion_waits_with_everything_on(
    api: Api, customers: Customers, operator: Operator, control: Postgres
) -> None:
    customer = await customers.onboard()
    binding = await customers.binding(customer)
    await set_mode(api, operator, "NonDestructive")

    await api.delete("Tenant", customer.name)
    await until(lambda: says(api, customer.name, "Halted"))

    assert await may_connect(binding)
    assert customer.id not in await done(control, "tenant.delete", "tenant.drop")
    assert await api.get("Namespace", customer.namespace) is not None

    await set_mode(api, operator, "Full")
    await until(lambda: gone(api, customer.name))


async def gone(api: Api, name: str) -> bool:
    return await api.get("Tenant", name) is None


async def test_owners_keep_their_rights(api: Api, customers: Customers, operator: Operator) -> None:
    both = [{"kind": "Group", "name": "one"}, {"kind": "Group", "name": "two"}]
    customer = await customers.onboard(spec={"owners": both})
    await set_mode(api, operator, "NonDestructive")

    for fewer in ([both[0]], None):
        await api.edit("Tenant", customer.name, {"spec": {"owners": fewer}})
        await until(lambda: says(api, customer.name, "Halted"))
        assert await subjects(api, customer.namespace) == ["one", "two"]

    await api.edit("Tenant", customer.name, {"spec": {"owners": [*both, {"kind": "Group", "name": "three"}]}})
    await until(lambda: _are(api, customer.namespace, ["one", "three", "two"]))


async def subjects(api: Api, namespace: str) -> list[str]:
    found = await api.get("RoleBinding", "paybill-owners", namespace)
    return sorted(one["name"] for one in (found or {}).get("subjects", []))


async def _are(api: Api, namespace: str, wanted: list[str]) -> bool:
    return await subjects(api, namespace) == wanted


@pytest.mark.exhaustive
async def test_what_pays_late_is_not_restricted_and_what_paid_is_resumed(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await customers.plan(name, payment={"graceDays": 14, "restrictAfterDays": 7, "endAfterDays": 30})
    late, back = await customers.onboard("late", plan=name), await customers.onboard("back", plan=name)
    await api.edit("Subscription", back.name, UNPAID)
    await customers.until(back.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    await set_mode(api, operator, "NonDestructive")

    await api.edit("Subscription", late.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=8)}}})
    await api.edit("Subscription", back.name, PAID)

    await until(lambda: says(api, late.name, "Halted"))
    await customers.until(back.name, lambda one: holds(one, "Ready", "Provisioned"))
    assert await may_connect(await customers.binding(back))


async def test_retention_does_not_begin_while_nothing_may_be_stopped(
    api: Api, customers: Customers, operator: Operator, control: Postgres
) -> None:
    customer = await customers.onboard()
    await set_mode(api, operator, "NonDestructive")
    await api.delete("Subscription", customer.name)
    await until(lambda: says(api, customer.name, "Halted"))

    found = await control.execute(
        "SELECT phase, requested_end_time IS NOT NULL, ended_time FROM paybill.subscription_facts"
        " WHERE tenant_uid = (SELECT tenant_uid FROM paybill.tenants WHERE id = %s)",
        (customer.id,),
    )
    assert await found.fetchone() == ("Ended", True, None)


@pytest.mark.exhaustive
async def test_a_halt_in_the_middle_of_a_wave_stops_the_rest_and_a_resume_does_each_once(
    api: Api, customers: Customers, operator: Operator, control: Postgres, name: str
) -> None:
    await customers.plan(name, "Shared", "Rows")
    made = await asyncio.gather(*(customers.onboard(f"n{number}", plan=name) for number in range(12)))
    ids = {one.id for one in made}
    half = asyncio.Event()

    async def halt_after_some() -> None:
        await until(lambda: _some(control, ids))
        await api.apply(mode("NonDestructive"))
        half.set()

    halting = asyncio.create_task(halt_after_some())
    for one in made:
        await api.edit("Subscription", one.name, UNPAID)
        if len(await _suspended(control, ids)) >= 3:
            await half.wait()
    await halting
    await until(lambda: mode_of(operator) == "NonDestructive")
    for one in made:  # what had begun when the halt came is finished, and logged a moment later
        await until(lambda one=one: _decided(api, control, one))
    first = await _suspended(control, ids)
    assert 0 < len(first) < len(ids)
    for one in made:
        assert await says(api, one.name, "Halted") == (one.id not in first)

    await set_mode(api, operator, "Full")
    for one in made:
        await customers.until(one.name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    assert await _suspended(control, ids) == dict.fromkeys(ids, 1)


async def _decided(api: Api, control: Postgres, customer: Customer) -> bool:
    """Whether it is suspended, or says that it is not because of the halt."""
    return customer.id in await _suspended(control, {customer.id}) or await says(api, customer.name, "Halted")


async def _suspended(control: Postgres, ids: set[str]) -> dict[str, int]:
    return {who: times for who, times in (await done(control, "tenant.suspend")).items() if who in ids}


async def _some(control: Postgres, ids: set[str]) -> bool:
    return len(await _suspended(control, ids)) >= 3


@pytest.mark.exhaustive
async def test_pods_that_are_leaving_stay_from_the_halt_on(api: Api, customers: Customers, operator: Operator) -> None:
    customer = await customers.onboard()
    space = customer.namespace
    await api.create(workloads.deployment(space))
    await until(lambda: _pods(api, space, 2))
    await api.create(workloads.disruption_budget(space))
    await workloads.make_ready(api, space, "web")
    await api.edit("Subscription", customer.name, UNPAID)
    await until(lambda: says(api, customer.name, "PodsLeaving"))

    await set_mode(api, operator, "NonDestructive")
    await until(lambda: says(api, customer.name, "Halted"))
    operator.clock.offset += operator.clock.offset.__class__(minutes=5)
    operator.look_at("Tenant", customer.name)
    await customers.quiet()
    assert await _pods(api, space, 2)

    await set_mode(api, operator, "Full")
    await until(lambda: _pods(api, space, 0))


async def _pods(api: Api, namespace: str, number: int) -> bool:
    return len(await workloads.pods(api, namespace)) == number


async def test_a_restart_forgets_no_halt_nor_who_is_waiting(
    api: Api, customers: Customers, operator: Operator, control: Postgres
) -> None:
    customer = await customers.onboard()
    await set_mode(api, operator, "NonDestructive")
    await api.edit("Subscription", customer.name, UNPAID)
    await until(lambda: says(api, customer.name, "Halted"))

    operator.restart()
    operator.look_at("Tenant", customer.name)
    await customers.quiet()
    assert mode_of(operator) == "NonDestructive"
    assert await says(api, customer.name, "Halted")

    operator.crash()
    await api.delete("ConfigMap", MODE, samples.OPERATOR_NAMESPACE)
    operator.start()
    assert mode_of(operator) == "NonDestructive", "a ConfigMap that vanished ends no halt"


class Blindfold:
    """Between the operator and its mode: while it is ``on``, the API server knows nothing of that ConfigMap."""

    def __init__(self) -> None:
        self.on = True
        self.asked = 0
        self.watches: list[ClientResponse] = []

    def doors(self) -> Doors:
        return Doors(around_requests=(self._around,))

    async def _around(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        mine = MODE in request.url.query.get("fieldSelector", "")
        if mine and self.on:
            self.asked += 1
            request.url = request.url.with_path("/api/v1/namespaces/paybill-system/blindfolds")
        answer = await handler(request)
        if mine and "watch" in request.url.query:
            self.watches.append(answer)
        return answer


async def test_who_cannot_read_the_mode_at_the_start_destroys_nothing(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await customers.onboard()
    await customers.quiet()
    operator.stop()
    blindfold = Blindfold()
    operator.doors = blindfold.doors
    try:
        operator.start()
        assert mode_of(operator) == "NonDestructive"
        await api.edit("Subscription", customer.name, UNPAID)
        await until(lambda: says(api, customer.name, "Halted"))
        assert "could not read its mode" in condition(await api.get("Tenant", customer.name), "Ready")["message"]
        assert blindfold.asked

        blindfold.on = False
        await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    finally:
        operator.stop()
        operator.doors = Doors


async def test_a_watch_that_breaks_holds_what_was_last_seen(api: Api, customers: Customers, operator: Operator) -> None:
    customer = await customers.onboard()
    await set_mode(api, operator, "NonDestructive")
    operator.stop()
    blindfold = Blindfold()
    blindfold.on = False
    operator.doors = blindfold.doors
    try:
        operator.start()
        await until(lambda: blindfold.watches)
        blindfold.on = True
        operator.call(lambda _: blindfold.watches[0].close())
        await until(lambda: blindfold.asked)
        await api.apply(mode("Full"))
        await api.edit("Subscription", customer.name, UNPAID)
        await until(lambda: says(api, customer.name, "Halted"))

        blindfold.on = False
        await until(lambda: mode_of(operator) == "Full")
        await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    finally:
        operator.stop()
        operator.doors = Doors


@pytest.mark.parametrize(
    "broken", ["unknown", *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("gone", "empty"))]
)
async def test_what_cannot_be_understood_changes_nothing(
    broken: str, api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await customers.onboard()
    await set_mode(api, operator, "NonDestructive")
    match broken:
        case "gone":
            await api.delete("ConfigMap", MODE, samples.OPERATOR_NAMESPACE)
        case "unknown":
            await api.edit("ConfigMap", MODE, {"data": {"mode": "Fulll"}}, samples.OPERATOR_NAMESPACE)
        case _:
            await api.edit("ConfigMap", MODE, {"data": None}, samples.OPERATOR_NAMESPACE)

    await api.edit("Subscription", customer.name, UNPAID)

    await until(lambda: says(api, customer.name, "Halted"))
    await stays(lambda: mode_of(operator) == "NonDestructive", seconds=0.5)


async def test_the_command_line_halts_and_resumes(
    api: Api, customers: Customers, operator: Operator, control: Postgres, control_plane: LocalThread
) -> None:
    customer = await customers.onboard()
    kubeconfig = control_plane.kubeconfig
    shown = await paybill_json(kubeconfig, "halt", "--reason", "wrong import", "--dry-run")
    assert (shown["after"]["mode"], shown["dryRun"]) == ("NonDestructive", True)
    assert shown["tenants"]["total"] >= 1
    assert mode_of(operator) == "Full"

    halted = await paybill(kubeconfig, "halt", "--mode", "Observe", "--reason", "wrong import")
    assert halted.exit_code == 0, halted.output
    assert "nothing is done at all" in halted.output
    await until(lambda: mode_of(operator) == "Observe", seconds=1)
    assert metrics.REGISTRY.get_sample_value("paybill_mode", {"mode": "Observe"}) == 1
    assert metrics.REGISTRY.get_sample_value("paybill_mode", {"mode": "Full"}) == 0
    listed = await paybill(kubeconfig, "tenants")
    assert "wrong import" in listed.stderr
    await api.edit("Subscription", customer.name, UNPAID)
    await until(lambda: says(api, customer.name, "Halted"))
    assert "admin" in condition(await api.get("Tenant", customer.name), "Ready")["message"]

    resumed = await paybill_json(kubeconfig, "resume")
    assert (resumed["before"]["mode"], resumed["after"]["mode"], resumed["tenants"]["halted"]) == ("Observe", "Full", 1)
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    assert "halted" not in (await paybill(kubeconfig, "tenants")).stderr

    await until(lambda: _changes(control, ["Observe", "Full"]))
    events = [one for one in await api.list("Event", "default") if one["reason"] in {"Halted", "Resumed"}]
    assert {one["involvedObject"]["kind"] for one in events} == {"Cell"}


async def _changes(control: Postgres, last: list[str]) -> bool:
    """Whether the audit log ends with these modes, each with who set it and a digest of why."""
    found = await control.execute(
        "SELECT cause, inputs_digest FROM paybill.audit_log WHERE action = 'mode.change' AND kind = 'intent'"
        " ORDER BY seq DESC LIMIT %s",
        (len(last),),
    )
    rows_ = list(reversed(await found.fetchall()))
    return len(rows_) == len(last) and all(
        f"mode {mode_}" in cause and digest for mode_, (cause, digest) in zip(last, rows_, strict=True)
    )
