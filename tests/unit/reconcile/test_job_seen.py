"""Jobs and pods in the API server's words, and what they mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paybill.lifecycle.job import JobSeen, PodSeen
from paybill.reconcile.job_seen import job_seen

Object = dict[str, Any]


def pod(phase: str, state: Object | None = None, **status: Any) -> Object:
    containers = [] if state is None else [{"name": "operation", "state": state}]
    return {"metadata": {"name": "p"}, "status": {"phase": phase, "containerStatuses": containers, **status}}


def condition(kind: str, status: str, reason: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": "so it is"}


LOST = condition("DisruptionTarget", "True", "DeletionByPodGC")


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        pytest.param(
            pod("Pending", conditions=[condition("PodScheduled", "False", "Unschedulable")]),
            PodSeen(name="p", why="Unschedulable: so it is"), id="no node has room",
        ),
        pytest.param(
            pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            PodSeen(name="p", why="ImagePullBackOff: no such image"), id="its image is nowhere",
        ),
        pytest.param(
            pod("Running", {"running": {}}, conditions=[condition("Ready", "True", "")]),
            PodSeen(name="p", began=True), id="it works",
        ),
        pytest.param(
            pod("Failed", {"terminated": {"reason": "OOMKilled"}}),
            PodSeen(name="p", began=True, ended=True, why="OOMKilled"), id="it was killed",
        ),
        pytest.param(
            pod("Failed", reason="OutOfcpu", message="no"),
            PodSeen(name="p", ended=True, why="OutOfcpu: no"), id="its node refused it",
        ),
        pytest.param(
            pod("Failed", {"waiting": {"reason": "ContainerCreating"}}),
            PodSeen(name="p", began=True, ended=True, why="ContainerCreating"), id="its node was lost in between",
        ),
        pytest.param(
            pod("Failed", conditions=[LOST]),
            PodSeen(name="p", began=True, ended=True, why="DeletionByPodGC: so it is"), id="its node was lost early",
        ),
    ],
)  # fmt: skip
def test_a_pod(given: Object, seen: PodSeen) -> None:
    assert job_seen(None, [given]) == JobSeen(there=False, pods=(seen,))


def job(status: Object | None = None, **metadata: Any) -> Object:
    return {"metadata": metadata, "spec": {"suspend": False, "activeDeadlineSeconds": 60}, "status": status or {}}


STARTED = {"startTime": "2026-03-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("given", "more"),
    [
        pytest.param(job(), {"started": None}, id="new"),
        pytest.param(job(STARTED | {"active": 1}), {}, id="at work"),
        pytest.param(job(STARTED | {"failed": 1}), {"counted": True}, id="its pod was counted"),
        pytest.param(job(STARTED | {"uncountedTerminatedPods": {"failed": ["u"]}}), {"counted": True}, id="is counted"),
        pytest.param(job(STARTED | {"conditions": [condition("Failed", "True", "")]}), {"over": True}, id="failed"),
        pytest.param(job(STARTED, deletionTimestamp="2026-03-01T12:00:00Z"), {"over": True}, id="it goes"),
        pytest.param(job(STARTED, annotations={"paybill.dev/stop": "Cancelled"}), {"stop": "Cancelled"}, id="stopped"),
    ],
)
def test_a_job(given: Object, more: Object) -> None:
    whole = {"started": datetime(2026, 3, 1, 12, tzinfo=UTC), "lasts": timedelta(seconds=60)} | more
    assert job_seen(given, ()) == JobSeen(**whole)


def test_one_that_was_never_let_go() -> None:
    assert job_seen({"metadata": {}, "spec": {"suspend": True}}, ()).suspended
