"""The runner of Jobs against an API server in memory: answers that are lost, operators that end at every request."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.desired import names
from paybill.desired.job import OperationPods, key_in
from paybill.desired.resource import Key, key_of
from paybill.engines.operation import Answer, Exit, Failed
from paybill.engines.pod import STOPPED
from paybill.engines.sealed import seal
from paybill.reconcile import job_log, jobs
from paybill.reconcile.jobs import Ended, Jobs
from paybill.reconcile.runners import NeverBegun
from tests.engines.asked import request

Object = dict[str, Any]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = "abcd2345-00000001"
JOB = Key("Job", "home", names.operation_job(ID))
SECRET = Key("Secret", "home", names.operation_job(ID))
DONE = Answer(exit=Exit.OK)


class Crash(BaseException):
    """The operator ends here."""


class Server:
    """An API server with a Job controller and a kubelet that do all at once; ``fault`` is asked around each request."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.answer = DONE
        self.begun: list[str] = []
        self.calls: list[str] = []
        self.fault: Callable[[int, str, str], None] = lambda number, call, when: None
        self.pod_state: Object = {"terminated": {}}
        self.logs: list[str] = []
        self._version = 0

    async def create(self, obj: Object) -> Object:
        return self._around("create", lambda: self._create(obj))

    async def apply(self, obj: Object) -> Object:
        return self._around("apply", lambda: self._put({**obj}))

    async def get(self, key: Key) -> Object | None:
        return self._around("get", lambda: copy.deepcopy(self.objects.get(key)))

    async def list(self, kind: str, *, namespace: str, labels: str) -> list[Object]:
        found = [obj for key, obj in self.objects.items() if key.kind == kind]
        return self._around("list", lambda: copy.deepcopy(found))

    async def merge(self, obj: Object) -> Object:
        return self._around("merge", lambda: self._merge(obj))

    async def delete(self, key: Key, *, uid: str, resource_version: str, propagation: str) -> bool:
        return self._around("delete", lambda: self._delete(key, uid, resource_version))

    def _around(self, call: str, act: Callable[[], Any]) -> Any:
        self.calls.append(call)
        number = len(self.calls)
        self.fault(number, call, "before")
        done = act()
        self.fault(number, call, "after")
        return copy.deepcopy(done)

    def _create(self, obj: Object) -> Object:
        if key_of(obj) in self.objects:
            raise Retry("Conflict", "it exists")
        return self._put(copy.deepcopy(obj))

    def _put(self, obj: Object) -> Object:
        self._version += 1
        obj["metadata"] = {"uid": f"u{self._version}", **obj["metadata"], "resourceVersion": str(self._version)}
        self.objects[key_of(obj)] = obj
        return obj

    def _merge(self, obj: Object) -> Object:
        found = self.objects.get(key_of(obj))
        if found is None:
            raise Retry("NotFound", "gone")
        if found["metadata"]["uid"] != obj["metadata"]["uid"]:
            raise Retry("Conflict", "another uid")
        found["metadata"].setdefault("annotations", {}).update(obj["metadata"].get("annotations", {}))
        if obj.get("spec", {}).get("suspend") is False and found["spec"]["suspend"]:
            found["spec"]["suspend"] = False
            found["status"] = {"startTime": "2026-03-01T12:00:00Z"}
            self._begin(found)
        return self._put(found)

    def _begin(self, job: Object) -> None:
        """Its pod runs at once, and has said all that it has to say."""
        key = key_in(self.objects.get(SECRET))
        assert key is not None, "a pod may not begin before its request is there"
        self.begun.append(job["metadata"]["uid"])
        self.logs = ["apply", *seal(self.answer, key)]
        states = [{"name": "operation", "state": self.pod_state}] if self.pod_state else []
        phase = "Succeeded" if "terminated" in self.pod_state else "Pending"
        status = {"phase": phase, "containerStatuses": states}
        labels = job["spec"]["template"]["metadata"]["labels"]
        self._put({"kind": "Pod", "metadata": {"name": "p", "namespace": "home", "labels": labels}, "status": status})

    def _delete(self, key: Key, uid: str, version: str) -> bool:
        found = self.objects.get(key)
        if found is None:
            return False
        if (found["metadata"]["uid"], found["metadata"]["resourceVersion"]) != (uid, version):
            raise Retry("Conflict", "it changed")
        del self.objects[key]
        if key.kind == "Job":
            self.objects = {one: obj for one, obj in self.objects.items() if one.kind not in ("Pod", "Secret")}
        return True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()

    async def follow(cluster: Server, namespace: str, pod: str, container: str) -> AsyncIterator[str]:
        if Key("Pod", namespace, pod) not in cluster.objects:
            raise Retry("LogUnreadable", "no such pod")
        for line in cluster.logs:
            yield line

    monkeypatch.setattr(job_log, "follow", follow)
    for module, name in ((jobs, "LOOK_SECONDS"), (jobs, "AGAIN_SECONDS"), (job_log, "AGAIN_SECONDS")):
        monkeypatch.setattr(module, name, 0.001)
    return made


