"""A login gets a new password without anybody losing a transaction, and the old one ends when nobody is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect, secret
from tests.cluster.halting import paybill_json, set_mode
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.test_suspension import PAID, UNPAID, resumed, suspended
from tests.cluster.waiting import until
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]

HOUR = timedelta(hours=1)
CLIENTS = 4
TRANSACTIONS = 5
"""After so many a client reads the Secret anew and connects again."""


@pytest.fixture
async def customer(customers: Customers) -> Customer:
    return await customers.onboard()


async def ask(api: Api, customer: Customer, request: str) -> None:
    """As ``kubectl annotate`` does."""
    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {"paybill.dev/rotate": request}}})


async def rotated(customers: Customers, customer: Customer, slot: str, reason: str = "OldSlotOpen") -> Object:
    """Wait until the app's slot is this one and the condition has that reason."""

    def turned(one: Object) -> bool:
        app = one["status"].get("credentials", {}).get("app", {})
        return app.get("slot") == slot and condition(one, "CredentialsFresh").get("reason") == reason

    return await customers.until(customer.name, turned)


async def open_logins(postgres: Postgres, customer: Customer) -> list[str]:
    """Who may log in, by Postgres' own word."""
    query = "SELECT substr(rolname, 13) FROM pg_roles WHERE rolname LIKE %s AND rolcanlogin ORDER BY 1"
    return [row[0] for row in await (await postgres.execute(query, (f"pb_{customer.id}_%",))).fetchall()]


async def ended(session: Postgres) -> bool:
    try:
        await session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


async def later(operator: Operator, customer: Customer, span: timedelta) -> None:
    operator.clock.offset += span
    operator.look_at("Tenant", customer.name)


async def test_the_new_login_takes_over_and_the_old_one_is_open_until_nobody_is_in_it(
    api: Api, operator: Operator, customers: Customers, customer: Customer, postgres: Postgres, journal: Journal
) -> None:
    before = await customers.binding(customer)
    session = await connect(before)

    await ask(api, customer, "1")

    found = await rotated(customers, customer, "b")
    assert found["status"]["credentials"]["acknowledged"] == "1"
    assert holds(found, "Ready")
    after = await customers.binding(customer)
    assert after["username"] == f"pb_{customer.id}_app_b"
    assert await may_connect(after)
    assert await may_connect(before), "an app that has not read the new Secret yet goes on"
    assert await open_logins(postgres, customer) == ["app_a", "app_b", "mig_a", "mig_b", "ro_a", "ro_b"]

    await later(operator, customer, HOUR)
    found = await customers.until(customer.name, lambda one: holds(one, "CredentialsFresh", "OldSlotInUse", "False"))
    assert f"1 sessions of pb_{customer.id}_app_a" in condition(found, "CredentialsFresh")["message"]
    assert after["password"] not in str(found)
    assert await open_logins(postgres, customer) == ["app_a", "app_b", "mig_b", "ro_b"]
    await session.execute("SELECT 1")

    await session.close()
    await later(operator, customer, HOUR)
    await rotated(customers, customer, "b", "Rotated")
    assert await open_logins(postgres, customer) == ["app_b", "mig_b", "ro_b"]
    assert not await may_connect(before)
    assert await may_connect(after)

    await customers.quiet()
    journal.begin()
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert journal.writes() == []


