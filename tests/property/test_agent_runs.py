"""Runs of agents: whatever is answered, a run stays inside its workflow, ends, and is the same when played again."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.agents.interpreter import ATTEMPTS, Await, Call, Done, Event, Expire, Next, Run, following, parted
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Invalid

OPENED = datetime(2026, 11, 1, tzinfo=UTC)
LATER = OPENED + timedelta(hours=1)
REFUND = AgentWorkflowSpec.model_validate(
    {
        "input": {"orderId": "Integer"},
        "initial": "load",
        "onFailure": "Compensate",
        "limits": {"maxSteps": 12},
        "steps": [
            {"name": "load", "uses": "orders.get", "with": {"id": "$input.orderId"}, "next": [{"to": "judge"}],
             "maxCalls": 3},
            {"name": "judge", "uses": "decide", "out": {"verdict": ["refund", "again", "reject"]}, "maxCalls": 3,
             "next": [
                 {"to": "load", "when": {"field": "$steps.judge.verdict", "op": "eq", "value": "again"}},
                 {"to": "note", "when": {"field": "$steps.judge.verdict", "op": "in", "values": ["refund"]}},
             ]},
            {"name": "note", "uses": "comments.create", "with": {"order_id": "$input.orderId", "body": "$$5 back"},
             "compensate": {"uses": "comments.delete", "with": {"id": "$steps.note.id"}}, "next": [{"to": "ask"}]},
            {"name": "ask", "uses": "approve", "next": [{"to": "mark"}]},
            {"name": "mark", "uses": "orders.update", "idempotencyKey": "refund-of-one-order",
             "with": {"id": "$input.orderId", "status": "refund_requested", "ifMatch": "$steps.load.version"},
             "compensate": {"uses": "orders.update", "with": {"id": "$input.orderId", "status": "open"}},
             "next": [{"to": "tell"}]},
            {"name": "tell", "uses": "comments.create", "with": {"order_id": "$input.orderId", "body": "done"}},
        ],
    }
)  # fmt: skip
RUN = Run(REFUND, {"orderId": 7}, OPENED)
FLOWS = {
    "load": {"judge"}, "judge": {"load", "note"}, "note": {"ask"}, "ask": {"mark"}, "mark": {"tell"}, "tell": set(),
}  # fmt: skip

verdicts = st.sampled_from(["refund", "again", "reject", "refund", "refund everything"])
errors = st.sampled_from(["", "", "", "", "", "40001", "PA003"])


def answer(wanted: Next, data: st.DataObject) -> Event:
    match wanted:
        case Call(compensates=True):
            error = data.draw(st.sampled_from(["", "PA001"]))
            return Event(kind="compensation", step=wanted.step, digest=wanted.digest, error=error)
        case Call():
            values = {"id": data.draw(st.integers(1, 3)), "version": data.draw(st.integers(1, 3))}
            error = data.draw(errors)
            return Event(kind="call", step=wanted.step, digest=wanted.digest, values=values, error=error)
        case Await(of="decision"):
            return Event(kind="decision", step=wanted.step, values={"verdict": data.draw(verdicts)})
        case Await():
            error = data.draw(st.sampled_from(["", "", "Denied"]))
            return Event(kind="approval", step=wanted.step, digest=wanted.digest, error=error)
        case _:
            raise AssertionError(wanted)


def played(data: st.DataObject, run: Run = RUN) -> tuple[list[Event], list[Next], Done]:
    events: list[Event] = []
    asked: list[Next] = []
    for _ in range(200):
        wanted = following(run, events, OPENED)
        if isinstance(wanted, Done):
            return events, asked, wanted
        asked.append(wanted)
        events.append(answer(wanted, data))
    raise AssertionError("a run does not end")


@given(st.data())
def test_a_run_ends_and_only_goes_where_its_workflow_says(data: st.DataObject) -> None:
    events, asked, _ = played(data)
    forward = [event for event in events if event.kind != "compensation"]
    for before, after in pairwise(forward):
        retried = before.step == after.step and before.error == "40001"
        assert retried or after.step in FLOWS[before.step]
    entered = Counter(event.step for event in forward if event.error != "40001")
    limits = {step.name: step.max_calls for step in REFUND.steps}
    assert all(count <= limits[name] for name, count in entered.items())
    assert sum(entered.values()) <= REFUND.limits.max_steps
    assert len(asked) <= REFUND.limits.max_steps * ATTEMPTS + len(REFUND.steps)


@given(st.data())
def test_a_run_that_was_cut_off_anywhere_goes_on_with_the_very_same_call(data: st.DataObject) -> None:
    events, asked, done = played(data)
    for place, wanted in enumerate(asked):
        assert following(RUN, events[:place], OPENED) == wanted
    assert following(RUN, events, LATER) == done
    assert parted(RUN, events, LATER) is None


@given(st.data())
def test_what_needs_an_approval_is_done_only_as_it_was_approved(data: st.DataObject) -> None:
    events, _, _ = played(data)
    for place, event in enumerate(events):
        if event.kind == "call" and event.step == "mark" and events[place - 1].step != "mark":
            before = events[place - 1]
            assert (before.kind, before.error, before.digest) == ("approval", "", event.digest)


@given(st.data())
def test_what_was_done_is_undone_in_reverse_when_the_run_fails_and_not_otherwise(data: st.DataObject) -> None:
    events, _, done = played(data)
    made = [event.step for event in events if event.kind == "call" and not event.error]
    undone = [event.step for event in events if event.kind == "compensation"]
    if done.ending == "Succeeded":
        assert undone == []
    else:
        assert undone == [step for step in reversed(made) if step in ("note", "mark")]


@given(st.data())
def test_attack_36_an_altered_event_parts_from_the_workflow_there_or_later(data: st.DataObject) -> None:
    events, _, _ = played(data)
    place = data.draw(st.integers(0, len(events) - 1))
    other = Event(kind=events[place].kind, step=events[place].step, digest="sha256:forged", values=events[place].values)
    altered = [*events[:place], other, *events[place + 1 :]]
    assert parted(RUN, altered, LATER) == place
    with pytest.raises(Invalid, match="JournalDiverges"):
        following(RUN, altered, LATER)


def test_attack_36_an_altered_decision_parts_at_the_event_after_it() -> None:
    events = [
        Event(kind="call", step="load", digest=step_digest([]), values={"version": 1}),
        Event(kind="decision", step="judge", values={"verdict": "refund"}),
    ]
    events.append(Event(kind="call", step="note", digest=step_digest(events), values={"id": 1}))
    assert parted(RUN, events, OPENED) is None
    events[1] = Event(kind="decision", step="judge", values={"verdict": "reject"})
    assert parted(RUN, events, OPENED) == 2


def step_digest(events: list[Event]) -> str:
    wanted = following(RUN, events, OPENED)
    assert isinstance(wanted, Call)
    return wanted.digest


def test_attack_23_another_input_is_another_call_so_no_approval_of_it_fits() -> None:
    other = Run(REFUND, {"orderId": 8}, OPENED)
    one, two = following(RUN, [], OPENED), following(other, [], OPENED)
    assert isinstance(one, Call)
    assert isinstance(two, Call)
    assert one.digest != two.digest


@given(st.data())
def test_attack_40_past_its_deadline_nothing_more_is_begun_and_what_was_done_is_undone(data: st.DataObject) -> None:
    events, asked, _ = played(data)
    place = data.draw(st.integers(0, len(asked) - 1))
    late = events[:place]
    made = [event.step for event in late if event.kind == "call" and not event.error]
    wanted = following(RUN, late, LATER)
    if isinstance(wanted, Call):
        assert wanted.compensates, "it had failed before"
        return
    assert wanted == Expire(step=asked[place].step)
    late.append(Event(kind="expired", step=wanted.step))
    undone = []
    while isinstance(after := following(RUN, late, OPENED), Call):
        assert after.compensates
        undone.append(after.step)
        late.append(Event(kind="compensation", step=after.step, digest=after.digest))
    assert after == Done(ending="Expired", step=wanted.step, reason="DeadlinePassed")
    assert undone == [step for step in reversed(made) if step in ("note", "mark")]


def test_a_text_with_two_dollars_is_a_text_with_one() -> None:
    events = [
        Event(kind="call", step="load", digest=step_digest([]), values={"version": 1}),
        Event(kind="decision", step="judge", values={"verdict": "refund"}),
    ]
    wanted = following(RUN, events, OPENED)
    assert isinstance(wanted, Call)
    assert wanted.arguments == {"order_id": 7, "body": "$5 back"}
