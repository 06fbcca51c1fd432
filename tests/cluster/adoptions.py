"""Approvals of adoptions, as a person writes them; the digest is computed here anew, from the documented content."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import psycopg

from tests.cluster import samples
from tests.cluster.api import Api, accepted
from tests.cluster.customers import Customer, Customers, connect, secret
from tests.cluster.waiting import until


def digest(**content: Any) -> str:
    """As docs/how-to/recover.md writes it: sha256 of JSON with sorted keys and without spaces."""
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def approve(api: Api, tenant: str, tenant_id: str, uid: str = "", **spec: Any) -> str:
    """Our word that this Tenant takes over what carries this id; returns the Approval's name."""
    uid = uid or await uid_of(api, tenant)
    subject = {"kind": "Tenant", "name": tenant, "uid": uid}
    what = digest(action="adopt", id=tenant_id, uid=uid)
    written = {"subject": subject, "digest": what, "approver": await me(api), **spec}
    name = f"adopt-{tenant}-{secrets.token_hex(2)}"
    await api.apply(samples.ours("Approval", name, written))
    return name


async def approve_all(api: Api, installation: str, *wanted: tuple[str, str, str]) -> str:
    """Our word for each of these (id, name, uid); returns the Approval's name."""
    tenants = [{"id": one, "name": who, "uid": uid} for one, who, uid in sorted(wanted)]
    what = digest(action="adopt", installation=installation, tenants=tenants)
    subject = {"kind": "Installation", "name": installation}
    name = f"adopt-all-{secrets.token_hex(4)}"
    await api.apply(samples.ours("Approval", name, {"subject": subject, "digest": what, "approver": await me(api)}))
    return name


async def me(api: Api) -> str:
    """Who we are, as the API server knows us."""
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    return str(accepted(*await api.call("POST", path, review))["status"]["userInfo"]["username"])


async def uid_of(api: Api, name: str, kind: str = "Tenant") -> str:
    found = await api.get(kind, name)
    assert found is not None
    return str(found["metadata"]["uid"])


async def deleted(api: Api, customers: Customers, customer: Customer) -> None:
    """The Tenant was deleted on request, and its object is gone."""
    await api.delete("Tenant", customer.name)
    await until(lambda: _gone(api, customer.name))


async def lost(api: Api, customers: Customers, *names: str) -> None:
    """The objects of these Tenants vanish without a request, as when the cluster's state is lost."""
    customers.operator.stop()
    for name in names:
        for kind in ("Subscription", "Tenant"):
            await api.strip(kind, name)
            await api.delete(kind, name)
    customers.operator.start()


async def write_letters(api: Api, customers: Customers, customer: Customer, line: str = "dear all") -> None:
    """The provider makes a table in the tenant's schema, the tenant's app writes to it."""
    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as migration:
        await migration.execute("CREATE TABLE letters (line text)")
    async with await connect(await customers.binding(customer)) as app:
        await app.execute("INSERT INTO letters VALUES (%s)", [line])


async def letters(binding: dict[str, str]) -> list[str]:
    """What the app reads with its Secret."""
    async with await connect(binding) as app:
        return [line for (line,) in await (await app.execute("SELECT line FROM letters")).fetchall()]


async def _gone(api: Api, name: str) -> bool:
    return await api.get("Tenant", name) is None


async def rows(control: psycopg.AsyncConnection[Any], *columns: str) -> set[tuple[Any, ...]]:
    """What the registry says of every tenant."""
    cursor = await control.execute(f"SELECT {', '.join(columns)} FROM paybill.tenants".encode())
    return set(await cursor.fetchall())
