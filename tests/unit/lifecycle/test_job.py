"""What follows from what is seen of a Job: a row for each thing that Kubernetes may do to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paybill.lifecycle.job import NODE_PATIENCE, START, Gone, JobSeen, Listen, NotBegun, PodSeen, Wait, judge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LASTS = timedelta(hours=2)
JUST, LONG = NOW - timedelta(seconds=5), NOW - START
RUNS = PodSeen(name="p", began=True)
ENDED = PodSeen(name="p", began=True, ended=True)
WAITS = PodSeen(name="p", why="ImagePullBackOff: no such image")
REFUSED = PodSeen(name="p", ended=True, why="OutOfcpu")


def job(*pods: PodSeen, **seen: object) -> JobSeen:
    return JobSeen(**({"started": JUST, "lasts": LASTS, "pods": pods} | seen))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "answer"),
    [
        pytest.param(job(), Wait(), id="its pod is still to be made"),
        pytest.param(job(WAITS), Wait(), id="its pod is still to begin"),
        pytest.param(job(RUNS), Listen(pod=RUNS), id="its pod works"),
        pytest.param(job(ENDED, over=True, counted=True), Listen(pod=ENDED), id="its pod has ended"),
        pytest.param(job(RUNS, there=False), Listen(pod=RUNS), id="its Job is gone, and its pod is going"),
        pytest.param(job(WAITS, there=False), Wait(), id="its Job is gone, and its pod is still to go"),
        pytest.param(job(RUNS, started=NOW - LASTS), Listen(pod=RUNS), id="its pod stops at its deadline by itself"),
        pytest.param(job(ENDED, started=NOW - 9 * LASTS), Listen(pod=ENDED), id="its answer waited for long"),
        pytest.param(job(started=None), Wait(), id="the Job controller has not seen it yet"),
    ],
)
def test_what_may_still_answer_is_waited_for(seen: JobSeen, answer: object) -> None:
    assert judge(seen, NOW) == answer


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param(job(there=False), "Job was deleted", id="its Job is gone"),
        pytest.param(job(over=True), "pod was deleted", id="its pod was deleted, and the Job has failed of it"),
        pytest.param(job(counted=True), "pod was deleted", id="its pod was deleted, and is counted"),
        pytest.param(job(counted=True, started=LONG), "pod was deleted", id="so was one of a Job that is old"),
        pytest.param(job(RUNS, started=NOW - LASTS - NODE_PATIENCE), "node", id="its node is lost"),
    ],
)
def test_of_what_will_never_answer_nobody_knows_what_it_did(seen: JobSeen, word: str) -> None:
    answer = judge(seen, NOW)
    assert isinstance(answer, Gone)
    assert word in answer.why


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param(job(WAITS, started=LONG), "no such image", id="its image is nowhere"),
        pytest.param(job(started=LONG), "quota or a policy", id="no pod could be made"),
        pytest.param(job(REFUSED), "OutOfcpu", id="its node refused its pod"),
    ],
)
def test_what_never_began_is_not_waited_for_without_end_and_changed_nothing(seen: JobSeen, word: str) -> None:
    answer = judge(seen, NOW)
    assert isinstance(answer, NotBegun)
    assert word in answer.why
