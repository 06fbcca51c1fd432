"""A run played again from what is kept of it: whether it is what its workflow comes to, and what another would do.

The database led the run; here the interpreter goes the same way with the same answers, decisions and approvals. Nothing
is done. Each event is first held against its row of the journal, which is bound to it by a hash, so whoever alters what
is kept has to alter the journal too, and that is found by ``journal.verify``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paybill.agents.interpreter import Await, Call, Done, Event, Expire, Next, Run, exact, following, parted
from paybill.agents.journal import Entry
from paybill.agents.leading import Story, Told
from paybill.api.agent_policy import AgentPolicySpec, CollectionPolicy
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.canonical import digest
from paybill.api.failures import Invalid

CUT_SHORT = ("AgentRemoved", "Cancelled", "Deleted", "Expired", "PolicyChanged")
"""Why a run may be closed before its workflow ends."""


@dataclass(frozen=True)
class Parting:
    """A place where the two do not agree: ``seq`` is the row of the journal."""

    seq: int
    message: str


def differences(story: Story, journal: Sequence[Entry]) -> tuple[Parting, ...]:
    """Where the run is not what its journal and its workflow say, the first place first; empty: it is.

    ``journal`` is all of the run's entries in their order.
    """
    rows = {entry.seq: entry for entry in journal}
    found = [*_opened(story, journal), *_bound(story.told, rows), *_missing(story.told, journal)]
    place = parted(story.run, story.events, story.opened)
    if place is not None:
        told = story.told[place]
        wanted = _wanted(story.run, story.events[:place])
        found.append(Parting(told.seq, f"a {told.event.kind} of {told.event.step}; the workflow comes to {wanted}"))
    else:
        found += _ended(story, journal)
    return tuple(sorted(found, key=lambda one: one.seq))


def _opened(story: Story, journal: Sequence[Entry]) -> Iterator[Parting]:
    if not journal or journal[0].digest != story.workflow.revision:
        yield Parting(1, "it was opened for another workflow than the one that is kept")


def _bound(told: Sequence[Told], rows: dict[int, Entry]) -> Iterator[Parting]:
    for one in told:
        row = rows.get(one.seq)
        if row is None or (row.kind, row.step) != (one.event.kind, one.event.step):
            yield Parting(one.seq, f"the journal has no {one.event.kind} of {one.event.step} there")
        elif row.digest != _digest(one, row):
            said = f"what is kept of the {one.event.kind} of {one.event.step} is not what was written down"
            yield Parting(one.seq, said)


def _digest(told: Told, row: Entry) -> str | None:
    """What the journal's row must say, as ``pb.event`` makes it."""
    event = told.event
    match event.kind:
        case "decision":
            return digest(exact(event.values))
        case "approval":
            return event.digest if row.rows == (0 if event.error else 1) else None
        case "expired":
            return None
        case _:
            bound = {"effect": told.effect or None, "call": event.digest, "values": event.values, "error": event.error}
            return digest(exact(bound))


def _missing(told: Sequence[Told], journal: Sequence[Entry]) -> Iterator[Parting]:
    """A read that was answered once more has a row and is no event; everything else in the journal is one."""
    known = {one.seq for one in told}
    for row in journal:
        again = row.kind == "call" and row.operation in ("get", "list", "aggregate")
        if row.seq not in known and row.kind not in ("opened", "closed") and not again:
            yield Parting(row.seq, f"nothing is kept of the {row.kind} of {row.step}")


def _ended(story: Story, journal: Sequence[Entry]) -> Iterator[Parting]:
    last = journal[-1] if journal else None
    if last is None or last.kind != "closed" or last.digest in CUT_SHORT:
        return
    comes_to = following(story.run, story.events, story.opened)
    if not isinstance(comes_to, Done) or comes_to.ending != last.digest:
        yield Parting(last.seq, f"it was closed as {last.digest}; the workflow comes to {_said(comes_to)}")


def what_if(
    story: Story, workflow: AgentWorkflowSpec | None = None, policy: AgentPolicySpec | None = None
) -> tuple[Parting, ...]:
    """What of the run would be denied under another workflow or policy, with the same answers and decisions.

    It ends at the first event that the other workflow does not come to: what would have been done then, nobody knows.
    """
    run = dataclasses.replace(story.run, workflow=workflow or story.workflow)
    events: list[Event] = []
    found: list[Parting] = []
    for told in story.told:
        wanted, event = following(run, events, story.opened), told.event
        before = following(story.run, story.events[: len(events)], story.opened)
        if event.kind == "expired":
            wanted = Expire(step=wanted.step)
        if (_kind(wanted), wanted.step) != (event.kind, event.step):
            return (*found, Parting(told.seq, f"denied: the {event.kind} of {event.step}; {_said(wanted)} comes next"))
        if isinstance(wanted, Call) and isinstance(before, Call):
            if (wanted.uses, wanted.arguments) != (before.uses, before.arguments):
                said = f"denied: the {event.kind} of {event.step} as it was made: {wanted.uses} with other arguments"
                found.append(Parting(told.seq, said))
            if policy is not None and not _granted(policy, wanted.uses):
                found.append(Parting(told.seq, f"denied: the policy does not grant {wanted.uses}"))
        digested = wanted.digest if isinstance(wanted, Call | Await) else ""
        events.append(dataclasses.replace(event, digest=digested))
        try:
            following(run, events, story.opened)
        except Invalid as failure:
            return (*found, Parting(told.seq, f"denied: {failure.message}"))
    return tuple(found)


def _granted(policy: AgentPolicySpec, uses: str) -> bool:
    collection, _, operation = uses.rpartition(".")
    return any(_may(one, operation) for one in policy.collections if one.name == collection)


def _may(policy: CollectionPolicy, operation: str) -> bool:
    granted = {
        "get": policy.read, "list": policy.read, "aggregate": policy.aggregate, "create": policy.create,
        "update": policy.update, "delete": policy.delete,
    }  # fmt: skip
    return granted.get(operation) is not None


def _wanted(run: Run, events: Sequence[Event]) -> str:
    try:
        return _said(following(run, events, run.opened))
    except Invalid as failure:
        return failure.message


def _kind(wanted: Next) -> str:
    match wanted:
        case Call(compensates=compensates):
            return "compensation" if compensates else "call"
        case Await(of=of):
            return of
        case Expire():
            return "expired"
        case Done():
            return "end"


def _said(wanted: Next) -> str:
    if isinstance(wanted, Done):
        return f"its end, {wanted.ending}"
    kind = _kind(wanted)
    return f"{'an' if kind in ('approval', 'expired') else 'a'} {kind} of {wanted.step}"