def runner(server: Server, pods: OperationPods | None = OperationPods(image="i")) -> Jobs:  # noqa: B008 - frozen
    return Jobs(cluster=server, namespace="home", installation="one", pods=pods, now=lambda: NOW)  # type: ignore[arg-type]


def asked(**changes: Any) -> Any:
    return request(Path("/nowhere") / ID, **changes)


async def test_it_runs_once_answers_and_leaves_nothing(server: Server) -> None:
    done = await runner(server).run(asked())
    assert (done.exit, done.stack) == (Exit.OK, asked().inputs.stack)
    assert len(server.begun) == 1
    await done.discard()
    assert server.objects == {}


async def finish(server: Server) -> Ended | Blocked:
    """What a leader after a crash makes of it."""
    try:
        return await runner(server).adopt(ID, "up")
    except Blocked as failure:
        return failure


async def count(server: Server) -> int:
    """How many requests it takes."""
    done = await runner(server).run(asked())
    await done.discard()
    return len(server.calls)


async def test_wherever_its_operator_ends_it_is_begun_once_at_most_and_nothing_is_left(
    server: Server, subtests: pytest.Subtests
) -> None:
    """Before and after each request that it makes; what was not begun is told from what is in doubt."""
    most = await count(server)
    assert most > 6
    for crash_at in range(1, most + 1):
        for moment in ("before", "after"):
            with subtests.test(f"{moment} request {crash_at}"):
                fresh = Server()
                fresh.fault = _once(crash_at, moment, Crash())
                heard: list[Ended] = []
                with pytest.raises(Crash):
                    await _all(runner(fresh), heard)
                fresh.fault = lambda number, call, when: None
                if heard:  # its end is written down before anything of it goes
                    await runner(fresh).sweep(lambda operation: False)
                result = await finish(fresh)
                assert len(fresh.begun) <= 1
                if isinstance(result, NeverBegun):
                    assert fresh.begun == []
                elif isinstance(result, Ended):
                    assert (result.exit, len(fresh.begun)) == (Exit.OK, 1)
                    await result.discard()
                else:
                    assert result.reason == "OperationGone"
                assert fresh.objects == {}


async def _all(one: Jobs, heard: list[Ended]) -> None:
    """An operation from its beginning until nothing of it is left; ``heard`` gets its end."""
    heard.append(await one.run(asked()))
    await heard[0].discard()


def _once(number: int, moment: str, error: BaseException) -> Callable[[int, str, str], None]:
    def fault(at: int, call: str, when: str) -> None:
        if (at, when) == (number, moment):
            raise error

    return fault


async def test_whatever_answer_of_the_api_server_is_lost_it_runs_once(
    server: Server, subtests: pytest.Subtests
) -> None:
    for lost in range(1, await count(server) + 1):
        for moment in ("before", "after"):
            with subtests.test(f"{moment} request {lost}"):
                fresh = Server()
                fresh.fault = _once(lost, moment, Retry("ApiServerUnreachable", "timeout"))
                done = await runner(fresh).run(asked())
                await done.discard()
                assert (done.exit, len(fresh.begun), fresh.objects) == (Exit.OK, 1, {})


