"""A tenant with a database of its own on a shared server: made once, watched with its server, gone as a whole."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect
from tests.cluster.halting import PAID, UNPAID
from tests.cluster.journal import Journal
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
CONNECTIONS = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"


@pytest.fixture
async def wayne(customers: Customers) -> Customer:
    return await customers.onboard(database="Database")


async def inside(postgres: Postgres, customer: Customer) -> Postgres:
    """A superuser's session in the tenant's own database."""
    dsn = make_conninfo(postgres.info.dsn, password=postgres.info.password, dbname=f"pb_t_{customer.id}")
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def test_it_gets_a_database_of_its_own(
    api: Api, customers: Customers, wayne: Customer, journal: Journal, operator: Operator
) -> None:
    binding = await customers.binding(wayne)

    async with await connect(binding) as app:
        found = await (await app.execute("SELECT current_database(), current_schema()")).fetchone()
    assert found == (f"pb_t_{wayne.id}", f"t_{wayne.id}") == (binding["database"], f"t_{wayne.id}")
    tenant = await api.get("Tenant", wayne.name)
    assert tenant is not None
    assert tenant["status"]["placement"]["database"] == f"pb_t_{wayne.id}"
    await customers.quiet()
    journal.begin()
    operator.look_at("Tenant", wayne.name, deep=True)
    await customers.quiet()
    assert [one.what for one in journal.writes()] == []


async def test_it_is_suspended_and_comes_back_with_the_same_secret(
    api: Api, customers: Customers, wayne: Customer
) -> None:
    binding = await customers.binding(wayne)

    await api.edit("Subscription", wayne.name, UNPAID)
    await customers.phase(wayne.name, "Suspended")
    await until(lambda: _closed(binding))
    await api.edit("Subscription", wayne.name, PAID)
    await customers.phase(wayne.name, "Active")

    await until(lambda: may_connect(binding))
    assert await customers.binding(wayne) == binding


async def _closed(binding: dict[str, str]) -> bool:
    return not await may_connect(binding)


async def test_what_its_server_knows_of_it_is_healed_at_the_servers_look(
    postgres: Postgres, operator: Operator, wayne: Customer
) -> None:
    role = f"pb_{wayne.id}_app_a"
    before = await (await postgres.execute(CONNECTIONS, (role,))).fetchone()
    await postgres.execute(f"ALTER ROLE {role} CONNECTION LIMIT 77")  # type: ignore[arg-type]

    operator.look_at("Cell", "local", deep=True)

    async def healed() -> bool:
        return await (await postgres.execute(CONNECTIONS, (role,))).fetchone() == before

    await until(healed)


async def test_what_is_inside_is_healed_at_its_own_look(
    postgres: Postgres, operator: Operator, customers: Customers, wayne: Customer
) -> None:
    schema, query = f"t_{wayne.id}", "SELECT has_schema_privilege('public', %s, 'USAGE')"
    async with await inside(postgres, wayne) as session:
        await session.execute(f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC")  # type: ignore[arg-type]
        operator.look_at("Tenant", wayne.name, deep=True)

        async def healed() -> bool:
            return await (await session.execute(query, (schema,))).fetchone() == (False,)

        await until(healed)
    await customers.quiet()


async def test_all_of_it_goes_and_its_neighbour_stays(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres, wayne: Customer
) -> None:
    neighbour = await customers.onboard("next", plan=wayne.plan)
    before = await traces(api, postgres, neighbour)

    await api.delete("Tenant", wayne.name)
    await until(lambda: gone(api, "Tenant", wayne.name))

    async def dropped() -> bool:
        return await state(control, wayne) == "dropped"

    await until(dropped)
    assert await traces(api, postgres, wayne) == set()
    assert await traces(api, postgres, neighbour) == before
    assert await may_connect(await customers.binding(neighbour))


async def test_one_that_is_gone_is_not_replaced_by_an_empty_one(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres, operator: Operator, wayne: Customer
) -> None:
    await customers.quiet()
    operator.stop()
    await postgres.execute(f"DROP DATABASE pb_t_{wayne.id} WITH (FORCE)")  # type: ignore[arg-type]
    operator.start()

    said = await customers.stalled(wayne.name, "DatabaseMissing")
    assert f"pb_t_{wayne.id} is gone" in said
    assert not holds(await api.get("Tenant", wayne.name), "Ready")
    there = await postgres.execute("SELECT 1 FROM pg_database WHERE datname = %s", (f"pb_t_{wayne.id}",))
    assert await there.fetchone() is None

    await api.delete("Tenant", wayne.name)

    async def dropped() -> bool:
        return await state(control, wayne) == "dropped"

    await until(dropped)
    assert await traces(api, postgres, wayne) == set()


async def test_a_foreign_database_of_that_name_is_left_alone(
    api: Api, customers: Customers, postgres: Postgres, coming: str, name: str
) -> None:
    foreign = f"pb_t_{coming}"
    await postgres.execute(f"CREATE DATABASE {foreign}")  # type: ignore[arg-type]
    try:
        await customers.plan(name, "Namespace", "Database")
        await api.apply(samples.tenant(name), samples.subscription(name, name))
        said = await customers.stalled(name, "NameConflict")
        assert foreign in said
    finally:
        await postgres.execute(f"DROP DATABASE {foreign}")  # type: ignore[arg-type]
    customer = await customers.ready(name, seconds=40.0)
    assert customer.id == coming


async def test_another_operator_takes_it_over_as_it_is(
    api: Api, customers: Customers, operator: Operator, postgres: Postgres, wayne: Customer
) -> None:
    binding = await customers.binding(wayne)
    before = await traces(api, postgres, wayne)

    operator.restart()
    operator.look_at("Tenant", wayne.name)
    await customers.quiet()

    assert await traces(api, postgres, wayne) == before
    assert await customers.binding(wayne) == binding
    async with await inside(postgres, wayne) as session:
        newest = await (await session.execute("SELECT epoch FROM paybill.leader")).fetchone()
    assert newest == (operator.world.epoch,)
    assert condition(await api.get("Tenant", wayne.name), "Ready")["status"] == "True"
