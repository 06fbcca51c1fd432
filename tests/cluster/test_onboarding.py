"""A Tenant with a Subscription becomes a place of its own, whatever came first, at every level that is there."""

from __future__ import annotations

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customers, connect, secret

LEVELS = [("Namespace", "Schema"), ("Namespace", "Rows"), ("Shared", "Rows"), ("Shared", "Schema")]


@pytest.mark.parametrize(("compute", "database"), LEVELS)
async def test_a_tenant_gets_what_its_plan_says(compute: str, database: str, api: Api, customers: Customers) -> None:
    customer = await customers.onboard(compute=compute, database=database)

    found = await api.get("Tenant", customer.name)
    assert found is not None
    status = found["status"]
    assert status["phase"] == "Active"
    assert status["isolation"] == {"compute": compute, "database": database}
    assert customer.namespace == (f"t-{customer.id}" if compute == "Namespace" else "paybill-pool-local")
    assert {one["type"]: one["status"] for one in status["conditions"]}.items() >= {
        "Ready": "True", "Reconciling": "False", "Stalled": "False", "Guarded": "True", "DatabaseReady": "True",
    }.items()  # fmt: skip
    contract = await api.get("Subscription", customer.name)
    assert holds(contract, "Ready")
    assert contract is not None
    assert contract["status"]["phase"] == "Active"
    assert contract["status"]["tenantUID"] == found["metadata"]["uid"]
    assert status["subscriptionRef"] == {"name": customer.name, "uid": contract["metadata"]["uid"]}
