"""Whether a payment provider is to collect what it bills: not while the tenant that it bills for cannot be made.

"Cannot be made" is a tenant that was never Ready and whose reconciles end in what no retry mends (Stalled), for so long
since the first of them. Who paid for nothing is then not billed on; from the first moment of Ready on he is again. A
pause is told apart by a mark at the provider itself: one that somebody else made is never touched, and one of ours is
found again also when the control database has lost it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from paybill.lifecycle.contract import FOREVER, after
from paybill.lifecycle.provider import Status

COLLECTED = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE})
"""Statuses in which a provider collects, or will."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)

State = Literal["Pausing", "Paused", "Lifting", "Lifted"]
"""Of a pause of ours: about to be made, made, about to be taken back, taken back by somebody else."""
Deed = Literal["Pause", "Resume", "Unmark"]


class Collection(StrEnum):
    """How it stands at the provider. ``STALE``: collected, and our mark of a pause that was is still there."""

    RUNNING = "Running"
    OURS = "Ours"
    FOREIGN = "Foreign"
    STALE = "Stale"


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A pause of ours, as it is remembered; ``since``: when it first was seen that the tenant cannot be made.

    ``attempts``: requests of this state that were written down before they went out; ``due``: when the next one may;
    ``answer``: why the last one did nothing, in the provider's words.
    """

    subscription_uid: str
    provider_id: str
    state: State
    since: datetime
    due: datetime
    attempts: int = 0
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class Move:
    """What follows from how it stands: another state (None: nothing is remembered any more), or a deed."""

    state: State | None
    deed: Deed | None = None


def failed_since(
    before: datetime | None, *, stalled: bool, working: bool, ready: bool, now: datetime
) -> datetime | None:
    """Since when a tenant cannot be made; ``working``: its last reconcile ended in neither a failure nor a wait.

    A wait says nothing: an outage in between neither begins the time nor begins it anew.
    """
    if ready or working:
        return None
    return before or now if stalled else before


def pause_due(failed: datetime, patience: timedelta) -> datetime:
    """When collecting is to pause for a tenant that cannot be made."""
    return after(failed, patience)


def wanted(failed: datetime | None, patience: timedelta, status: Status, now: datetime) -> bool:
    """Whether collecting is to pause, where it is not paused yet."""
    return failed is not None and status in COLLECTED and FOREVER > pause_due(failed, patience) <= now


def begun(state: State | None, *, want: bool, ready: bool, failed: bool, known: Collection) -> State | None:
    """The state to be in, before the provider is asked; ``known``: what it last said.

    Nothing is lifted before Ready but what may never have been made, and nothing is made twice for one failure: who
    lifts it at the provider has decided that.
    """
    match state:
        case None if known is Collection.OURS:
            return "Lifting" if ready else "Paused"
        case None if known is Collection.STALE:
            return "Lifting"
        case None:
            return "Pausing" if want and known is not Collection.FOREIGN else None
        case "Pausing" if not failed:
            return "Lifting"
        case "Paused" if ready:
            return "Lifting"
        case "Lifted" if not failed:
            return None
        case _:
            return state


def follows(state: State, seen: Collection | None) -> Move:
    """What to do, once it is known how it stands (``seen`` None: the provider has no such subscription any more)."""
    match state, seen:
        case _, None:
            return Move(state=None)
        case "Pausing", Collection.RUNNING | Collection.STALE:
            return Move(state="Paused", deed="Pause")
        case "Pausing" | "Paused", Collection.OURS:
            return Move(state="Paused")
        case "Lifting", Collection.OURS:
            return Move(state=None, deed="Resume")
        case "Paused", Collection.RUNNING | Collection.STALE:
            return Move(state="Lifted")
        case "Lifting" | "Lifted", Collection.STALE:
            return Move(state=None if state == "Lifting" else "Lifted", deed="Unmark")
        case "Lifted", _:
            return Move(state="Lifted")
        case _:
            # Somebody else's pause, or nothing to lift.
            return Move(state=None)


def asks(state: State, known: Collection) -> bool:
    """Whether the provider has to be asked: not while what it last said is what is remembered."""
    return not (state == "Paused" and known is Collection.OURS) and not (
        state == "Lifted" and known is not Collection.STALE
    )


def mark(installation: str, subscription_uid: str) -> str:
    """What a pause of ours says at the provider: whose it is."""
    return f"{installation}/{subscription_uid}"


def request_key(pause: Pause, deed: Deed) -> str:
    """The idempotency key of one request: another one for each that was written down."""
    said = f"{pause.subscription_uid}/{pause.provider_id}/{pause.since.isoformat()}/{deed}/{pause.attempts}"
    return f"paybill-{hashlib.sha256(said.encode()).hexdigest()[:40]}"


def again_after(attempts: int) -> timedelta:
    """How long to wait after so many requests that did nothing."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * int(2 ** min(attempts, 10)))
