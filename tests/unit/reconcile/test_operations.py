"""What goes wrong with one tenant's operation is that tenant's: the others' go on, and it is tried again."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Failure
from paybill.cluster.lease import LeaseLost
from paybill.control.operations import Holder, OperationRow, OperationStore, StackFacts
from paybill.desired import names
from paybill.desired.stack import StackInputs
from paybill.engines import runner
from paybill.engines.folder import Record
from paybill.engines.operation import Exit, Failed, Result
from paybill.engines.runner import Ended
from paybill.lifecycle.mode import FULL, Halt, Mode
from paybill.reconcile import operation_end, operations
from paybill.reconcile.infrastructure import Wanted
from paybill.reconcile.operations import Operations

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = 5.0


class Memory(OperationStore):
    """A store whose database takes everything, until ``broken`` says what it answers."""

    def __init__(self) -> None:
        super().__init__(None, "one")  # type: ignore[arg-type]
        self.broken: Exception | None = None

    async def forget_old(self, tenant_id: str, *, epoch: int) -> None:
        """There is nothing old."""

    async def holders(self, tenant_id: str) -> tuple[Holder, ...]:
        """Nobody else ever carried anything out."""
        return ()

    async def _write(self, *_: Any) -> None:
        if self.broken is not None:
            raise self.broken


class Scene:
    """Operations of a leader in a world that permits everything; workers are functions of the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Memory()
        self.operations = Operations(store=self.store, folder=folder)
        self.workers: dict[str, Callable[[], Ended]] = {}
        self.begun: list[str] = []
        self.taken: list[str] = []
        self.asked: list[Any] = []
        self.adopted: list[str] = []
        self.woken: list[str] = []
        self.secret: dict[str, Any] | None = {"data": {}}
        self.applied: Failure | None = None
        none = SimpleNamespace(get=lambda _: None)
        self.world: Any = SimpleNamespace(
            epoch=1,
            now=lambda: NOW,
            settings=SimpleNamespace(namespace="paybill-system"),
            declared=SimpleNamespace(cells=none, tenants=none, approvals_of=lambda _: ()),
            registry=SimpleNamespace(by_id=lambda _: None),
            queue=SimpleNamespace(add=lambda work, _: self.woken.append(work.name)),
            cluster=SimpleNamespace(get=self._get),
            operations=self.operations,
            brakes=SimpleNamespace(halt=FULL),
        )
        monkeypatch.setattr(operations, "take", self._take)
        monkeypatch.setattr(operations, "ask", lambda *_, **__: None)
        monkeypatch.setattr(operations, "HELD_SECONDS", 0.05)
        monkeypatch.setattr(operations, "AWAIT_SECONDS", 0.02)
        monkeypatch.setattr(operation_end, "_hand_over", self._hand_over)
        monkeypatch.setattr(runner, "run", self._run)
        monkeypatch.setattr(runner, "adopt", self._adopt)

    async def _take(self, _world: object, _scope: object, steps: list[Any]) -> list[Any]:
        self.taken += [step.action for step in steps]
        return [await step.act() for step in steps]

    async def _get(self, _: object) -> dict[str, Any] | None:
        return self.secret

    async def _hand_over(self, *_: object) -> None:
        if self.applied is not None:
            raise self.applied

    async def _run(self, request: Any) -> Ended:
        self.begun.append(request.id)
        self.asked.append(request)
        return self.workers.get(request.id, lambda: ended(request.id))()

    async def _adopt(self, work_dir: Path) -> Ended:
        self.adopted.append(work_dir.name)
        return self.workers.get(work_dir.name, lambda: ended(work_dir.name))()

    async def queue(self, name: str) -> None:
        await self.operations.queue(row(name), wanted(name), epoch=1)

    async def until(self, done: Callable[[], bool]) -> None:
        """Run the operations until something is so."""
        task = asyncio.create_task(self.operations.run(self.world))
        try:
            async with asyncio.timeout(SECONDS):
                while not done() and not task.done():
                    await asyncio.sleep(0.005)
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def state(self, name: str) -> str:
        found = self.store.newest(tenant(name))
        assert found is not None
        return found.state


def tenant(name: str) -> str:
    return f"{name:0>8}"[:8]


def row(name: str, **changes: Any) -> OperationRow:
    given = OperationRow(
        id=name, tenant_id=tenant(name), tenant_name=name, cell="eu", engine="Terraform", kind="up",
        inputs_digest="sha256:i", queued_time=NOW,
    )  # fmt: skip
    return replace(given, **changes)


def wanted(name: str) -> Wanted:
    inputs = StackInputs(
        provider="AWS", model="Silo", compute="Namespace", level="Server", tenant_id=tenant(name), tenant_uid="u",
        installation="one", cell="eu", namespace="tenant",
    )  # fmt: skip
    spec = {"provider": "AWS", "engine": {"type": "Terraform"}, "credentials": {"secretRef": {"name": "cloud"}}}
    made = Cell.model_validate({"metadata": {"name": "eu"}, "spec": spec})
    return Wanted(inputs=inputs, cell=made, engine="Terraform", program="built-in:1")


