"""What a move does next, and which moves there are.

A move is a row of steps. Each is done over from its beginning when it was cut short, so what is kept is only which one
is the next; that the tenant is at the target is told by the registry alone, whose write is the switch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Mode = Literal["Online", "Offline"]
"""Online: copied while the tenant writes. Offline: copied while its logins are closed."""
Step = Literal["Prepare", "Copy", "Cutover", "Keep"]
Act = Literal["Prepare", "Follow", "Cutover", "Keep", "Retire", "Discard", "GiveUp"]
Copying = Literal["Runs", "Done", "Lost"]
"""Of a copy by this process: it goes on; all is there; whoever copied has ended, and nothing of it can be used."""

CARRIED_OUT = frozenset(
    (level, to_level)
    for level in ("Schema", "Database", "Server")
    for to_level in ("Schema", "Database", "Server")
    if (level, to_level) != ("Server", "Server")
) | {("Rows", "Database"), ("Rows", "Schema"), ("Schema", "Rows")}
"""The ways, by database level, that this version goes; the two of one level lead to another server."""
ATTEMPTS = 6
"""After so many that failed a move is left to a person."""
AT_ONCE = 2
"""Moves before their switch that one server takes part in at a time; each holds back its log and copies its tables."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a move.

    ``switched``: the registry says that the tenant is at the target. ``stop``: why it must not go on, if so.
    ``copying``: how a copy by the operator stands, None while changes are replicated. ``near``: the target has all but
    the last changes. ``broken``: why the copy cannot go on. ``attempt`` counts from 1, ``step_time`` is when the step
    was entered.
    """

    step: Step
    mode: Mode | None
    switched: bool
    retired: bool
    stop: str | None
    copying: Copying | None
    near: bool
    broken: str
    attempt: int
    step_time: datetime
    again: bool
    """Another move of this tenant is wanted."""
    keep_until: datetime | None
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Do:
    """Something is to be done now."""

    act: Act
    because: str = ""


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """It was tried often enough: each attempt costs the tenant a pause, so a person has to look."""


@dataclass(frozen=True, kw_only=True)
class Rest:
    """Nothing to do before ``until`` (None: look again within seconds)."""

    until: datetime | None = None


_COPYING: dict[Copying, Do | Rest] = {
    "Runs": Rest(),
    "Done": Do(act="Follow"),
    # The operator was ended, as every update ends it: that is no attempt that failed.
    "Lost": Do(act="Prepare"),
}


def pause(attempt: int) -> timedelta:
    """How long is waited before an attempt: not at all before the first one."""
    return timedelta(seconds=min(600, 5 * 2 ** (attempt - 2))) if attempt > 1 else timedelta()


def decide(facts: Facts) -> Do | Rest | Stuck:
    """The next thing to do."""
    if facts.switched:
        return _after(facts)
    if facts.stop is not None:
        return Do(act="GiveUp", because=facts.stop)
    if facts.step == "Cutover":  # cut short: whoever was shut out must not wait
        return Do(act="Cutover")
    if facts.attempt > ATTEMPTS:
        return Stuck()
    after = facts.step_time + pause(facts.attempt)
    if facts.now < after:
        return Rest(until=after)
    match facts.step:
        case "Prepare":
            return Do(act="Prepare")
        case "Copy" if facts.broken:
            return Do(act="Prepare", because=facts.broken)
        case "Copy" if facts.copying is not None and facts.mode == "Online":
            return _COPYING[facts.copying]
        case "Copy":
            # Offline there is nothing to copy before nobody writes any more.
            return Do(act="Cutover") if facts.near or facts.mode == "Offline" else Rest()
        case _:
            return Do(act="GiveUp", because="the registry has the tenant elsewhere")


def _after(facts: Facts) -> Do | Rest:
    if facts.step != "Keep":
        return Do(act="Keep")
    if not facts.retired:
        return Do(act="Retire")
    due = facts.keep_until is None or facts.keep_until <= facts.now
    return Do(act="Discard") if due or facts.again else Rest(until=facts.keep_until)


def refusal(has: tuple[str, str], wants: tuple[str, str]) -> str | None:
    """Why there is no move from one isolation (compute, database level) to another; None when there is."""
    (compute, level), (to_compute, to_level) = has, wants
    if compute != to_compute:
        return f"compute cannot go from {compute} to {to_compute}: that is no move of data; make a new Tenant"
    if (level, to_level) in CARRIED_OUT:
        return None
    if level == to_level:
        why = "made by its stack" if level == "Server" else "numbered by their server"
        return f"nobody moves from {level} to {to_level}: what a tenant has there is {why}, and stays where that is"
    by = "Schema" if to_level == "Rows" else "Database"
    return f"nobody moves from {level} to {to_level} at once. The way is {level} to {by} and then to {to_level}"
