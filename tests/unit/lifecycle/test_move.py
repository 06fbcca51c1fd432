"""What a move does next: a table of what may be known, and what follows; and which moves there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from paybill.lifecycle.move import ATTEMPTS, Do, Facts, Rest, Stuck, decide, pause, refusal

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=24)
FACTS = Facts(
    step="Prepare", mode=None, switched=False, retired=False, stop=None, copying=None, near=False, broken="",
    attempt=1, step_time=NOW, again=False, keep_until=None, now=NOW,
)  # fmt: skip
COPY = replace(FACTS, step="Copy", mode="Online")
CUTOVER = replace(COPY, step="Cutover")
KEPT = replace(COPY, step="Keep", switched=True, retired=True, keep_until=LATER)


@pytest.mark.parametrize(
    ("facts", "next_"),
    [
        pytest.param(FACTS, Do(act="Prepare"), id="it begins"),
        pytest.param(COPY, Rest(), id="rows are on their way"),
        pytest.param(replace(COPY, near=True), Do(act="Cutover"), id="all but the last is there"),
        pytest.param(replace(COPY, mode="Offline"), Do(act="Cutover"), id="offline nothing is copied before"),
        pytest.param(replace(COPY, broken="lost"), Do(act="Prepare", because="lost"), id="the copy is begun anew"),
        pytest.param(replace(COPY, copying="Runs"), Rest(), id="a copy of ours goes on"),
        pytest.param(replace(COPY, copying="Done"), Do(act="Follow"), id="all rows are there: their changes follow"),
        pytest.param(replace(COPY, copying="Lost"), Do(act="Prepare"), id="who copied was ended: no attempt failed"),
        pytest.param(
            replace(COPY, copying="Lost", broken="x"), Do(act="Prepare", because="x"), id="a copy that failed counts",
        ),
        pytest.param(replace(COPY, copying="Runs", stop="x"), Do(act="GiveUp", because="x"), id="a copy is given up"),
        pytest.param(CUTOVER, Do(act="Cutover"), id="killed behind the fence: at once, somebody is shut out"),
        pytest.param(replace(CUTOVER, attempt=9), Do(act="Cutover"), id="however often it was tried"),
        pytest.param(replace(CUTOVER, switched=True), Do(act="Keep"), id="killed right after the switch"),
        pytest.param(replace(CUTOVER, switched=True, stop="x"), Do(act="Keep"), id="after the switch nothing stops it"),
        pytest.param(replace(KEPT, retired=False), Do(act="Retire"), id="what was left is closed"),
        pytest.param(KEPT, Rest(until=LATER), id="and kept"),
        pytest.param(replace(KEPT, now=LATER), Do(act="Discard"), id="until its time has come"),
        pytest.param(replace(KEPT, again=True), Do(act="Discard"), id="or another move is asked for"),
        pytest.param(replace(FACTS, stop="x"), Do(act="GiveUp", because="x"), id="nobody wants it"),
        pytest.param(replace(CUTOVER, stop="x"), Do(act="GiveUp", because="x"), id="also behind the fence"),
        pytest.param(replace(COPY, near=True, attempt=2), Rest(until=NOW + pause(2)), id="a failure is slept over"),
        pytest.param(
            replace(COPY, near=True, attempt=2, now=NOW + pause(2)), Do(act="Cutover"), id="and tried again",
        ),
        pytest.param(replace(COPY, near=True, attempt=ATTEMPTS + 1), Stuck(), id="but not for ever"),
    ],
)  # fmt: skip
def test_what_comes_next(facts, next_):
    assert decide(facts) == next_


def test_pauses_grow_and_end():
    assert [pause(attempt).total_seconds() for attempt in (1, 2, 3, 4, 20)] == [0, 5, 10, 20, 600]


@pytest.mark.parametrize(
    ("has", "wants", "says"),
    [
        (("Namespace", "Schema"), ("Namespace", "Database"), None),
        (("Namespace", "Database"), ("Namespace", "Schema"), None),
        (("Shared", "Schema"), ("Shared", "Schema"), None),
        (("Namespace", "Schema"), ("Shared", "Schema"), "make a new Tenant"),
        (("Namespace", "Rows"), ("Namespace", "Server"), "Rows to Database and then to Server"),
        (("Namespace", "Server"), ("Namespace", "Schema"), None),
        (("Namespace", "Database"), ("Namespace", "Server"), None),
        (("Namespace", "Server"), ("Namespace", "Server"), "stays where that is"),
        (("Namespace", "Rows"), ("Namespace", "Schema"), None),
        (("Namespace", "Rows"), ("Namespace", "Database"), None),
        (("Namespace", "Schema"), ("Namespace", "Rows"), None),
        (("Namespace", "Database"), ("Namespace", "Rows"), "Database to Schema and then to Rows"),
        (("Namespace", "Rows"), ("Namespace", "Rows"), "numbered by their server"),
    ],
)
def test_which_moves_there_are(has, wants, says):
    found = refusal(has, wants)
    assert found is None if says is None else says in (found or "")
