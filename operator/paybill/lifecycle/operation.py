"""Which operation of an engine a tenant needs next, if any. Pure: facts in, an answer out.

The order is fixed. One operation at a time; what a dead one left is mended first; nothing is started when what is
wanted is what was applied; what failed is tried again by what it failed of; and what needs a person's word is previewed
first and waits for an Approval that names exactly what the preview found.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from paybill.desired.stack import Change

State = Literal["Waiting", "Running", "Succeeded", "Failed", "Lost"]
Kind = Literal["preview", "up", "refresh", "drift", "destroy", "outputs", "recover"]

TRANSIENT, USER, POLICY, CONFLICT = 60, 50, 40, 20
"""Exit codes of a worker (engines/operation.py) that this decides by."""
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)
PERSON_PAUSE = timedelta(minutes=15)
"""What only people can mend is tried again this seldom, should they have mended it elsewhere."""
PREVIEW_LASTS = timedelta(hours=24)
"""A preview this old says nothing about today."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is known of one operation."""

    id: str
    kind: Kind
    state: State
    inputs_digest: str
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None
    changes: tuple[Change, ...] = ()
    changes_digest: str | None = None
    attempt: int = 1
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
    """The newest operation that is not a drift check."""
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
    if last is not None and last.state in ("Waiting", "Running"):
        what = "waits for a place" if last.state == "Waiting" else "runs"
        return Wait(reason="OperationRunning", message=f"operation {last.id} ({last.kind}) {what}")
    if (last is not None and last.state == "Lost" and last.kind != "recover") or facts.recovery_due:
        return _again(Run(kind="recover"), last, now)
    if facts.applied == facts.wanted:
        return Nothing()
    if last is not None and last.inputs_digest == facts.wanted:
        return _after(facts, last, now)
    return Run(kind="preview" if facts.approval_required else "up")


def _after(facts: Facts, last: Operation, now: datetime) -> Next:
    """The last operation was about the very same inputs."""
    if last.state == "Failed" and last.reason != "ApprovalRequired":
        kind: Kind = "preview" if last.reason == "ChangedSinceApproval" else last.kind
        run = Run(kind=kind)
        return run if last.reason == "ChangedSinceApproval" else _again(run, last, now)
    asks = last.kind == "preview" or last.reason == "ApprovalRequired"
    if not asks:
        return Run(kind="preview" if facts.approval_required else "up")
    if last.ended_time is not None and now - last.ended_time > PREVIEW_LASTS:
        return Run(kind="preview")
    if last.changes_digest is not None and last.changes_digest in facts.approved:
        return Run(kind="up", expected=last.changes_digest)
    if last.kind == "preview" and not facts.approval_required and not any(_grave(one) for one in last.changes):
        return Run(kind="up", expected=last.changes_digest)
    return Ask(
        reason="ApprovalRequired",
        message=f"{summary(last.changes)}: look at it with `paybill preview`, allow it with `paybill approve` "
        f"(digest {last.changes_digest})",
        until=last.ended_time + PREVIEW_LASTS if last.ended_time is not None else None,
    )


def _again(run: Run, last: Operation | None, now: datetime) -> Next:
    """Try once more, now or when the pause that fits the failure is over."""
    if last is None or last.ended_time is None or last.state != "Failed":
        return run
    again = Run(kind=run.kind, expected=run.expected, attempt=last.attempt + 1)
    until = last.ended_time + pause(last)
    if now >= until:
        return again
    reason, message = last.reason or "OperationFailed", last.message or f"operation {last.id} failed"
    if last.exit_code in (USER, POLICY) or reason == "Cancelled":
        return Ask(reason=reason, message=message, until=until)
    return Wait(reason=reason, message=message, until=until)


def pause(last: Operation) -> timedelta:
    """How long to wait after a failed operation."""
    if last.exit_code in (USER, POLICY) or last.reason == "Cancelled":
        return PERSON_PAUSE
    doubled: timedelta = FIRST_PAUSE * (1 << min(last.attempt - 1, 10))
    return min(doubled, LONGEST_PAUSE)


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
