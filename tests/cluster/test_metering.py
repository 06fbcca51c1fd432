"""What tenants use is measured by the operator, kept, and shown to whoever asks."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest

from paybill.cli.main import main
from paybill.reconcile import metering, metrics
from tests.cluster.customers import Customers, connect
from tests.cluster.halting import paybill, paybill_json
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread


async def used(dsn: str, *words: str) -> str:
    """What ``paybill usage`` prints."""
    arguments = ["usage", *words, "--database", dsn]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


async def test_it_is_kept_by_the_hour_and_shown(
    customers: Customers, operator: Operator, control_dsn: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled, own = await customers.onboard("pooled"), await customers.onboard("own", database="Database")
    binding = await customers.binding(own)
    await customers.quiet()
    journal.begin()
    monkeypatch.setattr(metering, "SPREAD", 1)  # every server's minute has come

    def forget(world: Any) -> None:
        for attached in world.servers:
            attached.metered_hour = None

    async def measured() -> dict[str, Any] | None:
        rows = {row["tenant_name"]: row for row in json.loads(await used(control_dsn, "--output", "json"))}
        return rows if {own.name, pooled.name} <= rows.keys() else None

    async with await connect(binding):
        operator.call(forget)
        operator.look_at("Cell", "local", deep=True)
        found = await until(measured)

    assert found[own.name]["level"] == "Database"
    assert found[own.name]["bytes"] > 1_000_000
    assert found[own.name]["connections"] == 1
    assert found[own.name]["transactions"] > 0
    assert found[pooled.name]["bytes"] == 0
    assert found[pooled.name]["transactions"] is None
    # The Cell may count its new tenants only now.
    assert {one.what for one in journal.writes()} <= {"patch cells/status"}
    listed = list(csv.DictReader(io.StringIO(await used(control_dsn, own.id, "--since", "24h", "--csv"))))
    assert [row["id"] for row in listed] == [own.id]
    shown = metrics.WorldCollector(
        list, lambda: 0, lambda: operator.world.cluster.breaker,
        lambda: operator.world.operations.sample(operator.world.now()),
        list, list,
        lambda: operator.call(lambda world: list(metering.samples(world))),
    )  # fmt: skip
    registry = metrics.CollectorRegistry()
    registry.register(shown)
    assert f'paybill_tenant_database_connections{{tenant="{own.name}"}} 1.0' in generate_latest(registry).decode()


async def test_a_cell_shows_its_servers_and_their_room(
    customers: Customers, operator: Operator, control_plane: LocalThread
) -> None:
    await customers.onboard()

    async def counted() -> Any:
        (cell,) = await paybill_json(control_plane.kubeconfig, "cell", "status", "local")
        servers = {server["server"]: server for server in cell["servers"]}
        return servers if servers["schemas-1"]["tenants"] else None

    operator.look_at("Cell", "local")
    servers = await until(counted)
    assert servers["schemas-1"]["next"] is True
    assert servers["databases-1"]["holds"] == "Databases"
    assert servers["databases-1"]["reachable"] is True
    shown = await paybill(control_plane.kubeconfig, "cell", "status")
    assert "schemas-1" in shown.stdout
    assert "as of the operator's last look at the Cell" in shown.stderr
    wrong = await paybill(control_plane.kubeconfig, "cell", "status", "nowhere")
    assert wrong.exit_code != 0
    assert "Cell nowhere does not exist (known: local)" in wrong.output
