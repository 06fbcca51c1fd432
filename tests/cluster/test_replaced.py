"""Tenants whose objects were lost and came back with other UIDs: held until a person says whose they are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from paybill.cli.adopt import adopt
from tests.cluster import samples
from tests.cluster.adoptions import approve, approve_all, deleted, letters, lost, rows, uid_of, write_letters
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers
from tests.cluster.running import Operator
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]


class Command:
    """``paybill adopt``, called as the administrator."""

    def __init__(self, control_plane: LocalThread, database: str) -> None:
        self._options = ["--kubeconfig", str(control_plane.kubeconfig), "--database", database, "--wait", "20"]

    async def __call__(self, *words: str, answer: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, adopt, [*words, *self._options], answer)


@pytest.fixture
def paybill_adopt(control_plane: LocalThread, control_dsn: str) -> Command:
    return Command(control_plane, control_dsn)


async def come_back(api: Api, *customers: Customer) -> None:
    """Their manifests are applied again, as Git has them."""
    for customer in customers:
        await api.apply(samples.tenant(customer.name), samples.subscription(customer.name, customer.plan))


async def replaced(api: Api, customers: Customers, *names: str) -> list[Customer]:
    """Customers whose objects were lost and are back, and held."""
    found = [await customers.onboard(name) for name in names]
    await lost(api, customers, *(one.name for one in found))
    await come_back(api, *found)
    for one in found:
        await customers.stalled(one.name, "TenantReplaced")
    return found


async def is_itself(customers: Customers, customer: Customer) -> None:
    assert (await customers.ready(customer.name)).id == customer.id


async def test_a_tenant_that_comes_back_is_not_made_a_second_time(
    api: Api, customers: Customers, control: Postgres, operator: Operator
) -> None:
    customer = await customers.onboard()
    await lost(api, customers, customer.name)
    before = await rows(control, "id", "state", "version")
    facts = await (await control.execute("SELECT * FROM paybill.subscription_facts")).fetchall()

    await come_back(api, customer)

    message = await customers.stalled(customer.name, "TenantReplaced")
    assert customer.id in message
    assert f"paybill adopt {customer.name}" in message
    await customers.stalled(customer.name, "TenantReplaced", kind="Subscription")
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert await rows(control, "id", "state", "version") == before
    assert await (await control.execute("SELECT * FROM paybill.subscription_facts")).fetchall() == facts


@pytest.mark.exhaustive
async def test_the_command_gives_it_back_what_it_had(
    api: Api, customers: Customers, paybill_adopt: Command, control: Postgres, name: str
) -> None:
    (customer,) = await replaced(api, customers, "")

    shown = await paybill_adopt(customer.name, "--dry-run")
    assert shown.exit_code == 0
    assert customer.id in shown.stdout
    assert await uid_of(api, customer.name) in shown.stdout
    assert holds(await api.get("Tenant", customer.name), "Stalled", "TenantReplaced"), "nothing was done"

    refused = await paybill_adopt(customer.name, answer="n\n")
    assert refused.exit_code == 1
    assert await api.list("Approval") == []

    done = await paybill_adopt(customer.name, answer="y\n")
    assert done.exit_code == 0, done.output
    await is_itself(customers, customer)
    again = await paybill_adopt(customer.name, "--yes")
    assert (again.exit_code, "nothing to adopt" in again.stderr) == (0, True)
    for approval in await api.list("Approval"):
        await api.delete("Approval", approval["metadata"]["name"])


async def test_all_at_once_by_one_approval(
    api: Api, customers: Customers, paybill_adopt: Command, control: Postgres, name: str
) -> None:
    found = await replaced(api, customers, "a", "b", "c")
    stays, new = await customers.onboard("stays"), f"{name}-new"
    await api.apply(samples.tenant(new))
    before = await rows(control, "id")

    shown = json.loads((await paybill_adopt("--all", "--dry-run", "--output", "json")).stdout)
    assert {one["id"] for one in shown["adopt"]} == {one.id for one in found}
    done = await paybill_adopt("--all", "--yes")
    assert done.exit_code == 0, done.output

    for one in (*found, stays):
        await is_itself(customers, one)
    assert await rows(control, "id") == before
    (approval,) = [one for one in await api.list("Approval") if one["spec"]["subject"]["kind"] == "Installation"]
    assert approval["spec"]["digest"] == shown["digest"]
    assert holds(approval, "Ready", "Used")
    again = await paybill_adopt("--all", "--yes", "--output", "json")
    assert (again.exit_code, json.loads(again.stdout)["adopt"]) == (0, [])
    await api.delete("Approval", approval["metadata"]["name"])


@pytest.mark.exhaustive
async def test_an_approval_of_another_list_adopts_nobody(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    one, other = await replaced(api, customers, "a", "b")
    pairs = [(each.id, each.name, await uid_of(api, each.name)) for each in (one, other)]
    installation = operator.settings.installation

    for wrong in (pairs[:1], [(pairs[0][0], *pairs[1][1:]), (pairs[1][0], *pairs[0][1:])]):
        unfit = await approve_all(api, installation, *wrong)
        await customers.stalled(unfit, "DigestMismatch", kind="Approval")
    elsewhere = await approve_all(api, "elsewhere", *pairs)
    await customers.stalled(elsewhere, "OtherInstallation", kind="Approval")
    for each in (one, other):
        await customers.stalled(each.name, "TenantReplaced")

    await approve_all(api, installation, *pairs)
    for each in (one, other):
        await is_itself(customers, each)


@pytest.mark.exhaustive
@pytest.mark.parametrize("done", [1, 2])
async def test_an_adoption_of_all_that_was_cut_off_goes_on_where_it_was(
    done: int, api: Api, customers: Customers, operator: Operator, paybill_adopt: Command, control: Postgres
) -> None:
    found = await replaced(api, customers, "a", "b", "c")
    pairs = [(each.id, each.name, await uid_of(api, each.name)) for each in found]
    operator.stop()
    name = await approve_all(api, operator.settings.installation, *pairs)
    approval = await api.get("Approval", name)
    assert approval is not None
    for tenant_id, _, uid in pairs[:done]:  # as the registry is when the operator ends between two of them
        await control.execute(
            "UPDATE paybill.tenants SET tenant_uid = %s, adopted_by = %s, adopted_time = now() WHERE id = %s",
            (uid, approval["metadata"]["uid"], tenant_id),
        )

    operator.start()

    went_on = await paybill_adopt("--all", "--yes")
    assert went_on.exit_code == 0, went_on.output
    for each in found:
        await is_itself(customers, each)
    assert [one["metadata"]["name"] for one in await api.list("Approval")] == [name], "it went on with the same one"


@pytest.mark.parametrize("by", [pytest.param("the command", marks=pytest.mark.exhaustive), "the annotation"])
async def test_a_new_customer_of_an_old_name_gets_its_own(
    by: str, api: Api, customers: Customers, paybill_adopt: Command, control: Postgres
) -> None:
    (customer,) = await replaced(api, customers, "")

    if by == "the command":
        done = await paybill_adopt("--fresh", customer.name, "--yes")
        assert done.exit_code == 0, done.output
    else:
        await api.edit("Tenant", customer.name, {"metadata": {"annotations": {"paybill.dev/fresh": customer.id}}})

    again = await customers.ready(customer.name)
    assert again.id != customer.id
    assert (customer.id, "released") in await rows(control, "id", "state")
    assert await api.get("Namespace", customer.namespace) is not None, "what the old one had stays"


@pytest.mark.exhaustive
async def test_the_word_that_a_name_is_new_holds_for_the_one_that_it_was_said_of(
    api: Api, customers: Customers, control: Postgres
) -> None:
    customer = await customers.onboard(spec=None)
    await lost(api, customers, customer.name)
    new = samples.tenant(customer.name)
    new["metadata"]["annotations"] = {"paybill.dev/fresh": "zzzzzzzz"}

    await api.apply(new, samples.subscription(customer.name, customer.plan))

    await customers.stalled(customer.name, "TenantReplaced")
    assert (customer.id, "claimed") in await rows(control, "id", "state")


async def test_a_contract_goes_on_in_its_new_object_and_no_other_takes_its_place(
    api: Api, customers: Customers, operator: Operator, control: Postgres, name: str
) -> None:
    unpaid = samples.moment(days=20)
    customer = await customers.onboard()
    await write_letters(api, customers, customer)
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": unpaid}}})
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    operator.stop()
    await control.execute(
        "UPDATE paybill.subscription_facts SET suspended_time = '2026-01-01T00:00:00Z' WHERE suspended_time IS NOT NULL"
    )
    operator.start()
    await lost(api, customers, customer.name)
    await api.apply(samples.tenant(customer.name))
    stranger = samples.subscription(f"{customer.name}-z", customer.plan, to=customer.name)
    await api.apply(stranger)
    await customers.stalled(customer.name, "TenantReplaced")
    await approve(api, customer.name, customer.id)

    found = await customers.until(customer.name, lambda one: one["status"].get("id") == customer.id)
    message = await customers.stalled(f"{customer.name}-z", "TenantTaken", kind="Subscription")
    assert f"contract of Subscription {customer.name}, which is not there" in message
    found = await customers.until(customer.name, lambda one: holds(one, "SubscriptionMissing"))
    assert found["status"]["phase"] == "Suspended"

    await api.apply(samples.subscription(customer.name, customer.plan, paid=unpaid))
    contract = await customers.phase(customer.name, "Suspended")
    assert contract["status"]["anchors"]["suspendedTime"] == "2026-01-01T00:00:00Z"
    await customers.stalled(f"{customer.name}-z", "TenantTaken", kind="Subscription")

    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": samples.FAR}}})
    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))
    assert await letters(await customers.binding(customer)) == ["dear all"]


@pytest.mark.exhaustive
async def test_a_contract_deleted_after_its_tenant_makes_room_for_another_one(api: Api, customers: Customers) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": "Retain"})
    await deleted(api, customers, customer)
    await api.delete("Subscription", customer.name)
    await customers.quiet()
    await api.apply(samples.tenant(customer.name, id=customer.id))
    await customers.stalled(customer.name, "AdoptionNotApproved")
    await approve(api, customer.name, customer.id)
    await customers.until(customer.name, lambda one: holds(one, "Suspended", "Ended") and holds(one, "Ready"))

    await api.apply(samples.subscription(f"{customer.name}-new", customer.plan, to=customer.name))

    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))
    await is_itself(customers, customer)


@pytest.mark.exhaustive
async def test_an_old_contract_that_was_deleted_on_request_is_not_continued(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    await api.delete("Subscription", customer.name)
    await customers.until(customer.name, lambda one: holds(one, "Suspended", "Ended") and holds(one, "Ready"))
    await lost(api, customers, customer.name)
    await come_back(api, customer)
    await customers.stalled(customer.name, "TenantReplaced")

    await approve(api, customer.name, customer.id)

    await is_itself(customers, customer)
    assert condition(await customers.phase(customer.name, "Active"), "Ready")["reason"] == "Active"
