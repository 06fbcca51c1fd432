"""The quota of a tenant: the Plan's bounds verbatim, what costs money refused, and suspension as one more bound."""

from __future__ import annotations

import pytest

from paybill.api.failures import Invalid
from paybill.desired import quota
from paybill.desired.quota import Pods
from tests.unit.desired.tenants import ACME, QUOTA


@pytest.mark.parametrize(
    ("declared", "stopped", "hard"),
    [
        pytest.param({}, False, {"services.loadbalancers": "0", "services.nodeports": "0"}, id="a bare plan"),
        pytest.param(
            {"services.nodeports": "2"}, False, {"services.loadbalancers": "0", "services.nodeports": "2"},
            id="a plan may allow what costs money",
        ),
        pytest.param(
            {"requests.cpu": "4000m", "limits.memory": "8192Mi"}, False,
            {"limits.memory": "8Gi", "requests.cpu": "4", "services.loadbalancers": "0", "services.nodeports": "0"},
            id="in the API server's notation, or status would never show it",
        ),
        pytest.param(
            {"pods": "40", "count/jobs.batch": "5"}, True,
            {"count/jobs.batch": "0", "pods": "0", "services.loadbalancers": "0", "services.nodeports": "0"},
            id="suspension overrides the plan",
        ),
    ],
)  # fmt: skip
def test_what_is_bounded(declared, stopped, hard):
    made = quota.hard(declared, stopped=stopped)
    assert made == hard
    assert list(made) == sorted(made)


def test_what_kubernetes_cannot_count_is_refused():
    with pytest.raises(Invalid, match="InvalidQuantity"):
        quota.hard({"pods": "many"}, stopped=False)


@pytest.mark.parametrize("pods", Pods)
def test_the_state_of_the_pods_can_be_read_back_from_the_object(pods):
    assert quota.pods_of(quota.build(ACME, QUOTA, pods)) is pods


@pytest.mark.parametrize("observed", [None, {}, {"metadata": {"annotations": None}}, {"metadata": {"annotations": {}}}])
def test_without_a_mark_pods_run(observed):
    assert quota.pods_of(observed) is Pods.RUNNING


def test_only_while_stopped_is_anything_refused_that_the_plan_allows():
    running, stopped, resuming = (quota.build(ACME, QUOTA, pods)["spec"]["hard"] for pods in Pods)
    assert running == resuming
    assert running["pods"] == "40"
    assert stopped == running | {"pods": "0", "count/jobs.batch": "0"}


RUNNING = quota.build(ACME, {"requests.cpu": "4"}, Pods.RUNNING)
STOPPED = quota.build(ACME, {"requests.cpu": "4"}, Pods.STOPPED)
FULL = {"requests.cpu": "4", "services.loadbalancers": "0", "services.nodeports": "0"}


@pytest.mark.parametrize(
    ("acted_on", "desired", "enforced"),
    [
        pytest.param(None, RUNNING, False, id="no status yet"),
        pytest.param({}, RUNNING, False, id="an empty one"),
        pytest.param(FULL, RUNNING, True, id="all of it"),
        pytest.param(FULL | {"requests.cpu": "8"}, RUNNING, False, id="the value before"),
        pytest.param({"requests.cpu": "4"}, RUNNING, False, id="a part of it"),
        pytest.param(FULL, STOPPED, False, id="not stopped yet"),
        pytest.param(FULL | {"pods": "0"}, STOPPED, False, id="only half stopped"),
        pytest.param(FULL | {"pods": "0", "count/jobs.batch": "0"}, STOPPED, True, id="stopped"),
        pytest.param(FULL | {"pods": "0", "count/jobs.batch": "0"}, RUNNING, False, id="still stopped after a resume"),
        pytest.param(FULL | {"pods": "7"}, RUNNING, True, id="another bound of somebody else"),
    ],
)
def test_admission_acts_on_the_status_and_so_do_we(acted_on, desired, enforced):
    observed = {"spec": desired["spec"]} | ({} if acted_on is None else {"status": {"hard": acted_on}})
    assert quota.enforced(observed, desired) is enforced


def test_what_does_not_exist_is_not_enforced():
    assert not quota.enforced(None, RUNNING)


def test_every_container_gets_what_the_quota_asks_of_it():
    (limits,) = quota.build_limits(ACME)["spec"]["limits"]
    assert limits["type"] == "Container"
    assert set(limits["default"]) == set(limits["defaultRequest"]) == {"cpu", "memory"}