def ended(name: str, outputs: object | None = None) -> Ended:
    record = Record(
        id=name, kind="up", engine="Terraform", project="p", stack="s", began=0, deadline=1, finish=1, obey=1
    )
    result = Result.model_validate({"outputs": outputs})
    return Ended(exit=Exit.OK, result=result, record=record, work_dir=Path("/nowhere") / name, claim=-1)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def _raise(error: BaseException) -> Callable[[], Ended]:
    def worker() -> Ended:
        raise error

    return worker


async def test_an_error_that_nobody_thought_of_ends_nobody_elses_operation(scene: Scene) -> None:
    scene.workers["a"] = _raise(OSError(28, "No space left on device"))
    await scene.queue("a")
    await scene.queue("b")
    await scene.until(lambda: scene.state("b") == "Succeeded")
    assert scene.state("a") == "Running"


async def test_what_was_begun_when_it_came_is_taken_over_and_not_run_twice(scene: Scene) -> None:
    scene.workers["a"] = _raise(OSError(28, "No space left on device"))
    await scene.queue("a")
    await scene.until(lambda: bool(scene.begun))
    del scene.workers["a"]
    await scene.until(lambda: scene.state("a") == "Succeeded")
    assert (scene.begun, scene.adopted) == (["a"], ["a"])


async def test_a_result_that_cannot_be_handed_over_is_kept_until_it_can(scene: Scene) -> None:
    """The operator may not write the Secret: the operation stands as running, and says why."""
    scene.workers["a"] = lambda: ended("a", {"bucket": "b"})
    scene.applied = Blocked("Forbidden", "secrets is forbidden")
    await scene.queue("a")
    await scene.until(lambda: len(scene.adopted) >= 2)
    assert scene.state("a") == "Running"
    assert scene.operations.held["a"].reason == "Forbidden"
    assert scene.woken == ["a"], "once, not with each try"

    scene.applied = None
    await scene.until(lambda: scene.state("a") == "Succeeded")
    assert scene.operations.held == {}


async def test_so_is_one_that_a_dead_leader_left(scene: Scene) -> None:
    scene.workers["a"] = lambda: ended("a", {"bucket": "b"})
    scene.applied = Blocked("Forbidden", "secrets is forbidden")
    await scene.store.put(row("a", state="Running"), epoch=1)
    await scene.queue("b")
    await scene.until(lambda: scene.state("b") == "Succeeded" and len(scene.adopted) >= 2)
    assert scene.state("a") == "Running"


async def test_an_operation_that_another_process_still_watches_is_not_lost(scene: Scene) -> None:
    """A recovery would be begun beside a worker that lives."""
    await scene.store.put_stack(StackFacts(tenant_id=tenant("a"), engine="Terraform", stack="s"), epoch=1)
    await scene.store.put(row("a", state="Running"), epoch=1)
    scene.workers["a"] = _raise(Blocked("OperationWatched", "somebody else waits for it"))
    await scene.until(lambda: len(scene.adopted) >= 2)
    assert scene.state("a") == "Running"

    scene.workers["a"] = _raise(Blocked("OperationGone", "its result was taken"))
    await scene.until(lambda: scene.state("a") == "Lost")
    stack = scene.store.stack(tenant("a"))
    assert stack is not None
    assert stack.recovery_due


@pytest.mark.parametrize(("state", "may"), [("claimed", False), ("deleted", True)])
async def test_only_of_a_tenant_that_is_destroyed_a_recovery_takes_it_that_data_is_gone(
    scene: Scene, state: str, may: bool
) -> None:
    claim = SimpleNamespace(state=state, tenant_uid="u", drop_started_time=NOW if state == "deleted" else None)
    scene.world.registry.by_id = lambda _: claim
    of = replace(wanted("a"), inputs=wanted("a").inputs.model_copy(update={"retain": False}))
    await scene.operations.queue(row("a", kind="recover"), of, epoch=1)
    await scene.until(lambda: bool(scene.begun))
    assert scene.asked[0].destroys_data is may


@pytest.mark.parametrize("mode", sorted(Mode))
async def test_an_update_of_which_nobody_knows_what_it_does_takes_nothing_away_under_a_halt(
    scene: Scene, mode: Mode
) -> None:
    scene.world.brakes.halt = Halt(mode=mode)
    await scene.queue("a")
    await scene.until(lambda: bool(scene.begun))
    assert scene.asked[0].takes_away is (mode is Mode.FULL)


