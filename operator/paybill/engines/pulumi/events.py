"""What the engine of Pulumi says while it works, as changes, counts and complaints; never a value of a resource.

Events come in a thread of their own and in any order; the SDK swallows what a handler raises, so nothing here does.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pulumi.automation.events import DiagnosticEvent, EngineEvent, OpType, StepEventMetadata

from paybill.desired.stack import Action, Change
from paybill.engines.operation import Progress
from paybill.engines.port import Tell
from paybill.engines.pulumi.holding import holds_data

STACK_TYPE = "pulumi:pulumi:Stack"

_ACTIONS: Mapping[OpType, Action] = MappingProxyType(
    {
        OpType.CREATE: "create",
        OpType.IMPORT: "create",
        OpType.UPDATE: "update",
        OpType.DELETE: "delete",
        OpType.REPLACE: "replace",
        OpType.CREATE_REPLACEMENT: "replace",
        OpType.DELETE_REPLACED: "replace",
        OpType.IMPORT_REPLACEMENT: "replace",
    }
)
"""Steps that change something. A replacement is three steps; the others (same, read, refresh) change nothing."""

_STEPS = frozenset(one.value for one in OpType)


@dataclass(frozen=True)
class Complaint:
    """An error that the engine reported."""

    message: str
    urn: str = ""


class Events:
    """Listens to one run.

    ``looking``: it is a preview, in which nothing is carried out. ``protected``: URNs that were protected before it.
    """

    def __init__(self, tell: Tell, phase: str, *, looking: bool, protected: Collection[str] = ()) -> None:
        self._tell = tell
        self._phase = phase
        self._looking = looking
        self._protected = protected
        self._lock = threading.Lock()
        self._changes: dict[tuple[str, Action], Change] = {}
        self.counts: Counter[str] = Counter()
        """Resources by what was done, ``same`` among them."""
        self.complaints: list[Complaint] = []
        self.failed: set[str] = set()
        """URNs of resources at which an operation failed."""

    def __call__(self, event: EngineEvent) -> None:
        """Take one event."""
        if event.resource_pre_event is not None:
            self._begun(event.resource_pre_event.metadata)
        elif event.res_outputs_event is not None:
            self._done(event.res_outputs_event.metadata)
        elif event.res_op_failed_event is not None:
            self.failed.add(event.res_op_failed_event.metadata.urn)
        elif event.diagnostic_event is not None:
            self._said(event.diagnostic_event)
        elif event.summary_event is not None:
            self._summed_up(
                {
                    str(getattr(step, "value", step)): count
                    for step, count in event.summary_event.resource_changes.items()
                }
            )

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was done, or in a preview would be, by address."""
        with self._lock:
            return tuple(sorted(self._changes.values(), key=lambda one: (one.address, one.action)))

    def _begun(self, step: StepEventMetadata) -> None:
        action = _ACTIONS.get(step.op)
        if action is None or step.type == STACK_TYPE:
            return
        self._tell(Progress(phase=self._phase, resource=step.urn, action=action))
        if self._looking:
            self._keep(step, action)

    def _done(self, step: StepEventMetadata) -> None:
        """A step that succeeded. Of a refresh only this event says what was found."""
        action = _ACTIONS.get(step.op)
        if action is not None and step.type != STACK_TYPE:
            self._keep(step, action)

    def _keep(self, step: StepEventMetadata, action: Action) -> None:
        change = Change(
            action=action,
            address=step.urn,
            type=step.type,
            fields=_fields(step),
            data=holds_data(step.type, protected=self._is_protected(step)),
        )
        with self._lock:
            known = self._changes.get((step.urn, action))
            # Of the steps of a replacement only some say which fields are the reason.
            if known is None or len(change.fields) > len(known.fields):
                self._changes[step.urn, action] = change

    def _is_protected(self, step: StepEventMetadata) -> bool:
        return step.urn in self._protected or any(one.protect for one in (step.old, step.new) if one is not None)

    def _said(self, diagnostic: DiagnosticEvent) -> None:
        if diagnostic.severity == "error":
            self.complaints.append(Complaint(message=diagnostic.message.strip(), urn=diagnostic.urn or ""))

    def _summed_up(self, counts: Mapping[str, int]) -> None:
        for step, count in counts.items():
            known = _ACTIONS.get(OpType(step)) if step in _STEPS else None
            self.counts[known or step] += count


def _fields(step: StepEventMetadata) -> tuple[str, ...]:
    """The paths that differ; of providers that do not say so, the fields whose inputs are others."""
    told = step.detailed_diff or step.diffs or step.keys
    if not told and step.old is not None and step.new is not None:
        old, new = step.old.inputs or {}, step.new.inputs or {}
        told = [name for name in {*old, *new} if old.get(name) != new.get(name) and not name.startswith("__")]
    return tuple(sorted(told or ()))
