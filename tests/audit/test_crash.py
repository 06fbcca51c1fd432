"""Killed between intent and outcome: the log shows the step as unfinished, and the successor goes on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

import paybill
from paybill.audit import AuditLog, Outcome
from paybill.cli.audit import audit
from paybill.control import take_epoch
from tests.audit.rows import intent

OPERATOR = """
import asyncio, sys
from paybill.audit import AuditLog, Intent, Outcome
from paybill.control import ControlDatabase, take_epoch

async def main():
    db = await ControlDatabase.open(sys.argv[1], application_name="victim")
    log = AuditLog(db.pool, epoch=await take_epoch(db))
    done, cut_off = await log.intend([
        Intent("namespace.apply", "Namespace/t-done", "Tenant/acme generation 1", "aaaaaaaa", "eu"),
        Intent("database.drop", "Database/t-cut", "deadline", "bbbbbbbb", "eu", destructive=True),
    ])
    await log.conclude([Outcome(done)])
    print(cut_off.step, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def killed_between_intent_and_outcome(dsn: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(paybill.__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", OPERATOR, dsn], stdout=subprocess.PIPE, text=True, env=environment
    ) as victim:
        step = victim.stdout.readline().strip()
        victim.send_signal(signal.SIGKILL)
        assert victim.wait(20) == -signal.SIGKILL
    return step


async def test_a_process_killed_between_intent_and_outcome_leaves_an_unfinished_step(db, control_dsn):
    step = await asyncio.to_thread(killed_between_intent_and_outcome, control_dsn)
    result = CliRunner().invoke(audit, ["verify", "--database", control_dsn])
    assert result.exit_code == 0, result.output
    assert "1 unfinished" in result.output
    assert "Database/t-cut" in result.output
    assert "Namespace/t-done" not in result.output

    successor = AuditLog(db.pool, epoch=await take_epoch(db))
    (token,) = await successor.intend([intent(1)])
    await successor.conclude([Outcome(token)])
    await successor.close()
    report = json.loads(CliRunner().invoke(audit, ["verify", "--output", "json", "--database", control_dsn]).stdout)
    assert [row["step"] for row in report["unfinished"]] == [step]
    assert (report["intact"], report["rows"], len(report["heads"])) == (True, 5, 2)
