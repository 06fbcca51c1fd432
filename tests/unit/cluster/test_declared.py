"""What users declared, as last seen: newest counts, what is gone is gone, and the indices follow."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.cluster.declared import Declared

NUMBERS = iter(range(1_000_000))


def subscription(
    name: str = "s",
    tenant: str = "acme",
    plan: str = "growth",
    *,
    version: int = 1,
    uid: str = "u",
    add_ons: tuple = (),
) -> dict[str, Any]:
    return {
        "kind": "Subscription",
        "metadata": {"name": name, "uid": uid, "resourceVersion": str(version)},
        "spec": {
            "tenantRef": {"name": tenant},
            "planRef": {"name": plan},
            "addOns": [{"planRef": {"name": add_on}} for add_on in add_ons],
        },
    }


def names(found: list[Any]) -> list[str]:
    return [one.metadata.name for one in found]


def glimpsed(found: list[Any]) -> list[str]:
    return [one.name for one in found]


@pytest.fixture
def declared() -> Declared:
    return Declared()


@pytest.mark.parametrize(
    ("first", "second", "news"),
    [
        pytest.param((5, "u"), (5, "u"), False, id="the event of our own write"),
        pytest.param((5, "u"), (4, "u"), False, id="an event that is late"),
        pytest.param((5, "u"), (6, "u"), True, id="an edit"),
        pytest.param((9, "u"), (10, "u"), True, id="versions are numbers, not text"),
        pytest.param((5, "u"), (6, "v"), True, id="the name is used again"),
        pytest.param((5, "v"), (4, "u"), False, id="the answer about one that was replaced meanwhile"),
    ],
)
def test_only_what_is_newer_is_news(declared, first, second, news):
    assert declared.put("Subscription", subscription(version=first[0], uid=first[1]))
    assert declared.put("Subscription", subscription(version=second[0], uid=second[1])) is news
    kept = second if news else first
    metadata = declared.subscriptions["s"].metadata
    assert (metadata.resource_version, metadata.uid) == (str(kept[0]), kept[1])


def test_a_namesake_is_not_removed_with_the_one_before_it(declared):
    declared.put("Subscription", subscription(uid="new", version=7))
    declared.remove("Subscription", "s", "old")
    assert "s" in declared.subscriptions
    declared.remove("Subscription", "s", "new")
    declared.remove("Subscription", "s", "new")
    assert declared.subscriptions == {}
    assert declared.subscriptions_of("acme") == []


def test_subscriptions_are_found_by_their_tenant_and_by_each_of_their_plans(declared):
    declared.put("Subscription", subscription("one", add_ons=("seats",)))
    declared.put("Subscription", subscription("two", tenant="beta"))
    assert names(declared.subscriptions_of("acme")) == ["one"]
    assert glimpsed(declared.subscriptions_to("growth")) == ["one", "two"]
    assert glimpsed(declared.subscriptions_to("seats")) == ["one"]
    assert declared.subscriptions_to("unheard-of") == []


def test_a_changed_plan_is_found_only_under_the_new_one(declared):
    declared.put("Subscription", subscription(plan="growth", add_ons=("seats",)))
    declared.put("Subscription", subscription(plan="scale", version=2))
    assert declared.subscriptions_to("growth") == declared.subscriptions_to("seats") == []
    assert glimpsed(declared.subscriptions_to("scale")) == ["s"]


def test_of_two_policies_of_one_second_the_one_whose_agent_was_let_in_comes_first(declared):
    def policy(name: str, version: int, *, second: int = 1, **status: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "t", "uid": f"uid-{name}", "resourceVersion": str(version),
                    "creationTimestamp": f"2026-01-01T00:00:0{second}Z"}  # fmt: skip
        spec = {"tenantRef": {"name": "acme"}, "agent": "support",
                "collections": [{"name": "orders", "read": {"fields": ["id"]}}]}  # fmt: skip
        return {"metadata": metadata, "spec": spec, "status": status}

    declared.put("AgentPolicy", policy("younger", 1, second=2, login="pba_2"))
    declared.put("AgentPolicy", policy("held", 2))
    declared.put("AgentPolicy", policy("again", 3))
    assert [one.key for one in declared.policies_of("acme")] == ["t/again", "t/held", "t/younger"]
    declared.put("AgentPolicy", policy("held", 4, login="pba_1"))
    assert [one.key for one in declared.policies_of("acme")] == ["t/held", "t/again", "t/younger"]


def test_what_cannot_be_read_is_logged_and_the_one_before_stays(declared, caplog):
    declared.put("Subscription", subscription())
    broken = subscription(version=2)
    del broken["spec"]["planRef"]
    with caplog.at_level(logging.ERROR):
        assert not declared.put("Subscription", broken)
    assert "Subscription s cannot be read" in caplog.text
    assert declared.subscriptions["s"].spec.plan_ref.name == "growth"


def test_kinds_do_not_share_names(declared):
    declared.put("Tenant", {"metadata": {"name": "s", "uid": "t", "resourceVersion": "9"}, "spec": {}})
    assert declared.put("Subscription", subscription())
    declared.remove("Tenant", "s", "t")
    assert "s" in declared.subscriptions


changes = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "remove"]), st.sampled_from("ab"), st.sampled_from(["acme", "beta"]),
        st.sampled_from(["growth", "scale"]), st.sets(st.sampled_from(["seats", "scale"]), max_size=2),
    ), max_size=20,
)  # fmt: skip


@given(changes)
def test_the_indices_say_what_a_look_at_everything_would(history):
    declared = Declared()
    for act, name, tenant, plan, add_ons in history:
        if act == "put":
            made = subscription(name, tenant, plan, version=next(NUMBERS) + 1, add_ons=tuple(add_ons - {plan}))
            declared.put("Subscription", made)
        else:
            declared.remove("Subscription", name, "u")
    everything = list(declared.subscriptions.values())
    for tenant in ("acme", "beta"):
        slow = {one.metadata.name for one in everything if one.spec.tenant_ref.name == tenant}
        assert set(names(declared.subscriptions_of(tenant))) == slow
    for plan in ("growth", "scale", "seats"):
        slow = {
            one.metadata.name for one in everything
            if plan in {one.spec.plan_ref.name, *(each.plan_ref.name for each in one.spec.add_ons)}
        }  # fmt: skip
        assert set(glimpsed(declared.subscriptions_to(plan))) == slow


def test_names_that_come_and_go_leave_nothing_behind(declared):
    for number in range(1_000):
        declared.put("Subscription", subscription(f"s{number}", f"t{number}", f"p{number}", version=number + 1))
        declared.subscriptions_of(f"t{number}")
        declared.remove("Subscription", f"s{number}", "u")
    assert not any(vars(declared)[name] for name in ("subscriptions", "_subscriptions_of", "_subscriptions_to"))
