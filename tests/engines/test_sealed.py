"""Answers in a log: whole and ours, or none; and nobody reads what they say without the key."""

from __future__ import annotations

import secrets

import pytest

from paybill.desired.stack import Change, DatabaseOutput, StackOutputs
from paybill.engines import sealed
from paybill.engines.operation import Answer, Exit, Failed, Result
from paybill.engines.sealed import Opening, new_key, seal

DATABASE = DatabaseOutput(host="db", admin_user="boss", admin_password="hunter-hunter-2")
ANSWER = Answer(exit=Exit.OK, result=Result(outputs=StackOutputs(database=DATABASE)))


def large() -> Answer:
    changes = [Change(action="create", address=secrets.token_hex(400), type="t") for _ in range(100)]
    return Answer(exit=Exit.CHANGES, result=Result(changes=tuple(changes)))


def opened(lines: list[str], key: str) -> Answer | None:
    opening = Opening(key)
    for line in lines:
        opening.take(line)
    return opening.answer


def test_whoever_has_the_key_reads_it_and_nobody_else() -> None:
    key = new_key()
    lines = list(seal(ANSWER, key))
    assert "hunter" not in "".join(lines)
    assert opened(lines, key) == ANSWER
    assert opened(lines, new_key()) is None


def test_other_lines_before_and_after_it_do_no_harm() -> None:
    key = new_key()
    answer = large()
    lines = list(seal(answer, key))
    assert len(lines) > 5
    noise = ["", "init", f"{sealed.MARK} 1/2 rubbish", f"{sealed.MARK} x/y z", "a b c"]
    assert opened([*noise, *lines, *noise], key) == answer


@pytest.mark.parametrize("missing", [0, 2, -1], ids=["the first", "one in the middle", "the last"])
def test_of_which_a_piece_is_missing_is_none(missing: int) -> None:
    key = new_key()
    lines = list(seal(large(), key))
    del lines[missing]
    assert opened(lines, key) is None


def test_that_somebody_changed_is_none() -> None:
    key = new_key()
    (line,) = seal(ANSWER, key)
    assert opened([line[:-9] + ("A" if line[-9] != "A" else "B") + line[-8:]], key) is None


def test_which_is_too_long_says_so_and_nothing_that_could_be_taken_for_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealed, "SEALED_CHARACTERS", 20_000)
    key = new_key()
    answer = opened(list(seal(large(), key)), key)
    assert answer is not None
    assert (answer.exit, answer.result) == (Exit.USER, None)
    assert answer.failed is not None
    assert answer.failed.reason == "AnswerTooLarge"


def test_pieces_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "SEALED_CHARACTERS", 4 * sealed.PIECE_CHARACTERS)
    opening = Opening(new_key())
    for number in range(1, 100):
        opening.take(f"{sealed.MARK} {number}/100 {'x' * sealed.PIECE_CHARACTERS}")
        assert len(opening._pieces) <= 6


def test_the_failure_and_the_doubt_come_through() -> None:
    key = new_key()
    failed = Failed(reason="PodStopped", message="stopped")
    answer = Answer(exit=Exit.TRANSIENT, failed=failed, recovery_needed=True)
    assert opened(list(seal(answer, key)), key) == answer
