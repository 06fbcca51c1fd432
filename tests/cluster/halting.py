"""What the tests of halts share: the mode's ConfigMap, the command line, and what the audit log says was done."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from click.testing import CliRunner, Result

from paybill.cli.main import main
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition
from tests.cluster.running import Operator
from tests.cluster.waiting import until

MODE = "paybill-mode"
UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}


def mode(name: str, reason: str = "a test", by: str = "somebody") -> Object:
    """The ConfigMap as anybody may write it."""
    metadata = {"name": MODE, "namespace": samples.OPERATOR_NAMESPACE}
    data = {"mode": name, "reason": reason, "by": by, "time": samples.moment()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def set_mode(api: Api, operator: Operator, name: str) -> None:
    """Write the mode, and wait until the operator has taken it up."""
    await api.apply(mode(name))
    await until(lambda: mode_of(operator) == name)


def mode_of(operator: Operator) -> str:
    return operator.call(lambda world: str(world.brakes.halt.mode))


async def paybill(kubeconfig: Path, *words: str, answer: str = "") -> Result:
    """Run the command line as an administrator; in a thread, because it has a loop of its own."""
    arguments = [*words, "--kubeconfig", str(kubeconfig)]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments, input=answer)


async def paybill_json(kubeconfig: Path, *words: str) -> Any:
    done = await paybill(kubeconfig, *words, "--output", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def says(api: Api, name: str, reason: str) -> bool:
    """Whether a Tenant is not Ready for a reason, and goes on by itself."""
    found = await api.get("Tenant", name)
    waits = condition(found, "Reconciling").get("status") == "True"
    return waits and condition(found, "Ready").get("reason") == reason


async def done(control: psycopg.AsyncConnection[Any], *actions: str, cell: str | None = None) -> Counter[str]:
    """How often each tenant id had an action begun, by the audit log."""
    found = await control.execute(
        "SELECT tenant_id FROM paybill.audit_log WHERE kind = 'intent' AND action = ANY(%s)"
        " AND (%s::text IS NULL OR cell = %s)",
        (list(actions), cell, cell),
    )
    return Counter(str(row[0]) for row in await found.fetchall())


def later(operator: Operator, **span: float) -> None:
    """Put the operator's clock ahead."""
    operator.clock.offset += timedelta(**span)
