"""Tampering with the real table, past its trigger: whatever is done to it, verification tells."""

import psycopg
import pytest

from paybill.audit import AuditLog, Outcome, verify
from paybill.audit.chain import COLUMNS
from tests.audit.rows import intent, stored, tampered

CHANGES = {
    "seq": "seq + 1000000",
    "writer": "gen_random_uuid()",
    "n": "n + 1000",
    "time": "time + interval '1 microsecond'",
    "epoch": "epoch + 1",
    "kind": "CASE kind WHEN 'intent' THEN 'outcome' ELSE 'intent' END",
    "step": "gen_random_uuid()",
    "destructive": "NOT destructive",
    "prev_hash": "sha256(prev_hash)",
    "hash": "sha256(hash)",
}
ROWS = 8


@pytest.fixture
async def heads(db, epoch, control_dsn):
    """Two writers, two finished steps each, all columns filled; gives their heads."""
    logs = [AuditLog(db.pool, epoch=epoch), AuditLog(db.pool, epoch=epoch)]
    for number in range(2):
        for log in logs:
            (token,) = await log.intend([intent(number)])
            await log.conclude([Outcome(token, "failed", "Timeout")])
    assert verify(stored(control_dsn)).intact
    with psycopg.connect(control_dsn) as connection:
        for name in ("audit_log_check", "audit_log_check1", "audit_log_kind_check", "audit_log_step_kind_key"):
            connection.execute(f"ALTER TABLE paybill.audit_log DROP CONSTRAINT IF EXISTS {name}")
    for log in logs:
        await log.close()
    return [log.head() for log in logs]


@pytest.mark.parametrize("position", [0, 3, ROWS - 1])
@pytest.mark.parametrize("column", COLUMNS)
async def test_a_changed_value_is_found(heads, control_dsn, column, position):
    before = stored(control_dsn)
    change = CHANGES.get(column, f"coalesce({column}, '') || 'x'")
    tampered(control_dsn, f"UPDATE paybill.audit_log SET {column} = {change} WHERE seq = %s", (before[position].seq,))
    assert stored(control_dsn) != before
    assert not verify(stored(control_dsn)).intact


@pytest.mark.parametrize("column", ["tenant_id", "cell", "inputs_digest", "reason"])
async def test_an_emptied_value_is_found(heads, control_dsn, column):
    tampered(control_dsn, f"UPDATE paybill.audit_log SET {column} = NULL WHERE n = 2")
    assert not verify(stored(control_dsn)).intact


@pytest.mark.parametrize("position", range(ROWS))
async def test_a_deleted_row_is_found(heads, control_dsn, position):
    row = stored(control_dsn)[position]
    tampered(control_dsn, "DELETE FROM paybill.audit_log WHERE seq = %s", (row.seq,))
    assert not verify(stored(control_dsn), heads).intact


@pytest.mark.parametrize("keys", ["seq", "n", "seq, n"])
async def test_two_swapped_rows_are_found(heads, control_dsn, keys):
    one, two = [row for row in stored(control_dsn) if row.writer == heads[0].writer][:2]
    with psycopg.connect(control_dsn) as connection:
        connection.execute("ALTER TABLE paybill.audit_log DROP CONSTRAINT audit_log_writer_n_key")
        connection.execute("ALTER TABLE paybill.audit_log DROP CONSTRAINT audit_log_pkey")
    sets = ", ".join(f"{key} = {getattr(one, key) + getattr(two, key)} - {key}" for key in keys.split(", "))
    tampered(control_dsn, f"UPDATE paybill.audit_log SET {sets} WHERE hash IN (%s, %s)", (one.hash, two.hash))
    assert not verify(stored(control_dsn)).intact


async def test_a_truncated_table_is_found_by_the_published_heads_alone(heads, control_dsn):
    tampered(control_dsn, "TRUNCATE paybill.audit_log")
    assert verify(stored(control_dsn)).intact
    assert [problem.kind for problem in verify(stored(control_dsn), heads).problems] == ["HeadMissing"] * 2


async def test_an_inserted_row_is_found(heads, control_dsn):
    columns = ", ".join(name for name in COLUMNS if name not in {"seq", "n", "step"})
    tampered(
        control_dsn,
        f"INSERT INTO paybill.audit_log (seq, n, step, {columns})"
        f" SELECT seq + 1000000, n + 1, gen_random_uuid(), {columns} FROM paybill.audit_log WHERE n = 4 LIMIT 1",
    )
    assert not verify(stored(control_dsn)).intact
