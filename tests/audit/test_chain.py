"""The chain by itself: whatever is done to the rows shows, and nothing shows when nothing was done."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.audit.chain import COLUMNS, GENESIS, Head, Row, as_json, encode, link, verify
from paybill.audit.store import Draft, chained
from tests.audit.rows import intent

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
WRITERS = [UUID(int=1), UUID(int=2)]


def log_of(owners: list[int]) -> list[Row]:
    """A log in which each entry of ``owners`` writes one row; a writer's rows are intent and outcome in turn."""
    heads = {writer: Head(writer, 0, GENESIS) for writer in WRITERS}
    rows = []
    for seq, owner in enumerate(owners, start=1):
        head = heads[WRITERS[owner]]
        step = UUID(int=1000 * (owner + 1) + head.n // 2)
        begins = head.n % 2 == 0
        draft = Draft("intent", step, NOW, intent(seq)) if begins else Draft("outcome", step, NOW, intent(seq), "ok")
        (row,) = chained([draft], [3 * seq], head, "", 7)
        heads[row.writer] = Head(row.writer, row.n, row.hash)
        rows.append(row)
    return rows


logs = st.lists(st.integers(0, 1), min_size=1, max_size=12).map(log_of)

OTHER = {
    "seq": lambda v: v + 1,
    "writer": lambda v: UUID(int=99),
    "n": lambda v: v + 1,
    "time": lambda v: v + timedelta(microseconds=1),
    "epoch": lambda v: v + 1,
    "kind": lambda v: "outcome" if v == "intent" else "intent",
    "step": lambda v: UUID(int=v.int + 1),
    "destructive": lambda v: not v,
    "prev_hash": lambda v: bytes([v[0] ^ 1]) + v[1:],
    "hash": lambda v: bytes([v[0] ^ 1]) + v[1:],
}


def changed(row: Row, column: str) -> Row:
    return replace(row, **{column: OTHER.get(column, lambda v: f"{v}x")(getattr(row, column))})


@given(logs)
def test_an_untouched_log_is_intact_and_lists_what_is_unfinished(rows):
    report = verify(rows)
    assert report.intact
    assert report.rows == len(rows)
    finished = {row.step for row in rows if row.kind == "outcome"}
    assert {row.step for row in report.unfinished} == {row.step for row in rows} - finished


@given(logs, st.data())
def test_any_change_of_any_column_of_any_row_is_found(rows, data):
    position = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(COLUMNS))
    rows[position] = changed(rows[position], column)
    assert not verify(sorted(rows, key=lambda row: row.seq)).intact


@given(logs, st.data())
def test_a_changed_row_that_is_hashed_anew_breaks_the_next_link_or_the_published_head(rows, data):
    position = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from([name for name in COLUMNS if name not in {"hash", "seq", "n", "writer"}]))
    head = max((row for row in rows if row.writer == rows[position].writer), key=lambda row: row.n)
    published = [Head(head.writer, head.n, head.hash)]
    forged = changed(rows[position], column)
    rows[position] = replace(forged, hash=link(forged.prev_hash, forged))
    assert not verify(rows, published).intact


@given(logs, st.data())
def test_a_removed_row_is_found_unless_it_was_the_last_and_then_by_the_head(rows, data):
    heads = verify(rows).heads
    gone = rows.pop(data.draw(st.integers(0, len(rows) - 1)))
    last = all(row.n < gone.n for row in rows if row.writer == gone.writer)
    assert verify(rows).intact == last
    assert not verify(rows, heads).intact


@given(logs, st.integers(0, 11))
def test_a_truncated_log_is_found_by_the_published_heads(rows, kept):
    heads = verify(rows).heads
    assert verify(rows[:kept], heads).intact == (kept >= len(rows))


@given(logs, st.data())
def test_two_rows_in_the_wrong_order_are_found(rows, data):
    if len(rows) > 1:
        position = data.draw(st.integers(0, len(rows) - 2))
        rows[position], rows[position + 1] = rows[position + 1], rows[position]
        assert not verify(rows).intact


@given(logs)
def test_a_repeated_row_is_found(rows):
    assert not verify([*rows, rows[-1]]).intact


def test_an_outcome_without_intent_is_named():
    head = Head(WRITERS[0], 0, GENESIS)
    rows = chained([Draft("outcome", UUID(int=5), NOW, intent(), "ok")], [1], head, "", 1)
    assert [problem.kind for problem in verify(rows).problems] == ["Unpaired"]


def test_the_encoding_cannot_be_shifted_between_columns():
    (row,) = chained([Draft("intent", UUID(int=5), NOW, intent())], [1], Head(WRITERS[0], 0, GENESIS), "", 1)
    assert encode(replace(row, action="a,b", cause="c")) != encode(replace(row, action="a", cause="b,c"))
    assert encode(replace(row, cell=None)) != encode(replace(row, cell="null"))
    assert encode(replace(row, cell="")) != encode(replace(row, cell=None))


def test_the_hash_does_not_depend_on_the_time_zone_it_is_read_in():
    (row,) = chained([Draft("intent", UUID(int=5), NOW, intent())], [1], Head(WRITERS[0], 0, GENESIS), "", 1)
    elsewhere = replace(row, time=row.time.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert verify([elsewhere]).intact


def test_the_format_of_the_hash_is_the_one_of_the_first_release():
    """Whoever changes it makes every existing log look altered."""
    (row,) = chained([Draft("intent", UUID(int=5), NOW, intent())], [41], Head(WRITERS[0], 0, GENESIS), "eu", 7)
    written = (
        b'[41,"00000000-0000-0000-0000-000000000001",1,"2026-03-01T12:30:15.123456+00:00","eu",7,"intent",'
        b'"00000000-0000-0000-0000-000000000005","00000000","Namespace/t-00000000","namespace.apply",'
        b'"Tenant/acme generation 3","eu","sha256:00ff",null,null,false,"' + b"00" * 32 + b'"]'
    )
    assert row.hash == hashlib.sha256(b"paybill.audit.v1\n" + bytes(32) + written).digest()


@given(logs)
def test_an_exported_row_keeps_every_column(rows):
    for row in rows:
        exported = json.loads(json.dumps(as_json(row)))
        assert list(exported) == list(COLUMNS)
        assert bytes.fromhex(exported["hash"]) == row.hash
        assert datetime.fromisoformat(exported["time"]) == row.time


@pytest.mark.parametrize("text", ["", "x:1:00", f"{WRITERS[0]}:0:{'00' * 32}", f"{WRITERS[0]}:1:00", "a:b:c:d"])
def test_what_is_no_head_is_refused(text):
    with pytest.raises(ValueError):
        Head.parse(text)


def test_a_head_is_read_as_it_was_published():
    head = Head(WRITERS[0], 17, bytes(range(32)))
    assert Head.parse(str(head)) == head
