"""``paybill audit``: what people see of the log, and what it answers when the log is not there."""

import itertools
import json
from datetime import UTC, datetime

import psycopg
import pytest
from click.testing import CliRunner

from paybill.audit import AuditLog, Outcome
from paybill.audit.reading import Filter, follow
from paybill.cli.audit import audit
from paybill.control import Placement, Registry
from tests.audit.rows import intent, tampered


@pytest.fixture(autouse=True)
def _no_database_from_outside(monkeypatch, tmp_path):
    monkeypatch.setenv("PAYBILL_HOME", str(tmp_path / "no instance"))
    for name in ("PAYBILL_CONTROL_DATABASE_FILE", "PAYBILL_CONTROL_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def log(db, epoch):
    """A log with three steps of two tenants, one destructive, one failed, one unfinished."""
    log = AuditLog(db.pool, epoch=epoch)
    one, two, _ = await log.intend(
        [intent(1), intent(2, action="subscription.suspend", destructive=True), intent(2, action="database.ensure")]
    )
    await log.conclude([Outcome(one), Outcome(two, "failed", "Timeout")])
    yield log
    await log.close()


def run(*arguments: str, **environment: str):
    return CliRunner().invoke(audit, list(arguments), env=environment)


def listed(dsn: str, *arguments: str) -> list[tuple[str, str]]:
    result = run("log", "--output", "json", "--database", dsn, *arguments)
    assert result.exit_code == 0, result.output
    return [(row["action"], row["kind"]) for row in map(json.loads, result.stdout.splitlines())]


SUSPENSION = [("subscription.suspend", "intent"), ("subscription.suspend", "outcome")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], 5),
        (["--tenant", "00000001"], [("namespace.apply", "intent"), ("namespace.apply", "outcome")]),
        (["--action", "subscription.suspend"], SUSPENSION),
        (["--destructive"], SUSPENSION),
        (["--destructive", "--tenant", "00000001"], []),
        (["--since", "1h"], 5),
        (["--since", "2999-01-01T00:00:00Z"], []),
        (["--tenant", "x' OR true --"], []),
    ],
)
async def test_the_log_is_filtered(log, control_dsn, arguments, expected):
    found = listed(control_dsn, *arguments)
    assert (len(found) if isinstance(expected, int) else found) == expected


async def test_a_tenant_is_found_by_its_name(log, db, epoch, control_dsn):
    registry = Registry(db, "one", new_id=lambda: "00000002")
    await registry.claim("acme", "uid-1", lambda _: Placement("eu", "s", "Shared", "Rows"), epoch)
    assert len(listed(control_dsn, "--tenant", "acme")) == 3


async def test_the_table_has_a_line_per_row(log, control_dsn):
    lines = run("log", "--database", control_dsn).stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].split() == ["TIME", "TENANT", "WHAT", "ACTION", "OBJECT", "RESULT", "CAUSE"]
    assert "subscription.suspend!" in lines[5]
    assert "failed/Timeout" in lines[5]


async def test_the_database_is_found_by_file_then_by_environment(log, control_dsn, tmp_path):
    secret = tmp_path / "uri"
    secret.write_text(control_dsn + "\n")
    assert run("verify", PAYBILL_CONTROL_DATABASE_FILE=str(secret)).exit_code == 0
    assert run("verify", PAYBILL_CONTROL_DATABASE_URL=control_dsn).exit_code == 0


async def test_an_altered_log_makes_verify_fail_and_say_where(log, control_dsn):
    assert run("verify", "--database", control_dsn).exit_code == 0
    tampered(control_dsn, "UPDATE paybill.audit_log SET cause = 'nobody asked' WHERE n = 2")
    result = run("verify", "--database", control_dsn)
    assert result.exit_code == 1
    assert "Altered: writer" in result.output
    assert "row 2" in result.output
    report = json.loads(run("verify", "--output", "json", "--database", control_dsn).stdout)
    assert [(problem["kind"], problem["n"]) for problem in report["problems"]] == [("Altered", 2)]


async def test_a_published_head_finds_what_was_cut_off(log, control_dsn):
    head = str(log.head())
    assert run("verify", "--head", head, "--database", control_dsn).exit_code == 0
    tampered(control_dsn, "DELETE FROM paybill.audit_log WHERE n = 5")
    assert run("verify", "--database", control_dsn).exit_code == 0
    result = run("verify", "--head", head, "--database", control_dsn)
    assert result.exit_code == 1
    assert "HeadMissing" in result.output


async def test_following_shows_what_is_logged_later(log, control_dsn):
    with psycopg.connect(control_dsn) as connection:
        rows = follow(connection, Filter(), every=0.01)
        assert len(list(itertools.islice(rows, 5))) == 5
        (token,) = await log.intend([intent(7)])
        assert next(rows).step == token.step
        await log.conclude([Outcome(token)])
        assert next(rows).kind == "outcome"


async def test_reading_cannot_write(log, control_dsn, monkeypatch):
    monkeypatch.setattr("paybill.audit.reading._SELECT", psycopg.sql.SQL("CREATE TABLE public.x () --"))
    result = run("log", "--database", control_dsn)
    assert result.exit_code == 1
    assert "read-only" in result.output or "syntax" in result.output


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["verify"], {}, "PAYBILL_CONTROL_DATABASE_FILE"),
        (["verify"], {"PAYBILL_CONTROL_DATABASE_FILE": "/nonexistent"}, "/nonexistent"),
        (["verify", "--database", "postgresql://u:hunter2@127.0.0.1:1/x"], {}, "127.0.0.1"),
        (["verify", "--database", "hunter2"], {}, "cannot be read"),
        (["verify", "--head", "nonsense", "--database", "x"], {}, "--head"),
        (["log", "--since", "yesterday", "--database", "x"], {}, "--since"),
    ],
)
def test_mistakes_are_explained_without_the_password(arguments, environment, says):
    result = run(*arguments, **environment)
    assert result.exit_code != 0
    assert says in result.output
    assert "hunter2" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_database_without_a_log_is_named_as_such(control_dsn):
    result = run("log", "--database", control_dsn)
    assert result.exit_code == 1
    assert "no audit log" in result.output


def test_since_takes_spans_and_times():
    from paybill.cli.audit import instant

    assert instant("2026-03-01T00:00:00+01:00") == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert instant("2026-03-01").tzinfo is not None
    assert (datetime.now(UTC) - instant("2h")).total_seconds() == pytest.approx(7200, abs=5)
