"""Where tenants are put, and what is said when a place is missing, full, broken or taken away."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect, secret
from tests.cluster.halting import paybill, paybill_json
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread


async def test_an_unknown_cell_is_said_and_waited_for(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name)
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))

    message = await customers.stalled(name, "UnknownCell")
    assert name in message
    assert "local" in message, "the known ones are named"
    await api.apply(samples.cell(name))

    await customers.ready(name)
    found = await api.get("Tenant", name)
    assert found is not None
    assert found["status"]["placement"]["cell"] == name


async def test_without_a_default_cell_a_tenant_waits_for_one(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name)
    await api.edit("Cell", "local", {"spec": {"default": False}})
    try:
        await customers.until("local", lambda one: holds(one, "Ready"), kind="Cell")
        await api.apply(samples.tenant(name), samples.subscription(name, name))
        message = await customers.stalled(name, "NoDefaultCell")
        assert "spec.default" in message
    finally:
        await api.edit("Cell", "local", {"spec": {"default": True}})
    await customers.ready(name)


async def test_a_full_cell_takes_nobody_until_it_has_room(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.cell(name, [samples.server(capacity={"schemas": 1})]))
    await customers.plan(name)
    where = {"cellRef": {"name": name}}
    first = await customers.onboard("a", plan=name, spec=where)

    await api.apply(samples.tenant(f"{name}-b", **where), samples.subscription(f"{name}-b", name))
    message = await customers.stalled(f"{name}-b", "CellFull")
    assert name in message
    assert holds(await api.get("Tenant", first.name), "Ready")

    await api.apply(samples.cell(name, [samples.server(capacity={"schemas": 2})]))
    await customers.ready(f"{name}-b")


async def test_the_next_server_is_used_when_the_first_is_full(api: Api, customers: Customers, name: str) -> None:
    servers = [samples.server("one", capacity={"schemas": 1}), samples.server("two")]
    await api.apply(samples.cell(name, servers))
    await customers.plan(name)
    where = {"cellRef": {"name": name}}

    made = [await customers.onboard(which, plan=name, spec=where) for which in ("a", "b")]

    placed = [(await api.get("Tenant", one.name) or {})["status"]["placement"]["server"] for one in made]
    assert placed == ["one", "two"]
    cell = await customers.until(
        name, lambda one: one["status"].get("tenants") == 2 or _nudge(customers, name), kind="Cell"
    )
    assert [server["tenants"] for server in cell["status"]["servers"]] == [1, 1]


def _nudge(customers: Customers, cell: str) -> bool:
    customers.operator.look_at("Cell", cell)  # it counts once a minute
    return False


async def test_a_cell_without_a_server_of_the_right_sort_says_so(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.cell(name, [samples.server(holds="Rows")]))
    await customers.plan(name)

    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))

    message = await customers.stalled(name, "NoServerForLevel")
    assert "Schemas" in message


async def test_a_server_taken_out_of_the_spec_keeps_its_tenants_as_they_are(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    both = [samples.server("one"), samples.server("two")]
    await api.apply(samples.cell(name, both))
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    binding = await customers.binding(customer)
    await customers.quiet()

    await api.apply(samples.cell(name, both[1:]))
    message = await customers.stalled(customer.name, "ServerRemoved")
    operator.restart()
    await customers.stalled(customer.name, "ServerRemoved")

    assert "one" in message
    assert name in message
    found = await api.get("Tenant", customer.name)
    assert found is not None
    assert found["status"]["phase"] == "Active"
    assert await may_connect(binding)
    assert await customers.binding(customer) == binding

    await api.apply(samples.cell(name, both))
    await customers.ready(customer.name)
    assert await may_connect(binding)


BROKEN: dict[str, tuple[str, Any, str]] = {
    "no Secret": ("SecretMissing", None, "does not exist"),
    "no key": ("SecretMissing", {"other": "x"}, "has no key"),
    "no URI": ("BadDsn", {"schemas-1": "::not a uri::"}, "cannot be read"),
    "an empty URI": ("BadDsn", {"schemas-1": "  "}, "is empty"),
    "wrong password": ("DatabaseAccessDenied", "wrong", "password"),
    "nobody there": ("DatabaseUnreachable", {"schemas-1": "postgresql://a:b@127.0.0.1:1/postgres?sslmode=disable"}, ""),
}


@pytest.mark.parametrize("situation", list(BROKEN))
async def test_a_server_that_cannot_be_used_is_said_on_the_cell_and_mended_by_its_secret(
    situation: str, api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    reason, content, words = BROKEN[situation]
    good = (await secret(api, samples.OPERATOR_NAMESPACE, "paybill-servers"))["schemas-1"]
    if content == "wrong":
        content = {"schemas-1": _with_wrong_password(good)}
    if content is not None:
        await api.apply(_secret(name, content))
    await api.apply(samples.cell(name, [samples.server(secret=name)]))

    found = await customers.until(name, lambda one: condition(one, "Ready").get("reason") == reason, kind="Cell")
    said = condition(found, "Ready")["message"]
    assert words in said
    assert "schemas-1" in said
    assert _password(good) not in str(found["status"])
    await customers.plan(name)
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))
    other = await customers.onboard("other", plan=name)
    assert await may_connect(await customers.binding(other)), "the other cells go on"
    if situation == "no Secret":  # the same for all of them, and only said after some seconds
        await customers.until(name, lambda one: holds(one, "Ready", "ServerNotConnected", "False"))

    await api.apply(_secret(name, {"schemas-1": good}))
    operator.look_at("Cell", name)  # Secrets are not watched: it looks by itself within half a minute
    await customers.ready(name)
    await customers.until(name, lambda one: holds(one, "Ready"), kind="Cell")


def _secret(name: str, content: dict[str, str]) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    metadata = {"name": name, "namespace": samples.OPERATOR_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def _password(dsn: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    return str(conninfo_to_dict(dsn)["password"])


def _with_wrong_password(dsn: str) -> str:
    from psycopg.conninfo import make_conninfo

    return make_conninfo(dsn, password="wrong")


async def test_a_level_that_no_server_of_the_cell_holds_is_named(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.cell(name), samples.ours("Plan", name, {"isolation": {"model": "Bridge"}}))
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))

    message = await customers.stalled(name, "NoServerForLevel")

    assert message.startswith(f"Cell {name} has no server that holds Databases")
    found = await api.get("Tenant", name)
    assert found is not None
    assert "id" not in found["status"], "nothing is claimed for what cannot be made"


async def test_stripe_without_a_key_is_said_to_be_missing(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name)
    contract = samples.subscription(name, name)
    contract["spec"]["payment"] = {"provider": "Stripe", "subscription": "sub_1"}
    await api.apply(samples.tenant(name), contract)

    for kind in ("Tenant", "Subscription"):
        assert "PAYBILL_STRIPE_KEY_FILE" in await customers.stalled(name, "StripeNotConfigured", kind=kind)


async def test_a_cell_that_is_deleted_leaves_its_tenants_as_they_are(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.cell(name))
    customer: Customer = await customers.onboard(spec={"cellRef": {"name": name}})
    binding = await customers.binding(customer)

    await api.delete("Cell", name)
    await until(lambda: _gone(api, name))
    await customers.quiet()
    await api.delete("NetworkPolicy", "paybill", customer.namespace)

    await until(lambda: api.get("NetworkPolicy", "paybill", customer.namespace))
    assert await may_connect(binding)


async def _gone(api: Api, name: str) -> bool:
    return await api.get("Cell", name) is None


async def test_moves_are_proposed_and_made_when_they_are_asked_for(
    api: Api, customers: Customers, operator: Operator, control_plane: LocalThread, name: str
) -> None:
    def servers(first: int) -> list[Object]:
        # Two servers of the Cell, on one Postgres.
        return [samples.server("a", capacity={"schemas": first}), samples.server("b", capacity={"schemas": 10})]

    await api.apply(samples.cell(name, servers(10)))
    await customers.plan(name)
    where = {"cellRef": {"name": name}}
    for one in ("x", "y"):
        await customers.onboard(one, plan=name, spec=where)
    assert await paybill_json(control_plane.kubeconfig, "cell", "rebalance", name) == []

    await api.apply(samples.cell(name, servers(2)))
    found = await customers.until(name, lambda one: one["status"].get("rebalance"), kind="Cell")
    (move,) = found["status"]["rebalance"]
    assert (move["source"], move["target"]) == ("a", "b")
    assert "100% of its tenants" in move["because"]
    await customers.quiet()
    assert await paybill_json(control_plane.kubeconfig, "cell", "rebalance", name) == [{**move, "asked": False}]
    assert (await api.get("Tenant", move["tenant"]))["status"]["placement"]["server"] == "a", "nobody asked for it"

    asked = await paybill(control_plane.kubeconfig, "cell", "rebalance", name, "--apply", "1")
    assert asked.exit_code == 0
    await customers.until(
        move["tenant"], lambda one: holds(one, "Ready") and one["status"]["placement"]["server"] == "b", seconds=60.0
    )
    operator.look_at("Cell", name)
    await customers.until(name, lambda one: not one["status"].get("rebalance"), kind="Cell")
