"""Reading what the API server returned: names, times, defaults, what is unknown, and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from paybill.api.cell import Cell
from paybill.api.failures import Invalid
from paybill.api.plan import Plan
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant

METADATA: dict[str, Any] = {
    "name": "acme",
    "uid": "5f0d6a0e-0000-4000-8000-000000000000",
    "generation": 3,
    "resourceVersion": "812",
    "creationTimestamp": "2026-11-23T10:00:00Z",
    "deletionTimestamp": "2026-11-24T10:00:00Z",
    "finalizers": ["paybill.dev/cleanup"],
    "annotations": {"paybill.dev/paused": "true"},
    "managedFields": [{"manager": "kubectl"}],
}


def test_metadata() -> None:
    tenant = Tenant.read({"apiVersion": "paybill.dev/v1alpha1", "kind": "Tenant", "metadata": METADATA, "spec": {}})
    assert (tenant.metadata.uid, tenant.metadata.generation, tenant.metadata.resource_version) == (
        METADATA["uid"], 3, "812",
    )  # fmt: skip
    assert tenant.metadata.creation_timestamp == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert tenant.metadata.deletion_timestamp == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert tenant.metadata.finalizers == ("paybill.dev/cleanup",)
    assert tenant.metadata.labels == {}


def test_the_names_that_the_rest_of_paybill_relies_on() -> None:
    plan = Plan.read({"metadata": {"name": "p"}, "spec": {
        "isolation": {"model": "Pooled"},
        "limits": {"quota": {"pods": 40}, "database": {"connections": 3}}}})  # fmt: skip
    assert plan.spec.payment.grace_days == 14
    assert plan.spec.limits.quota == {"pods": "40"}
    assert plan.spec.limits.database.connections == 3
    assert Tenant.read({"metadata": {"name": "t"}, "spec": {}}).spec.deletion_policy == "Snapshot"
    subscription = Subscription.read({"metadata": {"name": "s"}, "spec": {
        "tenantRef": {"name": "t"}, "planRef": {"name": "p"},
        "payment": {"paidUntilTime": "2027-01-01T02:00:00+02:00"}}})  # fmt: skip
    assert subscription.spec.payment.provider == "Manual"
    assert subscription.spec.payment.paid_until_time == datetime(2027, 1, 1, tzinfo=UTC)
    cell = Cell.read({"metadata": {"name": "c"}, "spec": {"provider": "Embedded", "servers": [
        {"name": "a", "adminSecretRef": {"name": "n", "key": "k"}, "holds": "Rows"}]}})  # fmt: skip
    server = cell.spec.servers[0]
    assert (server.admin_secret_ref.name, server.admin_secret_ref.key, server.holds, server.capacity.schemas) == (
        "n", "k", "Rows", 500,
    )  # fmt: skip


def test_a_status_is_read_and_an_absent_one_is_empty() -> None:
    obj = {"metadata": {"name": "s"}, "spec": {"tenantRef": {"name": "t"}, "planRef": {"name": "p"}}}
    assert Subscription.read(obj).status.phase is None
    read = Subscription.read({**obj, "status": {"phase": "Active", "tenantUID": "u", "observedGeneration": 2}})
    assert (read.status.phase, read.status.tenant_uid, read.status.observed_generation) == ("Active", "u", 2)
    assert read.status.wire()["tenantUID"] == "u"


def test_a_field_of_a_newer_version_is_ignored() -> None:
    obj = {"metadata": {"name": "t", "x": 1}, "spec": {"sla": "gold"}, "status": {"sla": "gold"}, "x": 1}
    assert Tenant.read(obj) == Tenant.read({"metadata": {"name": "t"}, "spec": {}})


def test_what_was_read_cannot_be_changed() -> None:
    tenant = Tenant.read({"metadata": {"name": "t"}, "spec": {}})
    with pytest.raises(ValidationError, match="frozen"):
        tenant.spec.deletion_policy = "Delete"  # type: ignore[misc]


def test_what_cannot_be_read_is_invalid_and_names_object_and_fields() -> None:
    with pytest.raises(Invalid) as refusal:
        Plan.read({"metadata": {"name": "growth"}, "spec": {"trialDays": "soon", "payment": {"graceDays": -1}}})
    assert refusal.value.reason == "InvalidObject"
    assert refusal.value.message.startswith("Plan growth: ")
    assert "spec.trialDays" in refusal.value.message
    assert "spec.payment.graceDays" in refusal.value.message


def test_an_object_of_another_kind_is_refused() -> None:
    with pytest.raises(Invalid, match="this is a Plan, not a Tenant"):
        Tenant.read({"kind": "Plan", "metadata": {"name": "x"}, "spec": {}})


def test_on_the_wire_a_spec_is_as_written() -> None:
    obj = {
        "apiVersion": "paybill.dev/v1alpha1",
        "kind": "Plan",
        "metadata": {"name": "seats"},
        "spec": {"type": "AddOn", "features": [{"name": "seats", "integer": 10}]},
    }
    assert Plan.read(obj).wire() == {**obj, "status": {"conditions": []}}


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(Invalid, match="timezone"):
        Subscription.read({"metadata": {"name": "s"}, "spec": {
            "tenantRef": {"name": "t"}, "planRef": {"name": "p"}, "startTime": "2027-01-01T00:00:00"}})  # fmt: skip
