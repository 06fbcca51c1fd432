"""Which operation of an engine a tenant needs next, if any. Pure: facts in, an answer out.

The order is fixed. One operation at a time; what a dead one left is mended first; nothing is started when what is
wanted is what was applied; what failed is tried again by what it failed of; and what needs a person's word is previewed
first and waits for an Approval that names exactly what the preview found. A try that follows such a word keeps to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from paybill.lifecycle.changes import Change

State = Literal["Waiting", "Running", "Succeeded", "Failed", "Lost"]
Kind = Literal["preview", "up", "refresh", "drift", "preview_destroy", "destroy", "outputs", "recover"]

TRANSIENT, USER, POLICY, CONFLICT = 60, 50, 40, 20
"""Exit codes of a worker (engines/operation.py) that this decides by."""
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)
PERSON_PAUSE = timedelta(minutes=15)
"""What only people can mend is tried again this seldom, should they have mended it elsewhere."""
LOOKS_ONLY: frozenset[Kind] = frozenset({"preview", "drift", "preview_destroy", "outputs"})
"""Operations of whose death nothing follows."""
READ_CALM = 2 * LONGEST_PAUSE
"""What was not read for so long is read at once."""
ASIDE: frozenset[Kind] = frozenset({"drift", "preview_destroy", "outputs"})
"""Operations that say nothing of what is to be done next."""
HALTED = "Halted"
"""Why an ``up`` was refused that would have taken something away while the installation is halted."""
PREVIEW_LASTS = timedelta(hours=24)
"""A preview this old says nothing about today."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is known of one operation."""

    id: str
    kind: Kind
    state: State
    inputs_digest: str
    expected: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None
    changes: tuple[Change, ...] = ()
    changes_digest: str | None = None
    attempt: int = 1
    """How often it was tried since something of these inputs last went well, this time among them."""
    queued_time: datetime
    ended_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything the decision rests on."""

    wanted: str
    """The digest of the program and inputs that should be applied."""
    applied: str | None
    """That of what was applied last."""
    recovery_due: bool = False
    """Whether something is left half made."""
    last: Operation | None = None
    """The newest operation that is not ``ASIDE``."""
    approval_required: bool = False
    """Whether any change of this tenant's infrastructure needs a person."""
    approved: Collection[str] = field(default_factory=frozenset)
    """Digests of changes that valid Approvals name."""


