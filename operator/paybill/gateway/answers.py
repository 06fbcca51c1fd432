"""What an agent is told: rows with strangers' text marked as such, and failures in one shape that give nothing away.

A message of Postgres quotes values, names constraints and carries whole statements, so none is passed on: its SQLSTATE
chooses one of the words below.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

MOST_PROBLEMS: Final = 5
"""Mistakes of one call that are named."""
LONGEST_PLACE: Final = 120
"""Characters of the place of a mistake: it may be a word of the agent's own."""
LARGEST: Final = 256 * 1024
"""Bytes of one answer."""


@dataclass(frozen=True)
class Problem:
    """A failure as an agent sees it; ``again``: whether the same call may succeed later."""

    code: str
    message: str
    again: bool = False


NOT_THERE: Final = Problem("UnknownTool", "There is no such tool.")
MISTAKEN: Final = Problem("InvalidArguments", "The arguments are not what the tool's schema says.")
NO_RUN: Final = Problem("NoOpenRun", "This run is not open: it ended, its time is over, or it is not yours.")
NOT_GRANTED: Final = Problem("NotGranted", "This run may not do this.")
NOT_NEXT: Final = Problem("NotNext", "This is not what comes next in this run: `next` says what is.")
USED_UP: Final = Problem("BudgetUsedUp", "The budget of the run, or of the day, does not allow this.")
TOO_MANY: Final = Problem("TooManyCalls", "Too many calls in this minute.", again=True)
MISSING: Final = Problem("NoSuchRow", "There is no such row, or it was changed since it was read.")
OTHER_REQUEST: Final = Problem("KeyUsedBefore", "This idempotencyKey stands for another request of this run.")
REFUSED: Final = Problem("Refused", "The database does not take this.")
TOO_LARGE: Final = Problem("AnswerTooLarge", "The answer is too large: ask for fewer rows.")
AWAY: Final = Problem(
    "Unavailable", "The database does not answer: ask again with the same idempotencyKey.", again=True
)
BUSY: Final = Problem("Busy", "Too many calls at once.", again=True)
SLOW: Final = Problem("TooSlow", "This took longer than the policy allows.")

_STATES: Final[Mapping[str, Problem]] = {
    "PA001": NO_RUN, "PA002": NOT_GRANTED, "PA003": USED_UP, "PA004": TOO_MANY, "PA005": OTHER_REQUEST,
    "PA006": MISTAKEN, "PA007": MISSING, "PA008": OTHER_REQUEST, "57014": SLOW, "40001": AWAY, "40P01": AWAY,
    "55P03": AWAY,
}  # fmt: skip
_CLASSES: Final[Mapping[str, Problem]] = {"08": AWAY, "22": MISTAKEN, "53": AWAY, "57": AWAY}


_MADE_OF: Final = {"group": "groupBy", "value": "field"}
"""The argument of an aggregate that names the column which a part of a group is made of."""


def of_state(sqlstate: str | None) -> Problem:
    """The problem of an error of Postgres; without a state it is the connection that was lost."""
    if not sqlstate:
        return AWAY
    return _STATES.get(sqlstate) or _CLASSES.get(sqlstate[:2]) or REFUSED


def told(
    problem: Problem, problems: Collection[Mapping[str, str]] = (), following: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The one shape of every failure; ``following`` is what comes next instead."""
    error: dict[str, Any] = {"code": problem.code, "message": problem.message, "retry": problem.again}
    if following is not None:
        error["next"] = dict(following)
    if problems:
        error["problems"] = list(problems)
    return {"error": error}


def mistakes(error: ValidationError) -> list[dict[str, str]]:
    """Where the arguments are wrong and how, without a value: only words of the tool's schema and of the agent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_PROBLEMS]
    return [{"at": ".".join(map(str, one["loc"]))[:LONGEST_PLACE], "problem": str(one["type"])} for one in found]


def marked(row: Mapping[str, Any], untrusted: Collection[str]) -> dict[str, Any]:
    """The row with every text of a stranger wrapped, so that it cannot be taken for anything else."""
    return {
        name: {"untrusted": value} if name in untrusted and value is not None else value for name, value in row.items()
    }


def groups(
    found: Iterable[Mapping[str, Any]], said: Mapping[str, Any], untrusted: Collection[str]
) -> list[dict[str, Any]]:
    """The groups of an aggregate: what names one, and the least of a text, are strangers' words as in a row."""
    strangers = {part for part, argument in _MADE_OF.items() if said.get(argument) in untrusted}
    return [marked(group, strangers) for group in found]


def text(content: Mapping[str, Any]) -> str:
    """The same bytes for the same content."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