@pytest.mark.parametrize("call", ["create", "apply"])
@pytest.mark.parametrize("refusal", [Blocked("Forbidden", "no"), Invalid("RefusedByApiServer", "no")])
async def test_what_is_refused_was_not_begun(server: Server, call: str, refusal: Exception) -> None:
    def fault(number: int, what: str, when: str) -> None:
        if (what, when) == (call, "before"):
            raise refusal

    server.fault = fault
    with pytest.raises(NeverBegun):
        await runner(server).run(asked())
    assert (server.begun, server.objects) == ([], {})


async def test_that_it_may_not_look_any_more_is_not_taken_for_an_end(server: Server) -> None:
    """A right that is taken away while a pod works says nothing about the pod."""

    def fault(number: int, what: str, when: str) -> None:
        if what == "list":
            raise Blocked("Forbidden", "no")

    server.fault = fault
    with pytest.raises(Blocked) as failure:
        await runner(server).run(asked())
    assert not isinstance(failure.value, NeverBegun)
    server.fault = lambda number, call, when: None
    assert isinstance(await finish(server), Ended)


async def test_a_job_of_its_name_that_is_somebody_elses_is_left_alone(server: Server) -> None:
    theirs = {"kind": "Job", "metadata": {"name": JOB.name, "namespace": "home"}, "spec": {}}
    await server.create(theirs)
    with pytest.raises(NeverBegun) as refused:
        await runner(server).run(asked())
    assert refused.value.reason == "OperationExists"
    await runner(server).remove(ID)
    assert set(server.objects) == {JOB}


async def test_a_request_that_no_secret_can_hold_is_refused(server: Server) -> None:
    with pytest.raises(NeverBegun) as refused:
        await runner(server).run(asked(credentials={"TOKEN": "x" * 800_000}))
    assert refused.value.reason == "RequestTooLarge"


async def test_without_a_pod_to_make_it_of_there_is_none(server: Server) -> None:
    with pytest.raises(NeverBegun) as refused:
        await runner(server, None).run(asked())
    assert refused.value.reason == "NoOperationPods"


@pytest.mark.parametrize(("kind", "reason", "doubt"), [("up", "RecoveryNeeded", True), ("drift", "WorkerDied", False)])
async def test_a_pod_that_says_nothing_leaves_a_doubt_if_it_may_have_changed_something(
    server: Server, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str, doubt: bool
) -> None:
    monkeypatch.setattr("tests.unit.reconcile.test_jobs.seal", lambda answer, key: [])
    done = await runner(server).run(asked(kind=kind))
    assert done.failed is not None
    assert (done.exit, done.failed.reason, done.recovery_needed) == (Exit.TRANSIENT, reason, doubt)


async def test_who_had_it_stopped_is_known_to_whoever_takes_it_over(server: Server) -> None:
    server.answer = Answer(exit=Exit.TRANSIENT, failed=Failed(reason=STOPPED, message="stopped"), recovery_needed=True)
    first = await runner(server).run(asked())
    assert first.failed is not None
    assert first.failed.reason == STOPPED, "nobody of ours"
    server.objects[JOB]["metadata"]["annotations"] = {names.STOP_ANNOTATION: "Cancelled"}
    server.objects[JOB]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    second = await runner(server).adopt(ID, "up")
    assert second.failed is not None
    assert second.failed.reason == "Cancelled"


async def test_a_sweep_takes_what_has_ended_and_leaves_what_runs(server: Server) -> None:
    await runner(server).run(asked())
    await runner(server).sweep(lambda operation: operation == ID)
    assert {JOB, SECRET} <= set(server.objects)
    await runner(server).sweep(lambda operation: False)
    assert server.objects == {}


async def test_a_pod_that_never_begins_goes_and_was_not_begun(server: Server) -> None:
    server.pod_state = {}
    late = runner(server)
    late.now = lambda: datetime(2026, 3, 1, 13, tzinfo=UTC)
    with pytest.raises(NeverBegun) as failure:
        async with asyncio.timeout(5):
            await late.run(asked())
    assert failure.value.reason == "PodNotStarted"
    assert server.objects == {}
