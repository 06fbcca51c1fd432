"""Thousands of tenants in minutes: copies of one that the operator itself has onboarded, written past the API server.

The operator onboards a model tenant. Every object of it, as the API server answers it (statuses and field ownership
included), is written once per copy straight into etcd with other names, ids and UIDs; its rows in the control database
are copied in the same way, and its roles and schema are made by the very SQL that the operator sends. So a copy is what
the operator makes, and an operator that starts on the copies must find nothing to write. The copies of one model share
its passwords: nothing logs in with them. Copies of a Silo share its server, with a pool database for each (silos.py).
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from etcd import place, stored, writing
from plane import say, spread
from psycopg import sql

from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.control.claims import ALPHABET
from paybill.databases.server import Server
from paybill.databases.tenants import plan as statements
from paybill.desired import names
from paybill.desired.database import TenantDatabase
from paybill.desired.database_facts import ObservedDatabase
from paybill.desired.resource import Key
from paybill.local.instance import Instance

NAMESPACED = (
    "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "RoleBinding", "ConfigMap", "Secret",
)  # fmt: skip
TENANTS_PER_TRANSACTION = 6
"""etcd takes 128 operations in a transaction, and a tenant is up to 15 objects."""
WRITERS = 4
ROWS_PER_COPY = 500
SQL_PER_TRANSACTION = 10


@dataclass(frozen=True)
class Model:
    """An onboarded tenant as text: its objects with their places in etcd, and its rows in the control database."""

    id: str
    name: str
    uids: tuple[str, ...]
    tenant_uid: str
    subscription_uid: str
    secret: str
    """The place of the tenant's own Secret, whose version the registry keeps."""
    objects: tuple[tuple[str, str], ...]
    tenant_row: dict[str, Any]
    facts_row: dict[str, Any]
    database: TenantDatabase
    verifiers: dict[str, str]


class OwnServer(Protocol):
    """What is beside the objects of tenants with a server of their own; silos.py has it."""

    dsn: str

    def told(self, model: Model, copy: Copy) -> Copy:
        """The copy that knows what of its stack is another one."""

    async def make(self, model: Model, copies: list[Copy]) -> None:
        """Make what the copies have in Postgres."""

    async def write_rows(self, control_dsn: str, model: Model, copies: list[Copy]) -> None:
        """Write their stacks and operations."""


@dataclass(frozen=True)
class Copy:
    """One copy to be: what stands in place of the model's id, name and UIDs."""

    id: str
    name: str
    uids: dict[str, str]
    """What else is another one: UIDs, and of a Silo its digest and its pool database."""

    def of(self, model: Model, text: str) -> str:
        """A text of the model, told of this copy."""
        text = text.replace(model.id, self.id).replace(model.name, self.name)
        for theirs, ours in self.uids.items():
            text = text.replace(theirs, ours)
        return text

    def stored(self, model: Model, text: str) -> str:
        """An object of the model, told of this copy; of a Secret what it holds in clear, too."""
        obj = json.loads(self.of(model, text))
        if obj["kind"] != "Secret" or not obj.get("data"):
            return json.dumps(obj)
        clear = {name: base64.b64decode(value).decode() for name, value in obj["data"].items()}
        data = {name: base64.b64encode(self.of(model, value).encode()).decode() for name, value in clear.items()}
        return json.dumps({**obj, "data": data})


async def seed(
    instance: Instance, control_dsn: str, name: str, number: int, prefix: str, own: OwnServer | None = None
) -> None:
    """Copy the Ready tenant ``name`` ``number`` times; no operator may run meanwhile."""
    began = time.monotonic()
    model = await _model(instance, control_dsn, name, own)
    copies = list(_copies(model, number, prefix))
    if own is not None:
        copies = [own.told(model, copy) for copy in copies]
    versions: dict[str, int] = {}
    await asyncio.gather(
        _write_objects(instance, model, copies, versions),
        _write_roles(instance.postgres_dsn, model, copies) if own is None else own.make(model, copies),
    )
    await _write_rows(control_dsn, model, copies, versions)
    if own is not None:
        await own.write_rows(control_dsn, model, copies)
    say(f"seeded {number} copies of {name} in {time.monotonic() - began:.0f} s")


