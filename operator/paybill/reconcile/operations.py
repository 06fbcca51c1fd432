"""Runs the queued operations of engines: so many per cell, who pays first, each by a worker process of its own.

The row in the control database comes first and the worker second, so a leader that comes after a crash finds out from
the row what may be running: it takes a worker over that still lives, takes the result of one that ended, and marks an
operation of which neither is left as lost, which makes a recovery the next one. None is run twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from paybill.api.failures import Blocked, Failure, Invalid
from paybill.cluster.lease import LeaseLost
from paybill.control.operations import OperationRow, OperationStore
from paybill.engines.ended import Ended
from paybill.engines.operation import Exit, Request
from paybill.files import write_private
from paybill.lifecycle.fairness import Waiting, pick
from paybill.lifecycle.operation import LOOKS_ONLY
from paybill.reconcile import holders, metrics
from paybill.reconcile.operation_end import OperationFailed, conclude, doubtful, known, persistently, wake
from paybill.reconcile.operation_request import refuse_paused, request_of
from paybill.reconcile.runners import GONE, NeverBegun, Runner, Subprocesses
from paybill.reconcile.steps import Scope, Step, ask, take

if TYPE_CHECKING:
    from paybill.reconcile.infrastructure import Wanted
    from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

AWAIT_SECONDS = 1.0
"""How often the queue is looked at without a cause: a place in a cell may have become free by its Cell's change."""
HELD_SECONDS = 15.0
"""Until an operation that may not be begun now (a halt, a log that cannot be written) is tried again."""


