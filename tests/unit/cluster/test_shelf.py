"""Objects kept as text: what comes out is what went in, and a glance tells an unchanged object from another one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from paybill.api.tenant import Tenant
from paybill.cluster import shelf as shelves
from paybill.cluster.glances import TenantGlance, glance_at_tenant
from paybill.cluster.shelf import Shelf


def tenant(name: str = "acme", version: int = 1, **spec: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "annotations": {"note": "straße"},
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    }
    status = {
        "phase": "Active",
        "isolation": {"compute": "Shared", "database": "Rows"},
        "conditions": [
            {
                "type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, status in (("Ready", "True"), ("Stalled", "False"))
        ],
    }  # fmt: skip
    return {"kind": "Tenant", "metadata": metadata, "spec": spec, "status": status}


@pytest.fixture
def shelf() -> Shelf[Tenant, TenantGlance]:
    return Shelf(Tenant, glance_at_tenant)


def test_what_is_parsed_again_is_what_was_put(shelf, monkeypatch):
    monkeypatch.setattr(shelves, "RECENT", 0)
    shelf.put(tenant(holds=[{"name": "abuse", "blocks": "Access", "reason": "spam"}]))
    assert shelf["acme"] == Tenant.model_validate(
        tenant(holds=[{"name": "abuse", "blocks": "Access", "reason": "spam"}])
    )
    assert shelf["acme"] is not shelf["acme"]


def test_what_is_in_use_is_parsed_once(shelf):
    shelf.put(tenant())
    assert shelf["acme"] is shelf["acme"]


def test_parsed_objects_are_kept_for_the_most_recent_only(shelf, monkeypatch):
    monkeypatch.setattr(shelves, "RECENT", 2)
    for name in ("a", "b", "c"):
        shelf.put(tenant(name))
    kept = {name: shelf._recent.get(name) for name in ("a", "b", "c")}
    assert kept["a"] is None
    assert shelf["c"] is kept["c"]
    assert shelf["a"].metadata.name == "a", "it is parsed again"
    assert set(shelf._recent) == {"c", "a"}, "who was asked for last stays longest"


def test_the_api_servers_own_bookkeeping_is_not_kept(shelf):
    shelf.put(tenant())
    entry = shelf.entry("acme")
    assert entry is not None
    assert b"managedFields" not in entry.text
    assert "straße".encode() in entry.text


def test_another_one_in_its_place_has_another_glance(shelf):
    shelf.put(tenant())
    first = shelf.glance("acme")
    assert shelf.glance("acme") is first
    shelf.put(tenant(version=2))
    assert shelf.glance("acme") is not first
    assert shelf["acme"].metadata.resource_version == "2"


def test_what_does_not_parse_leaves_what_is_there(shelf):
    shelf.put(tenant())
    with pytest.raises(ValidationError):
        shelf.put(tenant(version=2, deletionPolicy="Burn"))
    assert shelf["acme"].metadata.resource_version == "1"


def test_what_is_gone_is_gone(shelf):
    shelf.put(tenant())
    shelf.pop("acme")
    assert "acme" not in shelf
    assert shelf.get("acme") is None
    assert shelf.glance("acme") is None
    assert list(shelf.glances()) == []
    with pytest.raises(KeyError):
        shelf["acme"]


def test_a_glance_says_what_counts_ask_for(shelf):
    shelf.put(tenant(id="k3x9m2qd", holds=[{"name": "audit", "blocks": "Changes"}]))
    [glance] = shelf.glances()
    assert (glance.name, glance.uid, glance.asked_id) == ("acme", "uid-acme", "k3x9m2qd")
    assert (glance.phase, glance.compute, glance.database) == ("Active", "Shared", "Rows")
    assert glance.true == {"Ready"}
    assert not glance.deleting
    assert not glance.paused
    assert [hold.blocks for hold in glance.holds] == ["Changes"]


@pytest.mark.parametrize(
    ("metadata", "deleting", "paused"),
    [
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True, False),
        ({"annotations": {"paybill.dev/paused": "true"}}, False, True),
        ({"annotations": {"paybill.dev/paused": "false"}}, False, False),
    ],
)
def test_a_glance_sees_a_deletion_and_a_pause(shelf, metadata, deleting, paused):
    obj = tenant()
    shelf.put({**obj, "metadata": obj["metadata"] | metadata})
    glance = shelf.glance("acme")
    assert (glance.deleting, glance.paused) == (deleting, paused)


def test_tenants_in_the_same_conditions_share_the_set_of_them(shelf):
    shelf.put(tenant("a"))
    shelf.put(tenant("b"))
    first, second = shelf.glances()
    assert first.true is second.true