def _copies(model: Model, number: int, prefix: str) -> Iterator[Copy]:
    # Seeded, so that two runs have the same ids; random, as ids are.
    source = random.Random(prefix)
    for count in range(number):
        identity = "".join(source.choices(ALPHABET, k=8))
        yield Copy(identity, f"{prefix}-{count:05d}", {uid: str(uuid.uuid4()) for uid in model.uids})


async def _model(instance: Instance, control_dsn: str, name: str, own: OwnServer | None) -> Model:
    async with open_session(instance.kubeconfig) as session:
        cluster = Cluster(session)
        objects = await _objects(cluster, name)
    tenant, subscription = objects[0][1], objects[1][1]
    tenant_id = tenant["status"]["id"]
    async with await psycopg.AsyncConnection.connect(control_dsn, row_factory=psycopg.rows.dict_row) as connection:
        rows = await (await connection.execute("SELECT * FROM paybill.tenants WHERE id = %s", [tenant_id])).fetchall()
        query = "SELECT * FROM paybill.subscription_facts WHERE subscription_uid = %s"
        facts = await (await connection.execute(query, [subscription["metadata"]["uid"]])).fetchall()
    database, verifiers = await _database(instance.postgres_dsn if own is None else own.dsn, rows[0])
    secret = next(where for where, obj in objects if obj["metadata"]["name"] == names.binding(tenant_id))
    return Model(
        id=tenant_id,
        name=name,
        uids=tuple(obj["metadata"]["uid"] for _, obj in objects),
        tenant_uid=tenant["metadata"]["uid"],
        subscription_uid=subscription["metadata"]["uid"],
        secret=secret,
        objects=tuple((where, json.dumps(stored(obj))) for where, obj in objects),
        tenant_row=rows[0],
        facts_row=facts[0],
        database=database,
        verifiers=verifiers,
    )