async def test_a_slot_in_use_is_closed_when_its_time_is_over(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    session = await connect(await customers.binding(customer))
    await ask(api, customer, "1 app")
    await rotated(customers, customer, "b")

    await later(operator, customer, timedelta(days=7) - HOUR)
    await rotated(customers, customer, "b", "OldSlotInUse")
    assert not await ended(session)

    await later(operator, customer, HOUR)
    await rotated(customers, customer, "b", "Rotated")
    assert await ended(session)


async def test_on_suspicion_the_old_sessions_end_at_once(
    api: Api, customers: Customers, customer: Customer, postgres: Postgres, control_plane: LocalThread
) -> None:
    before = await customers.binding(customer)
    session = await connect(before)
    words = ("rotate", customer.name, "--login", "app", "--now-suspected")
    dry = await paybill_json(control_plane.kubeconfig, *words, "--dry-run")
    assert (dry["logins"], dry["suspected"], dry["dryRun"]) == (["app"], True, True)
    tenant = await api.get("Tenant", customer.name) or {}
    assert "paybill.dev/rotate" not in tenant["metadata"].get("annotations", {})

    said = await paybill_json(control_plane.kubeconfig, *words)

    found = await rotated(customers, customer, "b", "Rotated")
    assert found["status"]["credentials"]["acknowledged"] == said["request"]
    assert await ended(session)
    assert not await may_connect(before)
    assert await may_connect(await customers.binding(customer))
    assert await open_logins(postgres, customer) == ["app_b", "mig_a", "ro_a"]


async def test_a_halt_keeps_a_suspected_login_open_and_says_so(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    session = await connect(await customers.binding(customer))
    try:
        await set_mode(api, operator, "NonDestructive")
        await ask(api, customer, "1 app suspected")
        await rotated(customers, customer, "b", "SuspectedSlotOpen")
        assert not await ended(session)
    finally:
        await set_mode(api, operator, "Full")
    operator.look_at("Tenant", customer.name)
    await rotated(customers, customer, "b", "Rotated")
    assert await ended(session)


async def test_a_cells_schedule_has_every_tenants_logins_rotated_over_and_over(
    api: Api, operator: Operator, customers: Customers, name: str
) -> None:
    await api.apply(samples.cell(name, rotation={"every": "720h"}))
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    for slot in ("b", "a"):
        await later(operator, customer, timedelta(days=29))
        await customers.quiet()
        await later(operator, customer, timedelta(days=9))
        await rotated(customers, customer, slot)
        await later(operator, customer, HOUR)
        await rotated(customers, customer, slot, "Rotated")
        assert await may_connect(await customers.binding(customer))


async def test_a_new_login_that_does_not_work_is_not_handed_out(
    api: Api, operator: Operator, customers: Customers, customer: Customer, postgres: Postgres
) -> None:
    before = await customers.binding(customer)
    pool = before["database"]
    await postgres.execute(f"REVOKE CONNECT ON DATABASE {pool} FROM {pool}")
    try:
        await ask(api, customer, "1 app")
        found = await rotated(customers, customer, "a", "NewLoginRefused")
    finally:
        await postgres.execute(f"GRANT CONNECT ON DATABASE {pool} TO {pool}")
    assert "permission denied for database" in condition(found, "CredentialsFresh")["message"]
    assert holds(found, "Ready")
    await customers.quiet()
    assert await open_logins(postgres, customer) == ["app_a", "mig_a", "ro_a"], "the slot that was filled is closed"
    assert await customers.binding(customer) == before
    assert await may_connect(before)

    await later(operator, customer, timedelta(minutes=10))
    await rotated(customers, customer, "b")


async def test_a_suspension_in_the_middle_changes_nothing_of_what_comes_back(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    await ask(api, customer, "1")
    await rotated(customers, customer, "b")
    handed = await customers.binding(customer)

    await api.edit("Subscription", customer.name, UNPAID)
    await suspended(customers, customer)
    assert not await may_connect(handed)
    await ask(api, customer, "2 app")
    await later(operator, customer, HOUR)
    await rotated(customers, customer, "b", "WaitsForAccess")

    await api.edit("Subscription", customer.name, PAID)
    await resumed(customers, customer)
    await rotated(customers, customer, "a")
    assert await may_connect(await customers.binding(customer))
    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"]):
        assert provider["mig-username"].endswith("_mig_b")


async def test_a_secret_of_old_that_was_restored_is_healed_by_the_slot_in_use(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    where = ("Secret", f"t-{customer.id}-db", customer.namespace)
    old = await api.get(*where)
    assert old is not None
    before = await customers.binding(customer)
    await ask(api, customer, "1")
    await rotated(customers, customer, "b")
    await later(operator, customer, HOUR)
    await rotated(customers, customer, "b", "Rotated")

    await api.edit(where[0], where[1], {"data": old["data"]}, where[2])
    operator.look_at("Tenant", customer.name, deep=True)

    await until(lambda: _names(customers, customer, "app_b"))
    assert await may_connect(await customers.binding(customer))

    await api.edit(where[0], where[1], {"data": old["data"]}, where[2])
    await ask(api, customer, "2 app")
    await rotated(customers, customer, "a")
    assert (await customers.binding(customer))["password"] != before["password"]
    assert not await may_connect(before), "a password of old never comes back with a backup"


async def _names(customers: Customers, customer: Customer, suffix: str) -> bool:
    return (await customers.binding(customer))["username"].endswith(suffix)


async def test_a_request_that_says_something_else_is_refused_in_words(
    api: Api, customers: Customers, customer: Customer
) -> None:
    await ask(api, customer, "1 apps")
    found = await rotated(customers, customer, "a", "BadRotateRequest")
    assert "'apps' is no kind of login" in condition(found, "CredentialsFresh")["message"]
    assert holds(found, "Ready")


@dataclass
class Load:
    """Clients of the app: each reads the Secret, connects, does a few transactions and begins anew."""

    customers: Customers
    customer: Customer
    done: int = 0
    failed: list[str] = field(default_factory=list)
    logins: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self) -> None:
        while True:
            try:
                binding = await self.customers.binding(self.customer)
                async with await connect(binding) as session:
                    self.logins.add(binding["username"][-5:])
                    for _ in range(TRANSACTIONS):
                        await session.execute("INSERT INTO visits DEFAULT VALUES")
                        self.done += 1
            except (psycopg.Error, KeyError) as error:
                self.failed.append(f"{type(error).__name__}: {error}")


async def test_no_transaction_fails_while_logins_are_rotated(
    api: Api, operator: Operator, customers: Customers, customer: Customer
) -> None:
    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as session:
        await session.execute(
            "CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now())"
        )
    load = Load(customers, customer)
    async with load.running():
        for number, slot in enumerate(("b", "a", "b")):
            before = load.done
            await ask(api, customer, f"{number}")
            await rotated(customers, customer, slot)
            await until(lambda before=before: load.done > before + 2 * CLIENTS * TRANSACTIONS)
            operator.clock.offset += HOUR
            await until(lambda: _drained(api, operator, customer))
    assert load.failed == []
    assert load.logins == {"app_a", "app_b"}
    async with await connect(await customers.binding(customer)) as session:
        kept = await (await session.execute("SELECT count(*) FROM visits")).fetchone()
    assert kept is not None
    assert kept[0] >= load.done, "what was told to have succeeded is there"


async def _drained(api: Api, operator: Operator, customer: Customer) -> bool:
    """Look until nobody happens to be in the old slot."""
    operator.look_at("Tenant", customer.name)
    return holds(await api.get("Tenant", customer.name), "CredentialsFresh", "Rotated")
