"""Whether an object is as we made it: what counts as drift, and what is other people's business."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.desired import network, quota, rbac
from paybill.desired.resource import Key, agrees, covers, exactly, key_of, texts
from tests.unit.desired.tenants import ACME, DATABASES, NETWORK, OWNERS, QUOTA, own_namespace

POLICY = network.build(ACME, NETWORK, DATABASES)
OBJECTS = own_namespace(quota.Pods.STOPPED, "Suspended", "suspended")


def edited(obj: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    """A copy with one place set, or with one entry more where the path ends in "+"; ``None`` removes."""
    found = copy.deepcopy(obj)
    place: Any = found
    for step in path[:-1]:
        place = place[step]
    last = path[-1]
    if last == "+":
        place.append(to)
    elif to is None:
        del place[last]
    else:
        place[last] = to
    return found


SERVICE_ACCOUNT = rbac.service_account(ACME)
BINDING = rbac.owners(ACME, OWNERS)
BOUND = quota.build(ACME, QUOTA, quota.Pods.RUNNING)
DRIFT = [
    pytest.param(edited(POLICY, "spec", "ingress", "+", to={}), POLICY, id="one more rule lets everybody in"),
    pytest.param(edited(POLICY, "spec", "egress", 1, to=None), POLICY, id="one rule less"),
    pytest.param(
        edited(POLICY, "spec", "ingress", 0, "from", 0, to={"podSelector": {}, "namespaceSelector": {}}),
        POLICY,
        id="one more selector makes our pods everybody's",
    ),
    pytest.param(
        edited(POLICY, "spec", "ingress", 0, "from", 0, to={"namespaceSelector": {}}),
        POLICY,
        id="an empty selector of another kind",
    ),
    pytest.param(
        edited(POLICY, "spec", "podSelector", to={"matchLabels": {"app": "web"}}),
        POLICY,
        id="the policy covers some pods only",
    ),
    pytest.param(edited(POLICY, "spec", "policyTypes", 1, to=None), POLICY, id="egress is no longer meant"),
    pytest.param(
        edited(POLICY, "spec", "policyTypes", to=["Egress", "Ingress"]), POLICY, id="another order is written anew"
    ),
    pytest.param(edited(BINDING, "subjects", "+", to={"kind": "User", "name": "eve"}), BINDING, id="one more subject"),
    pytest.param(edited(BINDING, "roleRef", "name", to="admin"), BINDING, id="another role"),
    pytest.param(edited(BOUND, "spec", "hard", "pods", to="4000"), BOUND, id="a quota raised"),
    pytest.param(edited(BOUND, "spec", "hard", "secrets", to="1"), BOUND, id="a quota of somebody else in ours"),
    pytest.param(edited(BOUND, "spec", "scopes", to=["BestEffort"]), BOUND, id="a quota that covers some pods only"),
    pytest.param(
        edited(SERVICE_ACCOUNT, "automountServiceAccountToken", to=None),
        SERVICE_ACCOUNT,
        id="a false that is gone means true",
    ),
    pytest.param(
        edited(OBJECTS[0], "metadata", "labels", "pod-security.kubernetes.io/enforce", to="privileged"),
        OBJECTS[0],
        id="Pod Security relaxed",
    ),
    pytest.param(
        edited(OBJECTS[0], "metadata", "labels", "paybill.dev/tenant", to=None), OBJECTS[0], id="a mark is gone"
    ),
]


@pytest.mark.parametrize(("observed", "desired"), DRIFT)
def test_what_changes_the_meaning_is_drift(observed, desired):
    assert not agrees(desired, observed)
    assert agrees(desired, desired)


OTHERS = [
    pytest.param(lambda obj: edited(obj, "status", to={"hard": {}}), id="a status"),
    pytest.param(lambda obj: edited(obj, "metadata", "labels", "team", to="blue"), id="somebody's label"),
    pytest.param(lambda obj: edited(obj, "metadata", "uid", to="u"), id="the server's bookkeeping"),
    pytest.param(lambda obj: edited(obj, "metadata", "finalizers", to=["x/y"]), id="somebody's finalizer"),
    pytest.param(
        lambda obj: edited(obj, "metadata", "annotations", to=obj["metadata"].get("annotations", {}) | {"a": "b"}),
        id="somebody's annotation",
    ),
]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: str(key_of(obj)))
def test_what_is_other_peoples_business_is_not(obj, other):
    assert agrees(obj, other(obj))


def test_what_is_empty_may_be_left_out():
    observed: dict[str, Any] = {"spec": {}}
    assert agrees({"spec": {"rules": []}}, observed)
    assert agrees({"spec": {"selector": {}}}, observed)
    assert not agrees({"spec": {"number": 0}}, observed)
    assert not agrees({"spec": {"flag": False}}, observed)


def test_a_key_names_its_object_as_people_do():
    assert str(Key("ConfigMap", "t-k3x9m2qd", "a")) == "ConfigMap/t-k3x9m2qd/a"
    assert str(Key("Namespace", "", "t-k3x9m2qd")) == "Namespace/t-k3x9m2qd"
    assert key_of(OBJECTS[0]) == ("Namespace", "", "t-k3x9m2qd")


scalars = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["", "a", "b"]))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(["spec", "data", "roleRef"]), trees, min_size=1)


def merged(patch: Any, target: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(value, result.get(name))
    return result


@given(bodies)
def test_an_object_agrees_with_itself(body):
    assert agrees(body, body)
    assert agrees(body, copy.deepcopy(body) | {"status": {"more": 1}})


@given(bodies, bodies)
def test_what_a_patch_to_exactly_ours_leaves_agrees(desired, observed):
    for name, value in desired.items():
        theirs = observed.get(name)
        if isinstance(value, dict) and isinstance(theirs, dict):
            assert agrees({name: value}, {name: merged(exactly(value, theirs), theirs)})


@given(st.lists(trees, max_size=3), trees)
def test_one_more_entry_in_a_list_is_always_drift(entries, more):
    assert not agrees({"spec": {"list": entries}}, {"spec": {"list": [*entries, more]}})
    assert not agrees({"spec": {"list": [*entries, more]}}, {"spec": {"list": entries}})


@given(bodies, st.sampled_from("xyz"), st.integers(1, 9))
def test_one_more_entry_in_what_is_ours_is_always_drift(body, name, value):
    for field, ours in body.items():
        if isinstance(ours, dict):
            assert not agrees(body, body | {field: {**ours, name: value}})


def test_the_values_of_a_secret_as_text() -> None:
    assert texts(None) == texts({"kind": "Secret"}) == texts({"data": None}) == {}
    assert texts({"data": {"host": "ZWluIMO2cnRjaGVu", "empty": ""}}) == {"host": "ein örtchen", "empty": ""}


def test_bytes_that_are_no_text_equal_nothing_that_somebody_wrote() -> None:
    found = texts({"data": {"password": "//79"}})

    assert set(found["password"]) == {"\ufffd"}


@pytest.mark.parametrize(
    ("desired", "observed", "stands"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1, "filled": "in"}], "d": 1}}, True),
        ({"a": {}}, {}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, False),
        ({"a": {"b": 1}}, {"a": None}, False),
        ({"a": False}, {}, False),
    ],
)
def test_what_the_api_server_filled_in_is_no_drift_and_what_was_added_to_a_list_is(desired, observed, stands):
    assert covers(desired, observed) is stands