async def _objects(cluster: Cluster, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Everything that is the tenant's, the Tenant and its Subscription first, with its place in etcd."""
    found = [one for one in await cluster.list("Tenant") if one["metadata"]["name"] == name]
    found += [one for one in await cluster.list("Subscription") if one["spec"]["tenantRef"]["name"] == name]
    tenant_id = found[0]["status"]["id"]
    own = names.namespace(tenant_id)
    found += [one for one in await cluster.list("Namespace") if one["metadata"]["name"] == own]
    for kind in NAMESPACED:
        found += [
            one
            for one in await cluster.list(kind)
            # What Kubernetes itself puts into a namespace is there too: the default account, the cluster's CA.
            if one["metadata"]["namespace"] == own
            or (one["metadata"].get("labels") or {}).get(names.TENANT_LABEL) == tenant_id
        ]
    return [(place(one), one) for one in found]


async def _write_objects(instance: Instance, model: Model, copies: list[Copy], versions: dict[str, int]) -> None:
    """All objects of the copies, through etcd's own gateway; the Secrets' versions by copy id."""
    async with writing(instance) as put:

        async def write(some: list[Copy]) -> None:
            texts = [
                (copy.of(model, where), copy.stored(model, text)) for copy in some for where, text in model.objects
            ]
            version = await put(texts)
            versions.update({copy.id: version for copy in some})
            if len(versions) % 1000 < TENANTS_PER_TRANSACTION:
                say(f"  {len(versions)} of {len(copies)} tenants' objects are in etcd")

        await spread([lambda part=part: write(part) for part in _parts(copies, TENANTS_PER_TRANSACTION)], WRITERS)


async def _database(dsn: str, row: dict[str, Any]) -> tuple[TenantDatabase, dict[str, str]]:
    """What the model has in Postgres, and its logins' verifiers."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        query = "SELECT rolname, rolpassword, rolconnlimit FROM pg_authid WHERE rolname LIKE %s"
        roles = await (await connection.execute(query, [f"pb\\_{row['id']}\\_%"])).fetchall()
    verifiers = {name: password for name, password, _ in roles if password}
    connections = next(limit for name, _, limit in roles if name.endswith("_app_a"))
    level = "Rows" if row["level"] == "Rows" else "Schema"
    desired = TenantDatabase(
        id=row["id"], uid=row["tenant_uid"], installation=row["installation"], level=level,
        database=row["pool_database"], access="Full", connections=connections, statement_timeout_ms=30_000,
    )  # fmt: skip
    return desired, verifiers


async def _write_roles(dsn: str, model: Model, copies: list[Copy]) -> None:
    """Roles and schemas of the copies, by the statements that the operator makes them with."""
    desired = model.database
    server = await Server.connect(f"{dsn}?sslmode=disable", name="bench", installation=desired.installation)
    text = await script(server, model)
    done = 0

    async def write(some: list[Copy]) -> None:
        nonlocal done
        async with server.session(desired.database) as session:
            parts = [copy.of(model, text) for copy in some]
            await session.execute("; ".join(["BEGIN", *parts, "COMMIT"]).encode())
        done += len(some)
        if done % 1000 < SQL_PER_TRANSACTION:
            say(f"  {done} of {len(copies)} tenants' roles are in Postgres")

    await spread([lambda part=part: write(part) for part in _parts(copies, SQL_PER_TRANSACTION)], WRITERS)
    await server.close()


async def script(server: Server, model: Model) -> str:
    """What the operator sends to make the model's roles and schema."""
    nothing = ObservedDatabase(model.database.id, server.traits)
    async with server.session(model.database.database) as session:
        made = sql.SQL("; ").join(one.sql for one in statements(model.database, nothing, model.verifiers))
        return made.as_string(session)


async def _write_rows(dsn: str, model: Model, copies: list[Copy], versions: dict[str, int]) -> None:
    """The rows of the control database, last: the registry keeps the version of each tenant's Secret."""
    secret_uid = model.tenant_row["binding_uid"]
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for part in _parts(copies, ROWS_PER_COPY):
            rows = []
            for copy in part:
                told = {name: copy.of(model, v) if isinstance(v, str) else v for name, v in model.tenant_row.items()}
                rows.append(told | {"binding_uid": copy.uids[secret_uid], "binding_version": str(versions[copy.id])})
            await insert(connection, "tenants", rows)
            await insert(
                connection,
                "subscription_facts",
                [
                    {
                        **model.facts_row,
                        "subscription_uid": copy.uids[model.subscription_uid],
                        "tenant_uid": copy.uids[model.tenant_uid],
                    }
                    for copy in part
                ],
            )


async def insert(connection: psycopg.AsyncConnection[Any], table: str, rows: list[dict[str, Any]]) -> None:
    """Write rows of one table of the control database."""
    # JSON columns come back as Python values and are the same for all: they keep their default.
    columns = [name for name, value in rows[0].items() if value is not None and not isinstance(value, list | dict)]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("paybill", table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row([row[name] for name in columns])


def _parts(copies: list[Copy], size: int) -> list[list[Copy]]:
    return [copies[start : start + size] for start in range(0, len(copies), size)]


async def recount(instance: Instance, plan_name: str, added: dict[str, int]) -> None:
    """Tell the Plan and the Cell ``local`` how many tenants there are more, by server, as the operator would."""
    async with open_session(instance.kubeconfig) as session:
        cluster = Cluster(session)
        plan = await cluster.get(Key("Plan", "", plan_name))
        cell = await cluster.get(Key("Cell", "", "local"))
    assert plan is not None
    assert cell is not None
    more = sum(added.values())
    text = json.dumps(stored(plan))
    before = plan["status"]["tenants"]
    text = text.replace(f"{before} of {before} tenants", f"{before + more} of {before + more} tenants")
    changed = json.loads(text)
    changed["status"] |= {"tenants": before + more, "updated": before + more}
    cell["status"]["tenants"] += more
    for server in cell["status"]["servers"]:
        server["tenants"] += added.get(server["name"], 0)
    async with writing(instance) as write:
        await write([(place(one), json.dumps(stored(one))) for one in (changed, cell)])
