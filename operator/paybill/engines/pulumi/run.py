"""One operation on one stack: the steps that several kinds of operations have in common, and what may go wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pulumi.automation.errors import CommandError, ConcurrentUpdateError

from paybill.desired.stack import Change, changes_digest
from paybill.engines.operation import Exit, Progress, Request, Result
from paybill.engines.port import EngineError, Tell
from paybill.engines.pulumi import recovery
from paybill.engines.pulumi.errors import classify
from paybill.engines.pulumi.events import Events
from paybill.engines.pulumi.owners import Owner, listed, owners
from paybill.engines.pulumi.program import Program
from paybill.engines.pulumi.protection import lifted, marks, restored
from paybill.engines.pulumi.settings import PARALLEL
from paybill.engines.pulumi.state import State
from paybill.engines.pulumi.workspace import TenantStack, Workspace

T = TypeVar("T")


class StackLocked(EngineError):  # noqa: N818 - what happened
    """Somebody holds the stack's lock."""

    def __init__(self, request: Request, holders: tuple[Owner, ...]) -> None:
        who = ", ".join(map(str, holders)) or "somebody that the state does not name"
        message = (
            f"Stack {request.inputs.stack} is locked by {who}. When that operation is over it is tried again; if you "
            "know that it is dead, remove the lock with `pulumi cancel`"
        )
        super().__init__(Exit.CONFLICT, "StateLocked", message, holder=str(holders[0]) if holders else None)
        self.gone = bool(holders) and all(one.gone for one in holders)
        """Whether every holder is proven not to run any more."""


OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"parallel": PARALLEL, "color": "never", "suppress_outputs": True, "suppress_progress": True}
)
"""Of every run. Nobody reads what the CLI prints: its events say it."""