@dataclass(frozen=True)
class Nothing:
    """What is wanted is there."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Start an operation. ``expected``: only if what it would do has this digest."""

    kind: Kind
    expected: str | None = None
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Wait:
    """It goes on by itself, or at ``until``."""

    reason: str
    message: str
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A person must act; ``until`` is when it is tried again all the same."""

    reason: str
    message: str
    until: datetime | None = None


Next = Nothing | Run | Wait | Ask


def decide(facts: Facts, now: datetime) -> Next:
    """The next thing to do for one stack."""
    last = facts.last
    looking = last is not None and last.state in ("Waiting", "Running") and last.kind in LOOKS_ONLY
    if looking and facts.applied == facts.wanted and not facts.recovery_due:
        return Nothing()  # somebody only wants to see what would be done
    if (first := _first(last, now, recovery_due=facts.recovery_due)) is not None:
        return first
    if facts.applied == facts.wanted:
        return Nothing()
    if last is not None and last.inputs_digest == facts.wanted:
        return _after(facts, last, now)
    return _afresh(facts)


def dismantle(last: Operation | None, now: datetime, *, recovery_due: bool = False) -> Run | Wait | Ask:
    """The next thing to do for a stack that must go."""
    if (first := _first(last, now, recovery_due=recovery_due)) is not None:
        return first
    if last is not None and last.kind == "destroy":
        return _again(Run(kind="destroy"), last, now)
    return Run(kind="destroy", attempt=last.attempt if last is not None and last.kind == "recover" else 1)


def read_again(last: Operation | None, now: datetime) -> Run | Wait:
    """When what a stack hands over is read again, since its server refuses it; ``last``: the last time it was read."""
    if last is None:
        return Run(kind="outputs")
    if last.ended_time is None:
        return Wait(reason="OperationRunning", message=f"operation {last.id} reads it")
    until = last.ended_time + pause(last)
    if now < until:
        return Wait(reason="OperationRunning", message=f"operation {last.id} has read it", until=until)
    return Run(kind="outputs", attempt=last.attempt + 1 if now < last.ended_time + READ_CALM else 1)


def may_destroy_data(kind: Kind, *, approved: bool, retain: bool, going: bool = False) -> bool:
    """Whether an operation may take away what holds a customer's data.

    Only where a person allowed exactly these changes, or where the tenant itself goes and its policy keeps nothing: a
    change of what a living tenant has never may by itself, whatever its policy for its end. What a destruction that
    died has left is mended (``going``: the tenant is being destroyed) though data is gone by then.
    """
    return approved or (not retain and (kind == "destroy" or (kind == "recover" and going)))


def _first(last: Operation | None, now: datetime, *, recovery_due: bool) -> Run | Wait | Ask | None:
    """What comes before everything else: the end of the operation that there is, and the mending of a dead one."""
    if last is not None and last.state in ("Waiting", "Running"):
        what = "waits for a place" if last.state == "Waiting" else "runs"
        return Wait(reason="OperationRunning", message=f"operation {last.id} ({last.kind}) {what}")
    lost = last is not None and last.state == "Lost" and last.kind not in LOOKS_ONLY
    return _again(Run(kind="recover"), last, now) if lost or recovery_due else None


def _afresh(facts: Facts) -> Run:
    return Run(kind="preview" if facts.approval_required else "up")


def _after(facts: Facts, last: Operation, now: datetime) -> Next:
    """The last operation was about the very same inputs."""
    if last.reason in ("ApprovalRequired", HALTED) or (last.kind == "preview" and last.state == "Succeeded"):
        return _found(facts, last, now)
    if last.state == "Succeeded":
        return replace(_afresh(facts), attempt=last.attempt)
    if last.reason == "ChangedSinceApproval":
        preview = Run(kind="preview", attempt=last.attempt + 1)
        # Twice in a row: an engine that says one thing and does another must not spin.
        return preview if last.attempt == 1 else _again(preview, last, now)
    return _again(_same(facts, last), last, now)


def _same(facts: Facts, last: Operation) -> Run:
    """What failed, once more; an ``up`` only within what a person allowed, where one must."""
    if last.kind != "up":
        return Run(kind=last.kind)
    if last.expected in facts.approved:
        return Run(kind="up", expected=last.expected)
    return Run(kind="preview") if last.expected is not None else _afresh(facts)


def _found(facts: Facts, last: Operation, now: datetime) -> Next:
    """It is known what would be done: whether it may."""
    until = last.ended_time + PREVIEW_LASTS if last.ended_time is not None else None
    unnamed = last.kind != "preview" and last.changes_digest is None
    if unnamed or (until is not None and now >= until):
        return Run(kind="preview")
    up = Run(kind="up", expected=last.changes_digest, attempt=last.attempt)
    if last.changes_digest in facts.approved:
        return up
    harmless = not last.changes or not (facts.approval_required or any(map(_grave, last.changes)))
    if (last.kind == "preview" or last.reason == HALTED) and harmless:
        return up
    return Ask(
        reason="ApprovalRequired",
        message=f"{summary(last.changes)}: look at it with `paybill preview`, allow it with `paybill approve` "
        f"(digest {last.changes_digest})",
        until=until,
    )


def _again(run: Run, last: Operation | None, now: datetime) -> Run | Wait | Ask:
    """Try once more, now or when the pause that fits the failure is over."""
    if last is None or last.ended_time is None or last.state != "Failed":
        return run
    again = replace(run, attempt=last.attempt + 1)
    until = last.ended_time + pause(last)
    if now >= until:
        return again
    reason, message = last.reason or "OperationFailed", last.message or f"operation {last.id} failed"
    if _for_people(last):
        return Ask(reason=reason, message=message, until=until)
    return Wait(reason=reason, message=message, until=until)


def pause(last: Operation) -> timedelta:
    """How long to wait after a failed operation."""
    if _for_people(last):
        return PERSON_PAUSE
    doubled: timedelta = FIRST_PAUSE * (1 << min(last.attempt - 1, 10))
    return min(doubled, LONGEST_PAUSE)


def _for_people(last: Operation) -> bool:
    """Whether trying again mends nothing unless somebody did something."""
    return (last.exit_code in (USER, POLICY) and last.reason != "ChangedSinceApproval") or last.reason == "Cancelled"


def _grave(change: Change) -> bool:
    return change.destructive and change.data


def summary(changes: Collection[Change]) -> str:
    """What would be done, in one line."""
    if not changes:
        return "nothing would change"
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.action] = counts.get(change.action, 0) + 1
    parts = [
        f"{counts[action]} to {action}" for action in ("create", "update", "replace", "delete") if action in counts
    ]
    grave = sorted(change.address for change in changes if _grave(change))
    told = f" ({'; '.join(grave[:3])} hold data)" if grave else ""
    return ", ".join(parts) + told
