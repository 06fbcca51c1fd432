"""What comes next in a run: a function of the workflow, the input and what the journal says, and of nothing else.

So a run that was cut off goes on where it was, a finished one can be played again and must come to the same calls, and
whoever changes one answer finds the first place where the two part. Time comes in with the moment that is asked about.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from paybill.api import duration
from paybill.api.agent_workflow import AgentWorkflowSpec, Compensation, Step, When
from paybill.api.canonical import digest, text
from paybill.api.failures import Invalid

Values = Mapping[str, Any]
Ending = Literal["Succeeded", "Failed", "Denied", "Expired"]

RETRYABLE: Final = ("40001", "40P01")
"""SQLSTATEs of a transaction that nothing is left of."""
ATTEMPTS: Final = 3
"""How often such a call is made."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened in a run, in its order; ``digest`` is of the call that was made or approved."""

    kind: Literal["call", "decision", "approval", "compensation", "expired"]
    step: str
    digest: str = ""
    values: Values = field(default_factory=dict)
    """The first row of a call's answer, or what was decided."""
    error: str = ""
    """The SQLSTATE or word of a call that failed, or of an approval that was denied."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """Make this call; ``digest`` names it exactly, ``key`` makes it happen once."""

    step: str
    uses: str
    arguments: Values
    digest: str
    key: str
    compensates: bool = False


@dataclass(frozen=True, kw_only=True)
class Await:
    """Wait for the agent's decision, or for a person's approval of the call with this digest."""

    step: str
    of: Literal["decision", "approval"]
    digest: str = ""
    entered: int = field(default=1, compare=False)
    """The how-manyth time it is that the run is at this step."""
    call: Call | None = field(default=None, compare=False)
    """The call that waits for an approval."""


@dataclass(frozen=True, kw_only=True)
class Expire:
    """Write down that the deadline passed: the clock is read once, so playing the run again needs none."""

    step: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """The run is over."""

    ending: Ending
    step: str
    reason: str = ""


Next = Call | Await | Expire | Done


@dataclass(frozen=True)
class Run:
    """A run: its workflow and what it was begun with."""

    workflow: AgentWorkflowSpec
    input: Values
    opened: datetime


def following(run: Run, events: Sequence[Event], now: datetime) -> Next:
    """What comes after ``events``.

    Raises ``Invalid("JournalDiverges")`` when they are not what this workflow comes to with this input.
    """
    return _Play(run, events, now).next()


def parted(run: Run, events: Sequence[Event], now: datetime) -> int | None:
    """The place of the first event that the workflow does not come to; None when it comes to all of them."""
    for place in range(len(events) + 1):
        try:
            following(run, events[:place], now)
        except Invalid:
            return place - 1
    return None


class _Play:
    """One walk through the events."""

    def __init__(self, run: Run, events: Sequence[Event], now: datetime) -> None:
        self.run, self.events, self.now = run, events, now
        self.steps = {step.name: step for step in run.workflow.steps}
        self.outputs: dict[str, Values] = {}
        self.entered: Counter[str] = Counter()
        self.undo: list[Call] = []
        self.place = 0

    def next(self) -> Next:
        workflow = self.run.workflow
        step: Step | None = self.steps[workflow.initial]
        last, approved = workflow.initial, ""
        while step is not None:
            last = step.name
            self.entered[last] += 1
            if self.entered.total() > workflow.limits.max_steps or self.entered[last] > step.max_calls:
                return self.fail(last, "Failed", "StepsUsedUp")
            match step.uses:
                case "decide":
                    stopped, approved = self.decide(step), ""
                case "approve":
                    stopped = self.approve(step)
                    approved = self.events[self.place - 1].digest if stopped is None else ""
                case _:
                    stopped = self.call(step, approved)
                    approved = ""
            if stopped is not None:
                return stopped
            step = self.onward(step)
        self.nothing_more()
        return Done(ending="Succeeded", step=last)

    def call(self, step: Step, approved: str) -> Next | None:
        wanted = self.wanted(step)
        if approved and approved != wanted.digest:
            return self.fail(step.name, "Denied", "ApprovedOtherwise")
        for attempt in range(1, ATTEMPTS + 1):
            if (late := self.late(step.name)) is not None:
                return late
            event = self.take("call", step.name, wanted.digest)
            if event is None:
                return wanted
            if not event.error:
                self.outputs[step.name] = event.values
                if step.compensate is not None:
                    # Made now: a step that is done twice is undone twice, each time as it was done.
                    self.undo.append(self.made(step, step.compensate))
                return None
            if event.error not in RETRYABLE or attempt == ATTEMPTS:
                return self.fail(step.name, "Failed", event.error)
        raise AssertionError("a call ends in one of its attempts")

    def decide(self, step: Step) -> Next | None:
        if (late := self.late(step.name)) is not None:
            return late
        event = self.take("decision", step.name, "")
        if event is None:
            return Await(step=step.name, of="decision")
        said, out = event.values, step.out or {}
        if set(said) != set(out) or any(said[name] not in allowed for name, allowed in out.items()):
            return self.fail(step.name, "Failed", "DecisionNotAllowed")
        self.outputs[step.name] = said
        return None

    def approve(self, step: Step) -> Next | None:
        wanted = self.wanted(self.steps[step.next[0].to])
        if (late := self.late(step.name)) is not None:
            return late
        event = self.take("approval", step.name, wanted.digest)
        if event is None:
            entered = self.entered[step.name]
            return Await(step=step.name, of="approval", digest=wanted.digest, entered=entered, call=wanted)
        return self.fail(step.name, "Denied", event.error) if event.error else None

    def fail(self, step: str, ending: Ending, reason: str) -> Next:
        """Undo what was done, the last first, where the workflow says so; what cannot be undone is left and named."""
        left = ""
        for wanted in reversed(self.undo if self.run.workflow.on_failure == "Compensate" else []):
            event = self.take("compensation", wanted.step, wanted.digest)
            if event is None:
                return wanted
            left = left or (wanted.step if event.error else "")
        self.nothing_more()
        return Done(ending=ending, step=step, reason=f"{reason}, and {left} was not undone" if left else reason)

    def wanted(self, step: Step) -> Call:
        return self.made(step, None)

    def made(self, step: Step, compensation: Compensation | None) -> Call:
        uses, given = (step.uses, step.with_) if compensation is None else (compensation.uses, compensation.with_)
        arguments = {name: self.value(expression) for name, expression in sorted(given.items())}
        content = {
            "workflow": self.run.workflow.revision, "step": step.name, "uses": uses, "arguments": exact(arguments),
        }  # fmt: skip
        key = f"{step.name}-{self.entered[step.name]}"
        if step.idempotency_key is not None and (said := self.value(step.idempotency_key)) is not None:
            # Its hash: the journal keeps the key, and what it is made of may be a column's value of any length.
            key = digest({"key": text_of(said)})
        if compensation is not None:
            content["undoes"] = key
            key = f"undo-{key}"
        return Call(
            step=step.name, uses=uses, arguments=arguments, digest=digest(content), key=key,
            compensates=compensation is not None,
        )  # fmt: skip

    def value(self, expression: str) -> Any:
        if expression.startswith("$$"):
            return expression[1:]
        if (found := _INPUT.fullmatch(expression)) is not None:
            return self.run.input.get(found[1])
        if (found := _OUTPUT.fullmatch(expression)) is not None:
            return self.outputs.get(found[1], {}).get(found[2])
        return expression

    def onward(self, step: Step) -> Step | None:
        for transition in step.next:
            if transition.when is None or self.true(transition.when):
                return self.steps[transition.to]
        return None

    def true(self, when: When) -> bool:
        value = self.value(when.field)
        if when.op == "isNull":
            return value is None
        if value is None:
            return False
        if when.op == "in":
            return any(_same(value, one) for one in when.values or ())
        return _COMPARED[when.op](value, when.value or "")

    def take(self, kind: str, step: str, wanted: str) -> Event | None:
        """The next event, which must be of this kind, step and call; None when there is none yet."""
        if self.ended():
            return None
        event = self.events[self.place]
        if (event.kind, event.step, event.digest) != (kind, step, wanted):
            said = f"event {self.place} is a {event.kind} of {event.step}; the workflow comes to a {kind} of {step}"
            raise Invalid("JournalDiverges", said)
        self.place += 1
        return event

    def late(self, step: str) -> Next | None:
        """What comes of the deadline where something new would begin; None while there is time."""
        if not self.ended():
            event = self.events[self.place]
            if (event.kind, event.step) != ("expired", step):
                return None
            self.place += 1
            return self.fail(step, "Expired", "DeadlinePassed")
        over = self.now >= self.run.opened + duration.parse(self.run.workflow.limits.deadline)
        return Expire(step=step) if over else None

    def ended(self) -> bool:
        return self.place == len(self.events)

    def nothing_more(self) -> None:
        if not self.ended():
            raise Invalid("JournalDiverges", f"event {self.place} comes after the end of the run")


def exact(value: Any) -> Any:
    """The value with every number that is no integer as a text, because readers round it."""
    match value:
        case bool() | int() | str() | None:
            return value
        case Mapping():
            return {name: exact(one) for name, one in value.items()}
        case list() | tuple():
            return [exact(one) for one in value]
        case _:
            return format(Decimal(str(value)), "f")


def text_of(value: Any) -> str:
    """A value as a text: what a key is made of, and what is compared. The database makes the same (leading.sql)."""
    said = exact(value)
    return said if isinstance(said, str) else text(said)


def _same(value: Any, text: str) -> bool:
    said = text_of(value)
    return said == text or _number(said) == _number(text) is not None


def _number(text: str) -> Decimal | None:
    return Decimal(text) if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) else None


def _ordered(value: Any, text: str) -> int | None:
    """-1, 0 or 1 as the value is less, the same or more; None when the two have no order."""
    one, other = _number(text_of(value)), _number(text)
    if one is None or other is None:
        return None
    return (one > other) - (one < other)


_NUMBER: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_LONGEST_NUMBER: Final = 400
_INPUT: Final = re.compile(r"\$input\.([^.]+)")
_OUTPUT: Final = re.compile(r"\$steps\.([^.]+)\.([^.]+)")
_COMPARED: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "eq": _same,
    "ne": lambda value, text: not _same(value, text),
    "lt": lambda value, text: _ordered(value, text) == -1,
    "lte": lambda value, text: _ordered(value, text) in (-1, 0),
    "gt": lambda value, text: _ordered(value, text) == 1,
    "gte": lambda value, text: _ordered(value, text) in (0, 1),
    "startsWith": lambda value, text: text_of(value).startswith(text),
}
