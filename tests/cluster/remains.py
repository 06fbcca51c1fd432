"""What is left of a tenant in Kubernetes, in Postgres and in the registry: looked up there, not asked for."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api
from tests.cluster.customers import Customer

Postgres = psycopg.AsyncConnection[Any]


async def gone(api: Api, kind: str, name: str, namespace: str = "") -> bool:
    return await api.get(kind, name, namespace) is None


async def going(api: Api, kind: str, name: str, namespace: str = "") -> bool:
    """Whether an object is gone, or goes by itself: a namespace takes its time, and its content with it."""
    if namespace.startswith("t-"):
        return await going(api, "Namespace", namespace)
    found = await api.get(kind, name, namespace)
    return found is None or "deletionTimestamp" in found["metadata"]


async def traces(api: Api, postgres: Postgres, customer: Customer) -> set[str]:
    """What is still there of a tenant, in Kubernetes and in Postgres."""
    tenant, space = customer.id, customer.namespace
    objects = [
        ("Namespace", f"t-{tenant}", ""),
        ("Secret", f"t-{tenant}-db", space),
        ("ConfigMap", f"{tenant}-entitlements", space),
        ("Secret", f"t-{tenant}-db-provider", samples.OPERATOR_NAMESPACE),
    ]
    found = {f"{kind} {name}" for kind, name, where in objects if not await going(api, kind, name, where)}
    roles = await postgres.execute("SELECT rolname FROM pg_roles WHERE strpos(rolname, %s) > 0", (tenant,))
    found |= {f"role {row[0]}" for row in await roles.fetchall()}
    own = await postgres.execute("SELECT datname FROM pg_database WHERE datname = %s", (f"pb_t_{tenant}",))
    found |= {f"database {row[0]}" for row in await own.fetchall()}
    for (database,) in await (
        await postgres.execute("SELECT datname FROM pg_database WHERE datname LIKE 'pb_pool%'")
    ).fetchall():
        dsn = make_conninfo(postgres.info.dsn, password=postgres.info.password, dbname=database)
        async with await psycopg.AsyncConnection.connect(dsn) as pool:
            cursor = await pool.execute("SELECT nspname FROM pg_namespace WHERE nspname = %s", (f"t_{tenant}",))
            found |= {f"schema {row[0]}" for row in await cursor.fetchall()}
    return found


async def state(control: Postgres, customer: Customer) -> str:
    cursor = await control.execute("SELECT state FROM paybill.tenants WHERE id = %s", (customer.id,))
    row = await cursor.fetchone()
    return str(row[0]) if row else ""
