"""An object of the right name that is somebody else's is never taken over: it is said, left alone and waited for."""

from __future__ import annotations

import secrets
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from paybill.desired.database import pool_database_name
from tests.cluster import samples
from tests.cluster.api import Api, Object
from tests.cluster.customers import Customers, may_connect
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]


@dataclass(frozen=True)
class Foreign:
    """Something of a stranger's in the way."""

    compute: str
    put: Callable[[Api, Postgres, str], Awaitable[None]]
    look: Callable[[Api, Postgres, str], Awaitable[Any]]
    remove: Callable[[Api, Postgres, str], Awaitable[Any]]


def _object(compute: str, kind: str, name: str, namespace: str = "", **content: Any) -> Foreign:
    async def put(api: Api, _: Postgres, tenant: str) -> None:
        place = {"namespace": namespace} if namespace else {}
        version = {"apiVersion": "v1", "kind": kind}
        await api.create({**version, "metadata": {"name": name.format(id=tenant), **place}, **content})

    async def look(api: Api, _: Postgres, tenant: str) -> Any:
        return await api.get(kind, name.format(id=tenant), namespace)

    async def remove(api: Api, _: Postgres, tenant: str) -> None:
        await api.delete(kind, name.format(id=tenant), namespace)
        await until(lambda: _none(look(api, _, tenant)))

    return Foreign(compute, put, look, remove)


async def _none(found: Awaitable[Any]) -> bool:
    return await found is None


def _sql(put: str, look: str, remove: str) -> Foreign:
    async def run(statement: str, postgres: Postgres, tenant: str) -> list[Any]:
        pool = pool_database_name("local", "schemas-1")
        dsn = make_conninfo(postgres.info.dsn, password=postgres.info.password, dbname=pool)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
            cursor = await session.execute(sql.SQL(statement.format(id=tenant)))  # type: ignore[arg-type]
            return await cursor.fetchall() if cursor.description else []

    return Foreign(
        "Namespace",
        lambda _, postgres, tenant: run(put, postgres, tenant),  # type: ignore[arg-type,return-value]
        lambda _, postgres, tenant: run(look, postgres, tenant),
        lambda _, postgres, tenant: run(remove, postgres, tenant),
    )


_ROLE = "SELECT rolname, rolcanlogin, rolpassword IS NULL, shobj_description(oid, 'pg_authid') FROM pg_authid WHERE "
_SCHEMA = "SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname = 't_{id}'"
SITUATIONS = {
    "namespace": _object("Namespace", "Namespace", "t-{id}"),
    "the provider's Secret": _object(
        "Namespace", "Secret", "t-{id}-db-provider", samples.OPERATOR_NAMESPACE, stringData={"a": "b"}
    ),
    "Secret in the pool": _object("Shared", "Secret", "t-{id}-db", "paybill-pool-local", stringData={"a": "b"}),
    "ConfigMap in the pool": _object("Shared", "ConfigMap", "{id}-entitlements", "paybill-pool-local", data={"a": "b"}),
    "login": _sql("CREATE ROLE pb_{id}_app_a LOGIN", _ROLE + "rolname = 'pb_{id}_app_a'", "DROP ROLE pb_{id}_app_a"),
    "group role": _sql("CREATE ROLE pb_{id}_rw", _ROLE + "rolname = 'pb_{id}_rw'", "DROP ROLE pb_{id}_rw"),
    "schema": _sql("CREATE SCHEMA t_{id}", _SCHEMA, "DROP SCHEMA t_{id}"),
    "marked schema": _sql(
        "CREATE SCHEMA t_{id}; COMMENT ON SCHEMA t_{id} IS 'paybill:other:somebody'", _SCHEMA, "DROP SCHEMA t_{id}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("situation", list(SITUATIONS))
async def test_what_is_not_ours_is_left_alone_and_waited_for(
    situation: str, coming: str, api: Api, customers: Customers, operator: Operator, postgres: Postgres, name: str
) -> None:
    foreign = SITUATIONS[situation]
    if foreign.compute == "Shared":  # the pool namespace exists from its first tenant on
        await customers.onboard("first", compute="Shared")
        return await _conflict(foreign, _again(operator, coming), api, customers, operator, postgres, name)
    return await _conflict(foreign, coming, api, customers, operator, postgres, name)


def _again(operator: Operator, chosen: str) -> str:
    """The first tenant took the chosen id: choose another one for the next."""
    other = chosen[::-1]
    operator.call(lambda world: setattr(world.registry, "_new_id", lambda: other))
    return other


async def _conflict(
    foreign: Foreign, coming: str, api: Api, customers: Customers, operator: Operator, postgres: Postgres, name: str
) -> None:
    await foreign.put(api, postgres, coming)
    before = await foreign.look(api, postgres, coming)
    await customers.plan(name, foreign.compute)

    await api.apply(samples.tenant(name), samples.subscription(name, name))

    message = await customers.stalled(name, "NameConflict")
    assert coming in message
    found = await api.get("Tenant", name)
    assert found is not None
    assert found["status"]["id"] == coming
    assert await foreign.look(api, postgres, coming) == before
    operator.call(lambda world: setattr(world.registry, "_new_id", _random))
    other = await customers.onboard("other", plan=name)
    assert await may_connect(await customers.binding(other))

    await foreign.remove(api, postgres, coming)
    operator.look_at("Tenant", name)
    customer = await customers.ready(name)
    assert await may_connect(await customers.binding(customer))


def _random() -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))


async def test_a_pool_namespace_of_another_installation_is_not_used(api: Api, customers: Customers, name: str) -> None:
    theirs: Object = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": f"paybill-pool-{name}",
            "labels": {"paybill.dev/installation": "another", "paybill.dev/cell": name},
        },
    }
    before = (await api.apply(theirs))[0]
    await api.apply(samples.cell(name))
    await customers.plan(name, "Shared")

    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))

    message = await customers.stalled(name, "NameConflict")
    assert f"paybill-pool-{name}" in message
    after = await api.get("Namespace", f"paybill-pool-{name}")
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert await api.list("Secret", f"paybill-pool-{name}") == []


async def test_an_object_given_to_somebody_else_is_not_taken_back(api: Api, customers: Customers) -> None:
    """A mark that was lost is put back; one that was changed means something, so people have to look."""
    customer = await customers.onboard()

    change = {"metadata": {"labels": {"paybill.dev/tenant": "somebody"}}}
    await api.edit("NetworkPolicy", "paybill", change, customer.namespace)
    message = await customers.stalled(customer.name, "NameConflict")
    assert f"NetworkPolicy/{customer.namespace}/paybill" in message
    assert await may_connect(await customers.binding(customer))

    change["metadata"]["labels"]["paybill.dev/tenant"] = customer.id
    await api.edit("NetworkPolicy", "paybill", change, customer.namespace)
    await customers.ready(customer.name)


async def test_an_id_of_ones_own_choice_is_not_taken(api: Api, customers: Customers, name: str) -> None:
    other = await customers.onboard("other")

    await customers.plan(name)
    await api.apply(samples.tenant(name, id=other.id), samples.subscription(name, name))

    await customers.stalled(name, "AdoptionNotApproved")
    assert await may_connect(await customers.binding(other))