@pytest.mark.parametrize(("policy", "keeps"), [("Delete", False), ("Retain", True), ("Snapshot", False)])
@pytest.mark.parametrize("kind", ["preview", "preview_destroy"])
async def test_a_look_at_a_destruction_is_of_what_the_tenants_policy_comes_to(
    scene: Scene, kind: Any, policy: str, keeps: bool
) -> None:
    spec, metadata = SimpleNamespace(deletion_policy=policy), SimpleNamespace(uid="other", annotations={})
    scene.world.declared.tenants = SimpleNamespace(get=lambda _: SimpleNamespace(spec=spec, metadata=metadata))
    await scene.operations.queue(row("a", kind=kind), wanted("a"), epoch=1)
    await scene.until(lambda: bool(scene.begun))
    assert scene.asked[0].inputs.retain is (keeps if kind == "preview_destroy" else wanted("a").inputs.retain)
    assert not scene.asked[0].destroys_data


async def test_what_an_operation_left_in_a_cloud_stays_known_whatever_the_next_one_leaves(scene: Scene) -> None:
    facts = StackFacts(tenant_id=tenant("a"), engine="Terraform", stack="s", retained=("bucket",))
    await scene.store.put_stack(facts, epoch=1)
    left = Result(retained=("key",))
    scene.workers["a"] = lambda: replace(ended("a"), result=left)
    await scene.operations.queue(row("a", kind="destroy"), wanted("a"), epoch=1)
    await scene.until(lambda: scene.state("a") == "Succeeded")
    found, of = scene.store.stack(tenant("a")), scene.store.newest(tenant("a"))
    assert found is not None
    assert of is not None
    assert (found.retained, of.retained) == (("bucket", "key"), ("key",))


async def test_why_it_cannot_be_begun_is_known(scene: Scene) -> None:
    scene.secret = None
    await scene.queue("a")
    await scene.until(lambda: "a" in scene.operations.held)
    assert (scene.operations.held["a"].reason, scene.state("a"), scene.woken) == ("SecretMissing", "Waiting", ["a"])


@pytest.mark.parametrize(("uid", "waits"), [("u", True), ("another", False)])
async def test_a_paused_tenant_is_left_alone_but_not_for_the_sake_of_another_one(
    scene: Scene, uid: str, waits: bool
) -> None:
    """What is queued when a person pauses it waits; that a new Tenant of the name is paused holds up no destruction."""
    metadata = SimpleNamespace(uid=uid, annotations={names.PAUSED_ANNOTATION: "true"})
    scene.world.declared.tenants = SimpleNamespace(get=lambda _: SimpleNamespace(metadata=metadata))
    scene.world.registry.by_id = lambda _: SimpleNamespace(tenant_uid="u", state="claimed", drop_started_time=None)
    await scene.queue("a")
    await scene.until(lambda: bool(scene.begun or scene.operations.held))
    assert bool(scene.operations.held) is waits
    assert bool(scene.begun) is not waits


async def test_what_cannot_be_begun_for_days_leaves_no_trace_in_the_log_of_acts(scene: Scene) -> None:
    scene.secret = None
    await scene.queue("a")
    await scene.until(lambda: "a" in scene.operations.held)
    assert scene.taken == []


async def test_credentials_that_are_no_text_are_refused_in_words(scene: Scene) -> None:
    scene.secret = {"data": {"KEYSTORE": base64.b64encode(b"\xfe\xed\xfe\xed").decode()}}
    await scene.queue("a")
    await scene.until(lambda: "a" in scene.operations.held)
    assert scene.operations.held["a"].reason == "CredentialsUnreadable"


@pytest.mark.parametrize(
    "lost", [Blocked("EpochLost", "another process leads"), LeaseLost("not renewed")], ids=["epoch", "lease"]
)
async def test_that_we_lead_no_longer_ends_all(scene: Scene, lost: Exception) -> None:
    await scene.queue("a")
    scene.store.broken = lost
    with pytest.raises(ExceptionGroup) as raised:
        await scene.until(lambda: False)
    assert raised.value.exceptions == (lost,)


@pytest.mark.parametrize(
    ("kind", "told"),
    [("drift", ["CredentialsRefused"]), ("up", [])],
    ids=["nothing else says it", "the condition does"],
)
async def test_a_look_for_drift_that_failed_is_told_by_an_event(scene: Scene, kind: str, told: list[str]) -> None:
    posted: list[str] = []
    scene.world.declared.tenants = SimpleNamespace(get=lambda _: SimpleNamespace(metadata=None))
    scene.world.events = SimpleNamespace(post=lambda news: posted.append(news.reason))
    failed = Failed(reason="CredentialsRefused", message="the cloud refuses the login")
    scene.workers["a"] = lambda: replace(ended("a"), exit=Exit.USER, failed=failed)
    asked = row("a", kind=kind)
    scene.world.declared.cells = SimpleNamespace(get=lambda _: None)
    await scene.operations.queue(asked, wanted("a"), epoch=1)
    await scene.until(lambda: bool(scene.woken))
    assert posted == told