class Run:
    """One operation on one stack: the steps that several kinds of them have in common."""

    def __init__(self, request: Request, tell: Tell, *, guarded: bool = True) -> None:
        self._request = request
        self._tell = tell
        self.program = Program(request, guarded=guarded)
        tell(Progress(phase="init"))
        self.workspace = Workspace(request, self.program)
        self._stack: TenantStack | None = None

    def open(self) -> TenantStack | None:
        """The stack; None when there is none."""
        self._stack = self.call(self.workspace.open)
        return self._stack

    def make(self) -> TenantStack:
        """The stack, made when there is none."""
        stack = self.call(lambda: self.workspace.open(create=True))
        assert stack is not None  # noqa: S101 - for the type checker: it was made
        self._stack = stack
        return stack

    def state(self) -> State:
        """What the state says."""
        return self.call(self.workspace.state)

    def digest(self, changes: tuple[Change, ...], state: State) -> str:
        """The digest that an approval names."""
        return changes_digest(changes, inputs_digest=self._request.inputs.digest(), state=state.version)

    def preview(self, stack: TenantStack, state: State) -> Result:
        """What an update would do, also where protection would stand in its way."""
        try:
            changes, done = self._look(stack, state)
        except EngineError as failure:
            if failure.failed.reason != "DataProtected" or not state.protected:
                raise
            # The engine stops at the first thing that is protected: it is shown a state in which nothing is.
            changes, done = self._look(self.call(self._unprotected_copy), state)
        return done.model_copy(update={"digest": self.digest(changes, state)})

    def preview_destroy(self, state: State, target: list[str] | None) -> None:
        """Have a destruction of ``target`` (URNs; None: of all) tried without carrying it out; raises EngineError."""
        aside = self.call(self._unprotected_copy)
        events = Events(self._tell, "preview", looking=True, protected=state.protected)
        self.call(lambda: aside.preview_destroy(on_event=events, target=target, **OPTIONS), events)

    def _look(self, stack: TenantStack, state: State) -> tuple[tuple[Change, ...], Result]:
        events = Events(self._tell, "preview", looking=True, protected=state.protected)
        self.call(lambda: stack.preview(on_event=events, **OPTIONS), events)
        return events.changes, result_of(events)

    def _unprotected_copy(self) -> TenantStack:
        content = self.workspace.export()
        deployment = content["deployment"]
        return self.workspace.imagined({**content, "deployment": lifted(deployment, State(deployment).protected)})

    def apply(self, stack: TenantStack, *, protected: Collection[str] = (), target: list[str] | None = None) -> Result:
        """Carry out an update; of nothing but ``target`` (URNs), where that is given."""
        events = Events(self._tell, "apply", looking=False, protected=protected)
        self.locked(lambda: stack.up(on_event=events, target=target, **OPTIONS), events)
        return result_of(events)

    @contextlib.contextmanager
    def unprotected(self, going: Collection[str], *, replaced: Collection[str] = ()) -> Iterator[None]:
        """Protection is lifted from ``going`` (URNs), and put back, as far as they are there still; see protection.py.

        Whoever is killed in between leaves marks beside the state: nothing is done to the stack until ``mend``.
        """
        if not going:
            yield
            return
        content = self.call(self.workspace.export)
        before = content["deployment"]
        self.refuse_pending(State(before, self.workspace.tags))
        after = lifted(before, going, replaced=replaced)
        self._tell(Progress(phase="unprotect"))
        try:
            self.call(lambda: self.workspace.mark(marks(before, after)))
            self.locked(lambda: self.workspace.replace_state({**content, "deployment": after}), recovering=True)
            yield
        finally:
            self._tell(Progress(phase="protect"))
            try:
                self.locked(self._protect, recovering=True)
            except EngineError as failure:
                failure.result = (failure.result or Result()).model_copy(update={"pending": tuple(sorted(going))})
                raise

    def _protect(self) -> None:
        """Protect again what the marks name, and take them back."""
        content = self.workspace.export()
        before = content.get("deployment") or {}
        after = restored(before, self.workspace.tags)
        if after != before:
            self.workspace.replace_state({**content, "deployment": after})
        self.workspace.unmark()

    def mend(self) -> tuple[set[str], set[str]]:
        """End what is pending in the state, and protect again what an operation died of that had lifted it.

        Returns the URNs of creations that were found, and of the others.
        """
        content = self.workspace.export()
        deployment = content.get("deployment") or {}
        state = State(deployment)
        found = recovery.find_all(state, self.program.finder())
        if state.pending:
            self.workspace.replace_state({**content, "deployment": recovery.mended(deployment, found)})
        self._protect()
        return set(found), {one.urn for one in state.pending if one.operation == "creating"} - set(found)

    def refuse_pending(self, state: State) -> None:
        """Refuse to build on what nobody knows; raises EngineError (RecoveryNeeded)."""
        pending = tuple(one.urn for one in state.pending) + state.lifted
        if pending:
            # Written down in the middle of an operation that goes on, they are its own.
            holders = listed(self._request)
            if holders and not all(one.gone for one in holders):
                raise StackLocked(self._request, holders)
            message = (
                f"An operation on stack {self._request.inputs.stack} died and nobody knows what came of "
                f"{', '.join(pending)}: it must be recovered first"
            )
            raise EngineError(Exit.TRANSIENT, "RecoveryNeeded", message, result=Result(pending=pending))

    def refuse_other(self, looked: Result) -> None:
        """Refuse anything but what was approved; raises EngineError (ChangedSinceApproval)."""
        if self._request.expected not in (None, looked.digest):
            message = (
                f"What would be done to stack {self._request.inputs.stack} is not what was approved: its spec, its "
                "program or its state changed since. Look at the new changes and approve those"
            )
            raise EngineError(Exit.POLICY, "ChangedSinceApproval", message, result=looked)

    def refuse_losses(self, looked: Result) -> None:
        """Refuse to lose data that nobody decided to lose; raises EngineError (DataProtected)."""
        losses = [one for one in looked.changes if one.data and one.destructive]
        if losses and not self._request.destroys_data:
            listed = ", ".join(f"{one.action} {one.address}" for one in losses)
            message = (
                f"Stack {self._request.inputs.stack} would lose data: {listed}. That happens only when the deletion "
                "of the data was decided; undo the change that asks for it, or keep the resources"
            )
            raise EngineError(Exit.POLICY, "DataProtected", message, result=looked)

    def locked(self, step: Callable[[], T], events: Events | None = None, *, recovering: bool = False) -> T:
        """Take a step that needs the stack's lock. One whose owner is proven gone is taken away, once."""
        try:
            return self.call(step, events)
        except StackLocked as locked:
            if not locked.gone or self._stack is None:
                raise
            self._tell(Progress(phase="unlock", resource=locked.failed.holder or ""))
            self.call(self._stack.cancel)
        if not recovering:
            self.refuse_pending(self.state())
        return self.call(step, events)

    def call(self, step: Callable[[], T], events: Events | None = None) -> T:
        """Take a step; raises EngineError with what its failure means."""
        try:
            return step()
        except ConcurrentUpdateError as error:
            raise StackLocked(self._request, owners(str(error))) from error
        except CommandError as error:
            raise self._failure(str(error), events) from error
        except RuntimeError as error:
            # The SDK's own, when the events that it waits for never came.
            if "summary event" not in str(error):
                raise
            message = f"Pulumi's {self._request.kind} of stack {self._request.inputs.stack} did not say what it found"
            raise EngineError(Exit.TRANSIENT, "EventsLost", message) from error

    def _failure(self, text: str, events: Events | None) -> EngineError:
        """What a failed command comes to, with what it had done until then."""
        if self.workspace.command.interrupted:
            message = f"Pulumi's {self._request.kind} of stack {self._request.inputs.stack} was stopped"
            failure = EngineError(Exit.TRANSIENT, "Interrupted", message)
        elif self.workspace.command.killed:
            message = f"Pulumi's CLI was killed in the {self._request.kind} of stack {self._request.inputs.stack}"
            failure = EngineError(Exit.TRANSIENT, "CliKilled", message)
        else:
            complaints = events.complaints if events is not None else []
            failed = events.failed if events is not None else set()
            failure = self.program.error() or classify(self._request, text, complaints, failed=failed)
        if events is not None:
            failure.result = result_of(events).model_copy(update={"pending": self._left_pending()})
        return failure

    def _left_pending(self) -> tuple[str, ...]:
        """What the failed run left in doubt, where the state can still be read."""
        try:
            return tuple(one.urn for one in self.workspace.state().pending)
        except (CommandError, EngineError):
            return ()


def result_of(events: Events) -> Result:
    """What a run did, or would do."""
    return Result(changes=events.changes, counts=dict(events.counts))
