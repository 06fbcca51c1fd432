"""The tenants of a Plan as its rollout counts them: what is remembered is what a fresh look would say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from paybill.cluster.declared import Declared
from paybill.control.claims import COLUMNS, Claim
from paybill.control.facts import Facts
from paybill.control.mirror import Mirror
from paybill.reconcile.members import Members

ACME = Claim(
    **dict.fromkeys(COLUMNS)
    | {
        "id": "aaaaaaaa", "tenant_name": "acme", "tenant_uid": "u-acme", "state": "claimed", "plan_name": "growth",
        "plan_revision": "r1", "subscription_name": "acme", "subscription_uid": "s-acme", "version": 1,
    }
)  # fmt: skip
BETA = replace(
    ACME, id="bbbbbbbb", tenant_name="beta", tenant_uid="u-beta", subscription_name="beta", subscription_uid="s-beta"
)
VERSIONS = iter(range(1, 1_000_000))


def tenant(
    name: str, conditions: dict[str, str], metadata: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    told = [
        {
            "type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind, status in conditions.items()
    ]  # fmt: skip
    about = {"name": name, "uid": f"u-{name}", "resourceVersion": str(next(VERSIONS))} | (metadata or {})
    return {"kind": "Tenant", "metadata": about, "spec": spec, "status": {"conditions": told}}


def subscription(name: str, revision: str | None = None) -> dict[str, Any]:
    plan = {"name": "growth"} | ({"revision": revision} if revision else {})
    about = {"name": name, "uid": f"s-{name}", "resourceVersion": str(next(VERSIONS))}
    return {"kind": "Subscription", "metadata": about, "spec": {"tenantRef": {"name": name}, "planRef": plan}}


@pytest.fixture
def world() -> Any:
    """The parts of the world that are counted from, each the real one but the facts, which are a mapping."""
    found = SimpleNamespace(declared=Declared(), registry=Mirror(), facts={}, ready={}, members=Members())
    for claim in (ACME, BETA):
        found.registry.put(claim)
        found.declared.put("Tenant", tenant(claim.tenant_name, {"Ready": "True"}))
        found.declared.put("Subscription", subscription(claim.tenant_name))
    return found


def facts(name: str, phase: str) -> Facts:
    return Facts(subscription_uid=f"s-{name}", tenant_uid=f"u-{name}", phase=phase)


CHANGES = {
    "another revision": (lambda w: w.registry.put(replace(ACME, plan_revision="r2", version=2)), {"revision": "r2"}),
    "not Ready": (lambda w: w.declared.put("Tenant", tenant("acme", {"Ready": "False"})), {"ready": False}),
    "not Ready by its last look": (lambda w: w.ready.update(aaaaaaaa=False), {"ready": False}),
    "failed": (
        lambda w: w.declared.put("Tenant", tenant("acme", {"Ready": "False", "Stalled": "True"})),
        {"ready": False, "failed": True},
    ),
    "pinned": (lambda w: w.declared.put("Subscription", subscription("acme", "0123456789")), {"pinned": True}),
    "in debt": (lambda w: w.facts.update({"s-acme": facts("acme", "PastDue")}), {"held": True}),
    "paid": (lambda w: w.facts.update({"s-acme": facts("acme", "Active")}), {"held": False}),
    "a hold on changes": (
        lambda w: w.declared.put(
            "Tenant", tenant("acme", {"Ready": "True"}, holds=[{"name": "audit", "blocks": "Changes"}])
        )
        and w.facts.update({"s-acme": facts("acme", "Active")}),
        {"held": True},
    ),
    "paused": (
        lambda w: w.declared.put(
            "Tenant", tenant("acme", {"Ready": "True"}, {"annotations": {"paybill.dev/paused": "true"}})
        ),
        {"held": True},
    ),
    "being deleted": (
        lambda w: w.declared.put(
            "Tenant", tenant("acme", {"Ready": "True"}, {"deletionTimestamp": "2026-01-01T00:00:00Z"})
        ),
        {"held": True},
    ),
    "its Tenant is gone": (
        lambda w: w.declared.remove("Tenant", "acme", "u-acme"), {"held": True, "ready": False}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_whatever_happens_to_a_tenant_shows_at_the_next_count(world, change, expected):
    before = world.members.of(world, "growth")
    assert {one.id for one in before} == {"aaaaaaaa", "bbbbbbbb"}
    change(world)
    after = world.members.of(world, "growth")
    assert after == Members().of(world, "growth"), "a fresh look says the same"
    [acme] = [one for one in after if one.id == "aaaaaaaa"]
    assert {name: getattr(acme, name) for name in expected} == expected
    [beta] = [one for one in after if one.id == "bbbbbbbb"]
    assert beta is next(one for one in before if one.id == "bbbbbbbb"), "its neighbour is not looked at again"


def test_a_tenant_that_changed_its_plan_is_counted_there(world):
    world.members.of(world, "growth")
    world.registry.put(replace(ACME, plan_name="scale", version=2))
    assert [one.id for one in world.members.of(world, "growth")] == ["bbbbbbbb"]
    assert [one.id for one in world.members.of(world, "scale")] == ["aaaaaaaa"]


def test_a_plan_that_nobody_is_on_any_more_is_forgotten(world):
    world.members.of(world, "growth")
    for claim in (ACME, BETA):
        world.registry.forget(claim.id)
    assert world.members.of(world, "growth") == []
    assert world.members._known == {}
