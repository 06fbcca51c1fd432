"""Which operation comes next: one at a time, what died first, nothing grave without a person's word for just that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paybill.desired.stack import Change
from paybill.engines.operation import Exit
from paybill.lifecycle import operation
from paybill.lifecycle.operation import (
    Ask,
    Facts,
    Nothing,
    Operation,
    Run,
    Wait,
    decide,
    dismantle,
    may_destroy_data,
    pause,
    read_again,
    summary,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WANTED, OTHER = "sha256:wanted", "sha256:other"
FOUND = "sha256:found"
"""The digest of what a preview found."""
CREATE = Change(action="create", address="bucket", type="t", data=True)
SWAP = Change(action="replace", address="role", type="t")
LOSS = Change(action="replace", address="server", type="t", data=True)


def last(kind: str = "up", state: str = "Failed", **more: Any) -> Operation:
    """The newest operation; about the wanted inputs, and just ended unless it is still open."""
    ended = None if state in ("Waiting", "Running") else NOW
    given = {"id": "op-1", "inputs_digest": WANTED, "queued_time": NOW, "ended_time": ended, "exit_code": 60} | more
    return Operation(kind=kind, state=state, **given)  # type: ignore[arg-type]  # words of the tables


def previewed(*changes: Change, digest: str | None = FOUND, **more: Any) -> Operation:
    return last("preview", "Succeeded", changes=changes, changes_digest=digest, exit_code=10, **more)


def refused(**more: Any) -> Operation:
    """An ``up`` that would lose data."""
    reason = {"reason": "ApprovalRequired", "exit_code": 40}
    return last("up", "Failed", **({"changes": (LOSS,), "changes_digest": FOUND} | reason | more))


def facts(of: Operation | None = None, **more: Any) -> Facts:
    return Facts(**({"wanted": WANTED, "applied": None, "last": of} | more))


def asked(of: Facts, after: timedelta = timedelta(0)) -> Any:
    return decide(of, NOW + after)


APPROVED = frozenset({FOUND})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(facts(), Run(kind="up"), id="nothing was ever made"),
        pytest.param(facts(approval_required=True), Run(kind="preview"), id="a person must see first what is made"),
        pytest.param(facts(applied=OTHER), Run(kind="up"), id="something else is applied"),
        pytest.param(facts(applied=WANTED), Nothing(), id="what is wanted is applied"),
        pytest.param(facts(applied=WANTED, approval_required=True), Nothing(), id="an approval of nothing"),
        pytest.param(facts(last("up", "Succeeded"), applied=WANTED), Nothing(), id="it was just applied"),
        pytest.param(facts(previewed(LOSS), applied=WANTED), Nothing(), id="a preview of what is applied asks nobody"),
        pytest.param(
            facts(last(inputs_digest=OTHER, exit_code=50, attempt=9)), Run(kind="up"),
            id="other inputs than those that failed are tried at once, and counted anew",
        ),
        pytest.param(
            facts(last(inputs_digest=OTHER), approval_required=True), Run(kind="preview"), id="others, with approval"
        ),
        pytest.param(
            facts(previewed(CREATE, inputs_digest=OTHER), approval_required=True, approved=APPROVED),
            Run(kind="preview"),
            id="an Approval of other inputs' changes is none",
        ),
    ],
)  # fmt: skip
def test_what_is_wanted_decides(given: Facts, expected: Any) -> None:
    assert asked(given) == expected


def halted(*changes: Change, **more: Any) -> Operation:
    """An ``up`` that would have taken something away while the installation was halted."""
    return last("up", "Failed", reason="Halted", exit_code=40, changes=changes, changes_digest=FOUND, **more)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(facts(halted(SWAP)), Run(kind="up", expected=FOUND), id="just that, which the halt holds back"),
        pytest.param(
            facts(halted(SWAP), approved=APPROVED, approval_required=True), Run(kind="up", expected=FOUND),
            id="what a person allowed",
        ),
        pytest.param(facts(halted(SWAP, inputs_digest=OTHER)), Run(kind="up"), id="other inputs are looked at anew"),
    ],
)  # fmt: skip
def test_what_a_halt_refused_is_asked_for_by_name(given: Facts, expected: Any) -> None:
    assert asked(given) == expected


@pytest.mark.parametrize("given", [facts(halted(LOSS)), facts(halted(SWAP), approval_required=True)])
def test_what_needs_a_persons_word_needs_it_after_a_halt_too(given: Facts) -> None:
    answer = asked(given)
    assert isinstance(answer, Ask)
    assert answer.reason == "ApprovalRequired"


@pytest.mark.parametrize("state", ["Waiting", "Running"])
@pytest.mark.parametrize("kind", ["up", "preview", "recover", "destroy"])
@pytest.mark.parametrize(
    "more", [{}, {"applied": WANTED}, {"recovery_due": True}, {"wanted": OTHER}], ids=lambda more: next(iter(more), "")
)
def test_one_at_a_time(state: str, kind: str, more: dict[str, Any]) -> None:
    given = facts(last(kind, state), **more)
    answer = asked(given)
    if kind == "preview" and given.applied == given.wanted and not given.recovery_due:
        assert answer == Nothing(), "who only looks stands in nobody's way"
        return
    assert isinstance(answer, Wait)
    assert (answer.reason, answer.until) == ("OperationRunning", None)
    assert answer.message == f"operation op-1 ({kind}) {'runs' if state == 'Running' else 'waits for a place'}"
    assert dismantle(given.last, NOW, recovery_due=given.recovery_due) == answer


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(facts(last("up", "Lost")), Run(kind="recover"), id="lost while it was applied"),
        pytest.param(facts(last("up", "Lost"), applied=WANTED), Run(kind="recover"), id="though nothing else is due"),
        pytest.param(facts(last("up", "Lost", inputs_digest=OTHER)), Run(kind="recover"), id="though other inputs are"),
        pytest.param(facts(last("recover", "Lost")), Run(kind="recover"), id="a recovery that was lost mended nothing"),
        pytest.param(facts(last("destroy", "Lost")), Run(kind="recover"), id="lost while it was destroyed"),
        pytest.param(facts(last("refresh", "Lost")), Run(kind="recover"), id="lost while the state was written"),
        pytest.param(facts(last("preview", "Lost")), Run(kind="preview"), id="what only looks leaves nothing"),
        pytest.param(facts(last("outputs", "Lost")), Run(kind="outputs"), id="what only reads leaves nothing"),
        pytest.param(facts(last("drift", "Lost")), Run(kind="drift"), id="what only compares leaves nothing"),
        pytest.param(facts(recovery_due=True), Run(kind="recover"), id="due of old"),
        pytest.param(facts(applied=WANTED, recovery_due=True), Run(kind="recover"), id="due though all is applied"),
        pytest.param(
            facts(previewed(CREATE), recovery_due=True, approval_required=True, approved=APPROVED),
            Run(kind="recover"),
            id="due before what was approved",
        ),
        pytest.param(
            facts(last("recover", "Succeeded", attempt=3)), Run(kind="up", attempt=3),
            id="after it all is applied again, and how often it failed is not forgotten",
        ),
        pytest.param(
            facts(last("recover", "Succeeded", attempt=3), approval_required=True), Run(kind="preview", attempt=3),
            id="after it a person sees what is left to do",
        ),
    ],
)  # fmt: skip
def test_what_died_is_mended_first(given: Facts, expected: Any) -> None:
    assert asked(given) == expected


def test_a_recovery_waits_for_the_pause_of_the_failure_that_made_it_due() -> None:
    given = facts(last("up", message="it was killed"), recovery_due=True)
    assert asked(given) == Wait(reason="OperationFailed", message="it was killed", until=NOW + 10 * SECOND)
    assert asked(given, 10 * SECOND) == Run(kind="recover", attempt=2)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 320), (7, 600), (8, 600), (10_000, 600)]
)
@pytest.mark.parametrize("exit_code", [Exit.TRANSIENT, Exit.CONFLICT, None], ids=["transient", "locked", "no worker"])
def test_what_may_go_through_later_is_tried_after_a_pause_that_doubles_up_to_ten_minutes(
    attempt: int, seconds: int, exit_code: int | None
) -> None:
    failed = last(attempt=attempt, exit_code=exit_code, reason="Throttled", message="try later")
    until = NOW + seconds * SECOND
    assert pause(failed) == seconds * SECOND
    assert asked(facts(failed)) == Wait(reason="Throttled", message="try later", until=until)
    assert decide(facts(failed), until - SECOND) == Wait(reason="Throttled", message="try later", until=until)
    assert decide(facts(failed), until) == Run(kind="up", attempt=attempt + 1)


@pytest.mark.parametrize("kind", ["up", "preview", "recover"])
@pytest.mark.parametrize(
    "why",
    [
        pytest.param({"exit_code": Exit.USER, "reason": "CredentialsRefused"}, id="only people can mend it"),
        pytest.param({"exit_code": Exit.POLICY, "reason": "Forbidden"}, id="it is not allowed"),
        pytest.param({"exit_code": Exit.TRANSIENT, "reason": "Cancelled"}, id="somebody stopped it"),
        pytest.param({"exit_code": None, "reason": "Cancelled"}, id="somebody stopped it before it began"),
    ],
)
def test_what_people_must_mend_is_tried_every_quarter_of_an_hour_however_often_it_failed(
    kind: str, why: dict[str, Any]
) -> None:
    failed = last(kind, message="words", attempt=9, **why)
    until = NOW + timedelta(minutes=15)
    assert pause(failed) == timedelta(minutes=15)
    assert decide(facts(failed), until - SECOND) == Ask(reason=why["reason"], message="words", until=until)
    assert decide(facts(failed), until) == Run(kind=kind, attempt=10)  # type: ignore[arg-type]  # words of the table


def test_a_failure_without_words_is_told_by_its_id() -> None:
    answer = asked(facts(last(exit_code=50)))
    assert (answer.reason, answer.message) == ("OperationFailed", "operation op-1 failed")


@pytest.mark.parametrize(
    ("failed", "more", "expected"),
    [
        pytest.param({}, {"approval_required": True}, Run(kind="preview", attempt=2), id="approval is required by now"),
        pytest.param(
            {"expected": FOUND}, {"approval_required": True, "approved": APPROVED},
            Run(kind="up", expected=FOUND, attempt=2), id="approved still: within just that",
        ),
        pytest.param(
            {"expected": FOUND}, {"approved": APPROVED}, Run(kind="up", expected=FOUND, attempt=2),
            id="approved because data goes: within just that",
        ),
        pytest.param(
            {"expected": FOUND}, {"approval_required": True}, Run(kind="preview", attempt=2),
            id="the Approval is gone or has ended",
        ),
        pytest.param(
            {"expected": FOUND}, {"approval_required": True, "approved": frozenset({OTHER})},
            Run(kind="preview", attempt=2), id="an Approval of something else",
        ),
        pytest.param(
            {"expected": FOUND}, {}, Run(kind="preview", attempt=2), id="nobody had to approve: it is looked at again"
        ),
    ],
)  # fmt: skip
def test_a_second_try_does_no_more_than_was_allowed(
    failed: dict[str, Any], more: dict[str, Any], expected: Any
) -> None:
    assert asked(facts(last(**failed), **more), 10 * SECOND) == expected


CHANGED = {"reason": "ChangedSinceApproval", "exit_code": Exit.POLICY, "expected": FOUND, "message": "words"}


@pytest.mark.parametrize("more", [{}, {"approved": APPROVED}, {"approval_required": True}])
def test_what_changed_since_it_was_approved_is_looked_at_again_at_once(more: dict[str, Any]) -> None:
    assert asked(facts(last(**CHANGED), **more)) == Run(kind="preview", attempt=2)


def test_what_changes_at_every_look_does_not_spin() -> None:
    given = facts(last(**CHANGED, attempt=3))
    until = NOW + 40 * SECOND
    assert asked(given) == Wait(reason="ChangedSinceApproval", message="words", until=until)
    assert decide(given, until) == Run(kind="preview", attempt=4)


WITH = {"approval_required": True}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(facts(previewed(CREATE)), Run(kind="up", expected=FOUND), id="nothing grave: by itself"),
        pytest.param(
            facts(previewed(CREATE, attempt=4)), Run(kind="up", expected=FOUND, attempt=4), id="still counted"
        ),
        pytest.param(facts(previewed()), Run(kind="up", expected=FOUND), id="nothing would change"),
        pytest.param(facts(previewed(), **WITH), Run(kind="up", expected=FOUND), id="nobody must allow nothing"),
        pytest.param(facts(previewed(CREATE), **WITH), "1 to create", id="approval is required"),
        pytest.param(
            facts(previewed(CREATE), approved=APPROVED, **WITH), Run(kind="up", expected=FOUND), id="it was given"
        ),
        pytest.param(
            facts(previewed(CREATE), approved=frozenset({OTHER}), **WITH), "1 to create", id="given for another"
        ),
        pytest.param(facts(previewed(CREATE, digest=None), **WITH), "1 to create", id="nothing that can be named"),
        pytest.param(facts(previewed(LOSS)), "1 to replace (server hold data)", id="data would go: asked all the same"),
        pytest.param(facts(previewed(LOSS), approved=APPROVED), Run(kind="up", expected=FOUND), id="that was allowed"),
        pytest.param(
            facts(previewed(LOSS.model_copy(update={"data": False}))), Run(kind="up", expected=FOUND),
            id="what holds no data may be replaced",
        ),
        pytest.param(
            facts(previewed(CREATE.model_copy(update={"action": "update"}))), Run(kind="up", expected=FOUND),
            id="what holds data may be changed",
        ),
        pytest.param(facts(refused()), "1 to replace (server hold data)", id="the engine refused to lose data"),
        pytest.param(
            facts(refused(changes=(), changes_digest=FOUND)), "nothing would change", id="it refused without words"
        ),
        pytest.param(facts(refused(), approved=APPROVED), Run(kind="up", expected=FOUND), id="refused, then allowed"),
        pytest.param(
            facts(refused(changes_digest=None)), Run(kind="preview"), id="refused without a name: looked at first"
        ),
    ],
)  # fmt: skip
def test_what_a_preview_found_is_done_when_it_may_be(given: Facts, expected: Any) -> None:
    answer = asked(given)
    if not isinstance(expected, str):
        assert answer == expected
        return
    assert isinstance(answer, Ask)
    assert (answer.reason, answer.until) == ("ApprovalRequired", NOW + timedelta(hours=24))
    assert answer.message.startswith(f"{expected}: ")
    assert "`paybill approve`" in answer.message
    assert answer.message.endswith(f"(digest {given.last.changes_digest if given.last else None})")


@pytest.mark.parametrize("found", [previewed(CREATE), refused()], ids=["preview", "refused up"])
@pytest.mark.parametrize("approved", [frozenset(), APPROVED], ids=["not approved", "approved"])
def test_a_look_of_yesterday_says_nothing_about_today(found: Operation, approved: frozenset[str]) -> None:
    given, day = facts(found, approval_required=True, approved=approved), timedelta(hours=24)
    assert asked(given, day) == Run(kind="preview")
    assert isinstance(asked(given, day - SECOND), Run if approved else Ask)
    assert asked(given, day - SECOND) != Run(kind="preview")


@pytest.mark.parametrize(
    ("given", "recovery", "expected"),
    [
        pytest.param(None, False, Run(kind="destroy"), id="nothing is known of it but that it is there"),
        pytest.param(last("up", "Succeeded"), False, Run(kind="destroy"), id="it is whole"),
        pytest.param(last("up", attempt=7, exit_code=50), False, Run(kind="destroy"), id="it could not be made"),
        pytest.param(previewed(LOSS), False, Run(kind="destroy"), id="somebody was asked, and deletes it"),
        pytest.param(last("up", "Lost"), False, Run(kind="recover"), id="it is half made: mended, then destroyed"),
        pytest.param(last("destroy", "Lost"), False, Run(kind="recover"), id="it is half destroyed"),
        pytest.param(last("recover", "Lost"), False, Run(kind="recover"), id="it is half mended"),
        pytest.param(last("preview", "Lost"), False, Run(kind="destroy"), id="a look that was lost leaves nothing"),
        pytest.param(last("up", "Succeeded"), True, Run(kind="recover"), id="it is half made since long"),
        pytest.param(last("recover", "Succeeded", attempt=3), False, Run(kind="destroy", attempt=3), id="it is mended"),
        pytest.param(
            last("destroy", message="m"), False,
            Wait(reason="OperationFailed", message="m", until=NOW + 10 * SECOND), id="it failed a moment ago",
        ),
        pytest.param(
            last("destroy", exit_code=50, reason="CredentialsRefused", message="m"), False,
            Ask(reason="CredentialsRefused", message="m", until=NOW + timedelta(minutes=15)), id="people must act",
        ),
        pytest.param(
            replace(last("destroy", attempt=2), ended_time=NOW - 20 * SECOND), False, Run(kind="destroy", attempt=3),
            id="its pause is over",
        ),
    ],
)  # fmt: skip
def test_what_must_go_is_mended_first_and_destroyed_until_it_is_gone(
    given: Operation | None, recovery: bool, expected: Any
) -> None:
    assert dismantle(given, NOW, recovery_due=recovery) == expected


def change(action: str, address: str = "x", *, data: bool = False) -> Change:
    return Change(action=action, address=address, type="t", data=data)  # type: ignore[arg-type]  # words of the table


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "nothing would change"),
        ([change("create")], "1 to create"),
        ([change(one) for one in ("delete", "create", "update", "replace", "create")],
         "2 to create, 1 to update, 1 to replace, 1 to delete"),
        ([change("create", data=True), change("update", data=True)], "1 to create, 1 to update"),
        ([change("delete", "b", data=True), change("replace", "a", data=True), change("delete", "c")],
         "1 to replace, 2 to delete (a; b hold data)"),
        ([change("delete", name, data=True) for name in "dcba"], "4 to delete (a; b; c hold data)"),
    ],
    ids=["nothing", "one", "from the mildest to the gravest", "data that stays", "data that goes", "the first three"],
)  # fmt: skip
def test_what_would_be_done_is_one_line(changes: list[Change], words: str) -> None:
    assert summary(changes) == words


def test_its_exit_codes_are_those_of_the_workers() -> None:
    """Written twice, because what decides must not import an engine."""
    for exit_code in (Exit.TRANSIENT, Exit.USER, Exit.POLICY, Exit.CONFLICT):
        assert getattr(operation, exit_code.name) == exit_code


@pytest.mark.parametrize(
    ("kind", "approved", "retain", "may"),
    [
        pytest.param("up", False, True, False, id="a change of a living tenant"),
        pytest.param("up", False, False, False, id="the same where nothing is kept at its end"),
        pytest.param("up", True, True, True, id="a person allowed exactly this"),
        pytest.param("destroy", False, False, True, id="the tenant goes and keeps nothing"),
        pytest.param("destroy", False, True, False, id="the tenant goes and its data stays"),
        pytest.param("recover", False, False, False, id="mending"),
        pytest.param("preview", False, False, False, id="looking"),
    ],
)
def test_data_is_taken_away_only_by_a_persons_word_or_with_its_tenant(kind, approved, retain, may):
    assert may_destroy_data(kind, approved=approved, retain=retain) is may


@pytest.mark.parametrize(("retain", "may"), [(False, True), (True, False)])
def test_a_destruction_that_died_is_mended_though_data_is_gone_by_then(retain, may):
    assert may_destroy_data("recover", approved=False, retain=retain, going=True) is may
    assert may_destroy_data("up", approved=False, retain=retain, going=True) is False


@pytest.mark.parametrize("kind", ["preview", "outputs"])
@pytest.mark.parametrize("state", ["Waiting", "Running"])
def test_who_only_looks_stands_in_nobodys_way(kind, state):
    asked = last(kind, state)
    assert decide(Facts(wanted=WANTED, applied=WANTED, last=asked), NOW) == Nothing()
    assert isinstance(decide(Facts(wanted=WANTED, applied=OTHER, last=asked), NOW), Wait), "one at a time"
    assert isinstance(decide(Facts(wanted=WANTED, applied=WANTED, last=last("up", state)), NOW), Wait)


READ: dict[str, Any] = {"kind": "outputs", "state": "Succeeded", "exit_code": 0}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, 0, Run(kind="outputs"), id="at once the first time"),
        pytest.param(READ, 9, "waits", id="what it read did not help: not at once again"),
        pytest.param(READ, 10, Run(kind="outputs", attempt=2), id="after a pause"),
        pytest.param(READ | {"attempt": 2}, 19, "waits", id="then a longer one"),
        pytest.param(READ | {"attempt": 99}, 600, Run(kind="outputs", attempt=100), id="which has an end"),
        pytest.param(READ | {"attempt": 9}, 1200, Run(kind="outputs", attempt=1), id="and is short after a calm"),
        pytest.param(READ | {"state": "Failed", "exit_code": 50}, 899, "waits", id="people must act first"),
        pytest.param(READ | {"state": "Running"}, 5, "waits", id="one at a time"),
    ],
)
def test_what_a_stack_hands_over_is_read_again_seldom(
    before: dict[str, Any] | None, after: float, expected: Run | str
) -> None:
    answer = read_again(last(**before) if before is not None else None, NOW + after * SECOND)
    assert isinstance(answer, Wait) if expected == "waits" else answer == expected, answer