@dataclass(kw_only=True)
class Operations:
    """The operations of one leader. ``attached`` is, per tenant, what its own server was connected by."""

    store: OperationStore
    folder: Path
    embedded_home: str = ""
    jobs: Runner | None = None
    """Where operations run whose Cell has runner Job."""
    attached: dict[str, str] = field(default_factory=dict)
    held: dict[str, Failure] = field(default_factory=dict)
    """Per operation why it cannot be begun, or its end not be written down, as of the last try."""
    _wanted: dict[str, Wanted] = field(default_factory=dict)
    _tasks: dict[str, tuple[str, asyncio.Task[None]]] = field(default_factory=dict)
    _later: dict[str, float] = field(default_factory=dict)
    _stopping: set[str] = field(default_factory=set)
    """Running operations that are asked to stop; taken out once that is under way."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @staticmethod
    def new_id(tenant_id: str) -> str:
        """A name that no other operation has."""
        return f"{tenant_id}-{secrets.token_hex(4)}"

    async def queue(self, row: OperationRow, wanted: Wanted, *, epoch: int) -> OperationRow:
        """Ask for an operation; it is begun when its cell has a place for it."""
        kept = await self.store.put(row, epoch=epoch)
        self.remind(kept, wanted)
        return kept

    def remind(self, row: OperationRow, wanted: Wanted) -> None:
        """Say again what a queued operation is about: a leader that has just begun knows only its digest."""
        if row.state == "Waiting" and row.id not in self._wanted:
            self._wanted[row.id] = wanted
            self._changed.set()

    async def cancel(self, world: World, row: OperationRow) -> None:
        """Take a waiting operation out of the queue, or ask a running one to stop: it ends as cancelled."""
        if row.state == "Waiting" and row.id not in self._tasks:
            self._wanted.pop(row.id, None)
            self.held.pop(row.id, None)
            await self.store.change(
                row, epoch=world.epoch, state="Failed", ended_time=world.now(), reason="Cancelled",
                message="it was cancelled before it began",
            )  # fmt: skip
            wake(world, row)
        elif row.state == "Running" and row.id not in self._stopping:
            self._stopping.add(row.id)
            asyncio.get_running_loop().call_soon(self._changed.set)

    def sample(self, now: datetime) -> metrics.StackSample:
        """What the gauges say."""
        opened = [row.state for row in self.store.opened()]
        living = [one for one in self.store.stacks() if one.applied_time is not None and one.destroyed_time is None]
        looks = [max(filter(None, (one.applied_time, one.drift_checked_time))) for one in living]
        return metrics.StackSample(
            waiting=opened.count("Waiting"),
            running=opened.count("Running"),
            drifted=sum(1 for one in living if one.drift),
            looked_seconds=(now - min(looks)).total_seconds() if looks else 0.0,
        )

    def keep_certificate(self, tenant_id: str, certificate: str) -> Path:
        """A file with an authority's certificate, as libpq wants it."""
        folder = self.folder / "authorities"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_private(folder / f"{tenant_id}.crt", certificate)

    async def run(self, world: World) -> None:
        """Carry out what is queued, until cancelled; first of all what another leader may have left running."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            while True:
                self._watch_unwatched(world, group)
                self._start_due(world, group)
                while self._stopping:
                    group.create_task(self._stop(self._stopping.pop()))
                self._changed.clear()
                try:
                    async with asyncio.timeout(AWAIT_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    def _runner(self, row: OperationRow) -> Runner:
        """Where an operation runs: as it was begun, whatever its Cell says by now."""
        return self.jobs if row.runner == "Job" and self.jobs is not None else Subprocesses(self.folder)

    async def _sweep(self) -> None:
        """Remove what operations left whose end is written down."""

        def runs(operation: str) -> bool:
            return any(row.id == operation and row.state == "Running" for row in self.store.opened())

        for where in filter(None, (Subprocesses(self.folder), self.jobs)):
            try:
                await where.sweep(runs)
            except (Blocked, Invalid) as failure:
                logger.warning("what ended operations left is not removed: %s", failure)

    async def _stop(self, operation: str) -> None:
        """Ask an operation to stop; what keeps it from being asked is no reason to end with it."""
        row = next((one for one in self.store.opened() if one.id == operation), None)
        if row is None:
            return
        try:
            await self._runner(row).cancel(operation)
        except LeaseLost:
            raise
        except (OSError, Failure):
            logger.exception("operation %s: it cannot be asked to stop", operation)

    def _watch_unwatched(self, world: World, group: asyncio.TaskGroup) -> None:
        """Take over what runs and is nobody's: a dead leader's, or one whose end we could not write down."""
        for row in self.store.opened():
            if row.state == "Running" and self._is_due(row):
                self._begin(world, group, row, self._take_over(world, row))

    def _is_due(self, row: OperationRow) -> bool:
        return row.id not in self._tasks and self._later.get(row.id, 0.0) <= asyncio.get_running_loop().time()

    def _start_due(self, world: World, group: asyncio.TaskGroup) -> None:
        now = world.now()
        waiting: dict[str, list[OperationRow]] = {}
        for row in self.store.opened():
            if row.state == "Waiting" and row.id in self._wanted and self._is_due(row):
                waiting.setdefault(row.cell, []).append(row)
        for name, rows in waiting.items():
            cell = world.declared.cells.get(name)
            slots = cell.spec.limits.operations if cell is not None else 1
            free = slots - sum(1 for of, _ in self._tasks.values() if of == name)
            left = {row.id: row for row in rows}
            while free > 0 and left:
                chosen = pick((Waiting(id=r.id, tier=r.tier, queued_time=r.queued_time) for r in left.values()), now)
                assert chosen is not None  # noqa: S101 - there are some left
                row = left.pop(chosen.id)
                self._begin(world, group, row, self._carry_out(world, row, self._wanted[row.id]))
                free -= 1

    def _begin(self, world: World, group: asyncio.TaskGroup, row: OperationRow, work: Awaitable[None]) -> None:
        self._later.pop(row.id, None)
        task = group.create_task(self._apart(world, row, work), name=f"operation {row.id}")
        self._tasks[row.id] = (row.cell, task)
        task.add_done_callback(lambda _: self._ended(row))

    async def _apart(self, world: World, row: OperationRow, work: Awaitable[None]) -> None:
        """One tenant's trouble is nobody else's: only that we lead no longer ends the process.

        What could not be begun, or written down, is tried again; until then its row stands as it is.
        """
        try:
            await work
        except OperationFailed as failure:
            logger.warning("%s", failure)
            self.held.pop(row.id, None)
        except LeaseLost:
            raise
        except Failure as failure:
            if failure.reason == "EpochLost":
                raise
            self._hold(world, row, failure)
        except Exception:
            logger.exception("operation %s: unexpected error; again in %.0f s", row.id, HELD_SECONDS)
            self._later[row.id] = asyncio.get_running_loop().time() + HELD_SECONDS
        else:
            self.held.pop(row.id, None)

    def _hold(self, world: World, row: OperationRow, failure: Failure) -> None:
        self._later[row.id] = asyncio.get_running_loop().time() + HELD_SECONDS
        before = self.held.get(row.id)
        self.held[row.id] = failure
        if before is None or before.reason != failure.reason:
            logger.warning("operation %s waits: %s", row.id, failure)
            wake(world, row)

    def _ended(self, row: OperationRow) -> None:
        self._tasks.pop(row.id, None)
        self._changed.set()

    async def _carry_out(self, world: World, row: OperationRow, wanted: Wanted) -> None:
        scope = Scope(cause=row.cause, tenant_id=row.tenant_id, cell=row.cell)
        destructive = row.destructive or row.kind == "destroy"
        refuse_paused(world, row)
        ask(world, scope, f"stack.{row.kind}", destructive=destructive)
        # Made before the intent is logged: a Secret that is missing for days would fill the log with intents.
        request = await request_of(world, row, wanted)
        step = Step(
            action=f"stack.{row.kind}",
            target=f"Stack/{wanted.inputs.project}/{wanted.inputs.stack}",
            act=lambda: self._work(world, row, wanted, request),
            inputs={"digest": row.inputs_digest, "expected": row.expected, "operation": row.id},
            destructive=destructive,
        )
        await take(world, scope, [step])

    async def _work(self, world: World, row: OperationRow, wanted: Wanted, request: Request) -> None:
        """The act: the row says it runs before anything does; raises OperationFailed for the log."""
        if row.kind not in LOOKS_ONLY:
            # From here on something may exist, whatever becomes of us.
            before = known(world, row, wanted.inputs.stack)
            await self.store.put_stack(replace(before, destroyed_time=None, place=wanted.place), epoch=world.epoch)
        # What is wanted may have changed since it was asked for; it is this that is applied.
        holder, pod = await holders.of(world, wanted.runner, row.tenant_id)
        running = await self.store.change(
            row, epoch=world.epoch, state="Running", started_time=world.now(), inputs_digest=wanted.digest,
            holder=holder, pod=pod, runner=wanted.runner,
        )  # fmt: skip
        self._wanted.pop(row.id, None)
        await self._to_its_end(world, running, self._runner(running).run(request), wanted.inputs.stack)

    async def _to_its_end(self, world: World, row: OperationRow, work: Awaitable[Ended], stack: str = "") -> None:
        """Wait for an operation that the row says runs, and write down what came of it."""
        try:
            ended = await work
        except NeverBegun as failure:
            await self._not_begun(world, row, failure)
        except Blocked as failure:
            if failure.reason == GONE:
                await self._lost(world, row, failure)
            raise  # it may live, as where whoever led before us still waits for it: a recovery now would meet it
        known_stack = self.store.stack(row.tenant_id)
        await conclude(world, row, ended, stack or (known_stack.stack if known_stack is not None else ended.stack))

    async def _not_begun(self, world: World, row: OperationRow, failure: Blocked) -> NoReturn:
        """There is no worker: what the row says is ended all the same."""
        await persistently(
            lambda: self.store.change(
                row, epoch=world.epoch, state="Failed", ended_time=world.now(), exit_code=Exit.TRANSIENT.value,
                reason=failure.reason, message=failure.message[:2000],
            )
        )  # fmt: skip
        wake(world, row)
        raise OperationFailed(failure.reason, f"operation {row.id} ({row.kind}): {failure.message}") from failure

    async def _take_over(self, world: World, row: OperationRow) -> None:
        """An operation of a leader that is gone."""
        await self._to_its_end(world, row, self._runner(row).adopt(row.id, row.kind))

    async def _lost(self, world: World, row: OperationRow, gone: Blocked) -> NoReturn:
        """Nothing of it is left: of one that may have changed something, a recovery comes next."""
        lost = row.kind not in LOOKS_ONLY
        logger.warning("operation %s (%s): %s", row.id, row.kind, gone)
        before = self.store.stack(row.tenant_id)
        if lost and before is not None:
            due = replace(before, applied_digest=doubtful(before, row), recovery_due=True)
            await persistently(lambda: self.store.put_stack(due, epoch=world.epoch))
        await persistently(
            lambda: self.store.change(
                row, epoch=world.epoch, state="Lost" if lost else "Failed", ended_time=world.now(),
                reason="Lost", exit_code=Exit.TRANSIENT.value, message=f"nothing of it is left: {gone.message}"[:2000],
            )
        )  # fmt: skip
        wake(world, row)
        raise OperationFailed("Lost", f"operation {row.id} ({row.kind}): {gone.message}") from gone


def folder_of(path: Path | None, installation: str) -> Path:
    """Where operations work when no folder was set."""
    return path or Path(tempfile.gettempdir()) / f"paybill-operations-{installation}"
