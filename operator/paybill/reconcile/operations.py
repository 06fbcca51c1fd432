"""Runs the queued operations of engines: so many per cell, who pays first, each by a worker process of its own.

The row in the control database comes first and the worker second, so a leader that comes after a crash finds out from
the row what may be running: it takes a worker over that still lives, takes the result of one that ended, and marks an
operation of which neither is left as lost, which makes a recovery the next one. None is run twice.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from paybill.api.failures import Blocked, Failure, Retry
from paybill.cluster.events import News
from paybill.cluster.lease import LeaseLost
from paybill.control.operations import OperationRow, OperationStore, StackFacts
from paybill.desired import handover, names
from paybill.desired.resource import Key, key_of
from paybill.desired.stack import StackOutputs, digest_of
from paybill.engines import runner
from paybill.engines.operation import Exit, Request
from paybill.engines.runner import Ended
from paybill.lifecycle.fairness import Waiting, pick
from paybill.lifecycle.operation import LOOKS_ONLY, may_destroy_data, summary
from paybill.reconcile import metrics
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, ask, take

if TYPE_CHECKING:
    from paybill.reconcile.infrastructure import Wanted
    from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

AWAIT_SECONDS = 1.0
"""How often the queue is looked at without a cause: a place in a cell may have become free by its Cell's change."""
HELD_SECONDS = 15.0
"""Until an operation that may not be begun now (a halt, a log that cannot be written) is tried again."""
DEADLINES = {"preview": 900.0, "drift": 900.0, "outputs": 300.0}
LONGEST = 5400.0


@dataclass(kw_only=True)
class Operations:
    """The operations of one leader. ``attached`` is, per tenant, what its own server was connected by."""

    store: OperationStore
    folder: Path
    embedded_home: str = ""
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
            self._wake(world, row)
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
        path = folder / f"{tenant_id}.crt"
        path.write_text(certificate)
        return path

    async def run(self, world: World) -> None:
        """Carry out what is queued, until cancelled; first of all what another leader may have left running."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        async with asyncio.TaskGroup() as group:
            while True:
                self._watch_unwatched(world, group)
                self._start_due(world, group)
                while self._stopping:
                    group.create_task(_stop(self.folder / self._stopping.pop()))
                self._changed.clear()
                try:
                    async with asyncio.timeout(AWAIT_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    def _sweep(self) -> None:
        """Remove what operations left whose end is written down; their answers may hold a password."""
        running = {row.id for row in self.store.opened() if row.state == "Running"}
        for folder, record in runner.list_left(self.folder):
            if record.id in running:
                continue
            try:
                folder.remove()
            except Blocked as alive:
                logger.warning("operation %s is not known to run, but something of it does: %s", record.id, alive)

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
            self._wake(world, row)

    def _ended(self, row: OperationRow) -> None:
        self._tasks.pop(row.id, None)
        self._changed.set()

    async def _carry_out(self, world: World, row: OperationRow, wanted: Wanted) -> None:
        scope = Scope(cause=row.cause, tenant_id=row.tenant_id, cell=row.cell)
        destructive = row.destructive or row.kind == "destroy"
        _refuse_paused(world, row)
        ask(world, scope, f"stack.{row.kind}", destructive=destructive)
        # Made before the intent is logged: a Secret that is missing for days would fill the log with intents.
        request = await self._request(world, row, wanted)
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
            known = self._known(row, wanted.inputs.stack)
            await self.store.put_stack(replace(known, destroyed_time=None, place=wanted.place), epoch=world.epoch)
        # What is wanted may have changed since it was asked for; it is this that is applied.
        running = await self.store.change(
            row, epoch=world.epoch, state="Running", started_time=world.now(), inputs_digest=wanted.digest
        )
        self._wanted.pop(row.id, None)
        try:
            ended = await runner.run(request)
        except Blocked as failure:
            await self._not_begun(world, running, failure)
        await self._conclude(world, running, ended, wanted.inputs.stack)

    async def _not_begun(self, world: World, row: OperationRow, failure: Blocked) -> NoReturn:
        """There is no worker: what the row says is ended all the same."""
        await _persistently(
            lambda: self.store.change(
                row, epoch=world.epoch, state="Failed", ended_time=world.now(), exit_code=Exit.TRANSIENT.value,
                reason=failure.reason, message=failure.message[:2000],
            )
        )  # fmt: skip
        self._wake(world, row)
        raise OperationFailed(failure.reason, f"operation {row.id} ({row.kind}): {failure.message}") from failure

    async def _take_over(self, world: World, row: OperationRow) -> None:
        """An operation of a leader that is gone."""
        try:
            ended = await runner.adopt(self.folder / row.id)
        except Blocked as gone:
            if gone.reason != "OperationGone":
                raise  # whoever led before us still waits for it: a recovery now would meet a worker that lives
            lost = row.kind not in LOOKS_ONLY
            logger.warning("operation %s (%s): %s", row.id, row.kind, gone)
            before = self.store.stack(row.tenant_id)
            if lost and before is not None:
                doubtful = replace(before, applied_digest=_doubtful(before, row), recovery_due=True)
                await _persistently(lambda: self.store.put_stack(doubtful, epoch=world.epoch))
            await _persistently(
                lambda: self.store.change(
                    row, epoch=world.epoch, state="Lost" if lost else "Failed", ended_time=world.now(),
                    reason="Lost", exit_code=Exit.TRANSIENT.value,
                    message="the operator ended while it ran and nothing of it is left",
                )
            )  # fmt: skip
            self._wake(world, row)
            return
        stack = self.store.stack(row.tenant_id)
        await self._conclude(world, row, ended, stack.stack if stack is not None else ended.record.stack)

    async def _request(self, world: World, row: OperationRow, wanted: Wanted) -> Request:
        spec, claim = wanted.cell.spec.engine, world.registry.by_id(row.tenant_id)
        assert spec is not None  # noqa: S101 - who made `wanted` saw it
        approved = row.expected is not None and row.approved_by is not None
        going = claim is not None and claim.state == "deleted" and claim.drop_started_time is not None
        return Request(
            id=row.id,
            kind=row.kind,
            engine=spec.type,
            inputs=wanted.inputs,
            state_url=spec.state.url if spec.state is not None else None,
            secrets_provider=spec.secrets_provider,
            path=spec.module_path or spec.program_path,
            credentials=await _credentials(world, wanted),
            expected=row.expected,
            dead_owner=runner.holder_here() if row.kind == "recover" else None,
            destroys_data=may_destroy_data(row.kind, approved=approved, retain=wanted.inputs.retain, going=going),
            deadline_seconds=DEADLINES.get(row.kind, LONGEST),
            work_dir=str(self.folder / row.id),
            home=self.embedded_home,
        )

    async def _conclude(self, world: World, row: OperationRow, ended: Ended, stack: str) -> None:
        """Write down what came of it, whatever it takes; only then is its folder removed."""
        try:
            concluded, facts = await self._written_down(world, row, ended, stack)
            ended.remove()
        except BaseException:
            ended.release()  # its result is there still: it is taken once more
            raise
        await _persistently(lambda: self.store.forget_old(row.tenant_id, epoch=world.epoch))
        self._tell(world, concluded, facts)
        metrics.OPERATIONS.labels(row.engine, row.kind, concluded.state).inc()
        self._wake(world, row)
        if concluded.state != "Succeeded":
            reason = concluded.reason or "OperationFailed"
            raise OperationFailed(reason, f"operation {row.id} ({row.kind}): {concluded.message}")

    async def _written_down(
        self, world: World, row: OperationRow, ended: Ended, stack: str
    ) -> tuple[OperationRow, StackFacts]:
        """The Secret first, the row last: until that stands, all of it is done again."""
        done = ended.exit in (Exit.OK, Exit.CHANGES, Exit.DRIFT)
        result, failed = ended.result, ended.failed
        outputs = result.outputs if result is not None else None
        if done and outputs is not None and row.kind != "destroy":
            await _persistently(lambda: _hand_over(world, row, outputs))
        facts = self._facts(world, row, ended, stack, done=done)
        if row.kind not in LOOKS_ONLY or row.kind == "drift" or ended.recovery_needed:
            await _persistently(lambda: self.store.put_stack(facts, epoch=world.epoch))
        reason = failed.reason if failed is not None and not done else None
        if reason in ("DataProtected", "DataMissing"):
            reason = "ApprovalRequired"
        concluded = await _persistently(
            lambda: self.store.change(
                row,
                epoch=world.epoch,
                state="Succeeded" if done else "Failed",
                ended_time=world.now(),
                exit_code=ended.exit.value,
                reason=reason,
                message=failed.message[:2000] if failed is not None and not done else None,
                changes=result.changes if result is not None else (),
                changes_digest=result.digest if result is not None else None,
                counts=dict(result.counts) if result is not None else {},
            )
        )
        return concluded, facts

    def _facts(self, world: World, row: OperationRow, ended: Ended, stack: str, *, done: bool) -> StackFacts:
        """What is known of the stack after an operation."""
        before = self._known(row, stack)
        result, now = ended.result, world.now()
        if not done and row.kind == "drift":
            # Looked for again when that is due, not at once: what keeps it from looking is told by an Event.
            return replace(before, drift_checked_time=now)
        if not done:
            refused = ended.exit in (Exit.POLICY, Exit.CONFLICT)
            applied = before.applied_digest if refused else _doubtful(before, row)
            return replace(before, applied_digest=applied, recovery_due=before.recovery_due or ended.recovery_needed)
        outputs = result.outputs if result is not None else None
        handed = _digest(outputs) if outputs is not None else before.handed
        match row.kind:
            case "up":
                return replace(
                    before, applied_digest=row.inputs_digest, applied_time=now, handed=handed, drift=(),
                    recovery_due=ended.recovery_needed, destroyed_time=None,
                )  # fmt: skip
            case "destroy":
                retained = result.retained if result is not None else ()
                orphans = result.orphans if result is not None else ()
                return replace(
                    before, applied_digest=None, destroyed_time=now, retained=retained, orphans=orphans, handed=None,
                    recovery_due=False,
                )  # fmt: skip
            case "drift":
                found = result.changes if result is not None else ()
                return replace(before, drift_checked_time=now, drift=found)
            case _:
                return replace(before, recovery_due=ended.recovery_needed, handed=handed)

    @staticmethod
    def _tell(world: World, row: OperationRow, facts: StackFacts) -> None:
        """An Event for what people want to hear of at once."""
        tenant = world.declared.tenants.get(row.tenant_name)
        if tenant is None:
            return
        # What fails is told by the Tenant's condition, and by the Event that goes with it.
        if row.kind == "drift" and facts.drift:
            found = summary(facts.drift)
            world.events.post(News(about=tenant, reason="Drifted", message=f"drift: {found}", warning=True))

    def _known(self, row: OperationRow, stack: str) -> StackFacts:
        known = self.store.stack(row.tenant_id)
        return known or StackFacts(tenant_id=row.tenant_id, engine=row.engine, stack=stack)

    @staticmethod
    def _wake(world: World, row: OperationRow) -> None:
        claim = world.registry.by_id(row.tenant_id)
        deleted = claim is not None and claim.state == "deleted"
        work = Work("Drop", row.tenant_id) if deleted else Work("Tenant", row.tenant_name)
        world.queue.add(work, f"operation {row.id} ({row.kind}) ended")
        if row.expected is not None:
            for approval in world.declared.approvals_of(row.tenant_name):
                world.queue.add(Work("Approval", approval.metadata.name), f"operation {row.id} ended")


class OperationFailed(Failure):
    """An operation ended badly; it is written down, and this is for the audit log alone."""


def _refuse_paused(world: World, row: OperationRow) -> None:
    """Raise Retry where a person wants the Tenant left as it is; what a deleted one leaves has no Tenant any more."""
    claim, tenant = world.registry.by_id(row.tenant_id), world.declared.tenants.get(row.tenant_name)
    same = claim is not None and tenant is not None and tenant.metadata.uid == claim.tenant_uid
    if same and tenant is not None and tenant.metadata.annotations.get(names.PAUSED_ANNOTATION) == "true":
        raise Retry("Paused", f"Tenant {row.tenant_name} is paused ({names.PAUSED_ANNOTATION}): remove the annotation")


async def _credentials(world: World, wanted: Wanted) -> dict[str, str]:
    """What the engine logs in with, from the Cell's Secret; nothing ambient."""
    credentials = wanted.cell.spec.credentials
    if credentials is None:
        return {}
    key = Key("Secret", world.settings.namespace, credentials.secret_ref.name)
    secret = await world.cluster.get(key)
    if secret is None:
        raise Retry("SecretMissing", f"{key} with the credentials of Cell {wanted.cell.metadata.name} does not exist")
    try:
        return {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
    except UnicodeDecodeError:
        raise Blocked(
            "CredentialsUnreadable",
            f"{key} with the credentials of Cell {wanted.cell.metadata.name} holds a value that is no text: each of "
            "its keys is a variable of the engine's environment",
        ) from None


async def _hand_over(world: World, row: OperationRow, outputs: StackOutputs) -> None:
    """Keep what a stack handed over in a Secret of the operator's own namespace."""
    claim = world.registry.by_id(row.tenant_id)
    if claim is None:
        return
    identity = names.Identity(
        id=claim.id, tenant_name=claim.tenant_name, tenant_uid=claim.tenant_uid, installation=claim.installation
    )
    secret = handover.stack_secret(identity, world.settings.namespace, outputs)
    step = Step(
        action="secret.apply",
        target=str(key_of(secret)),
        act=lambda: world.cluster.apply(secret),
        inputs={"key": str(key_of(secret)), "fields": sorted(secret["data"])},
    )
    await take(world, Scope(cause=f"operation {row.id}", tenant_id=row.tenant_id, cell=row.cell), [step])


def _doubtful(before: StackFacts, row: OperationRow) -> str | None:
    """What is applied after an ``up`` that did not end well: something, but nothing that anybody may want again."""
    if before.applied_digest is None or row.kind != "up":
        return before.applied_digest
    return f"unfinished:{row.id}"


def _digest(outputs: StackOutputs) -> str:
    """Tells one handing over from the next, without anything to guess a password by."""
    content = outputs.model_dump(mode="json")
    if outputs.database is not None:
        content["database"]["admin_password"] = outputs.database.admin_password is not None
    return digest_of(content)


async def _stop(folder: Path) -> None:
    """Ask an operation to stop; what keeps it from being asked is no reason to end with it."""
    try:
        await runner.cancel(folder)
    except OSError:
        logger.exception("%s: it cannot be asked to stop", folder)


async def _persistently(act: Any) -> Any:
    """Do what must be done before a result is given up: as often as it takes, while we lead."""
    while True:
        try:
            return await act()
        except Retry as failure:
            logger.warning("%s; again in 2 s", failure)
            await asyncio.sleep(2.0)


def folder_of(path: Path | None, installation: str) -> Path:
    """Where operations work when no folder was set."""
    return path or Path(tempfile.gettempdir()) / f"paybill-operations-{installation}"
