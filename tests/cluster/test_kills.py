"""The operator as a process of its own, killed as the kernel kills: at named points of its work, and at any moment.

Nothing of it is in the way out: no ``finally``, no Lease given back, no session closed, nothing flushed. Another
process waits for the Lease to run out and finishes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from paybill.local.bootstrap import Installed
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.customers import Customers
from tests.cluster.faults import Fault, Faults
from tests.cluster.journeys import DELETE, PLAN_CHANGE, PROVISIONING, RESUMPTION, RETAIN, SUSPENSION, Journey, Road
from tests.cluster.picture import Postgres
from tests.cluster.processes import Process
from tests.cluster.running import Operator

SETTINGS = {"lease_seconds": 3.0}

POINTS: dict[str, tuple[Journey, Fault]] = {
    "after the claim, before the namespace": (
        PROVISIONING, Fault("control commit insert into paybill.tenants", 1, "after"),
    ),
    "after an intent, before its act": (PROVISIONING, Fault("control commit audit intent namespace.apply", 1, "after")),
    "after an act, before its outcome": (PROVISIONING, Fault("patch namespaces", 1, "after")),
    "after the quota, before the Secret": (PROVISIONING, Fault("patch resourcequotas", 1, "after")),
    "in the middle of the tenant's SQL": (PROVISIONING, Fault("server script create role", 1, "during")),
    "after the SQL, before the Secret": (PROVISIONING, Fault("server script create role", 1, "after")),
    "between the two Secrets": (PROVISIONING, Fault("patch secrets", 1, "after")),
    "after the Secrets, before the registry knows of them": (PROVISIONING, Fault("control update paybill.tenants")),
    "in the first finalizer": (PROVISIONING, Fault("patch tenants", 1, "during")),
    "in the status write": (PROVISIONING, Fault("patch tenants/status", 1, "during")),
    "while evicting": (SUSPENSION, Fault("post pods/eviction", 1, "during")),
    "after the logins are closed, before it is said": (SUSPENSION, Fault("server script alter role", 1, "after")),
    "after the logins are open, before the pods may come": (RESUMPTION, Fault("server script alter role", 1, "after")),
    "before the last write of a resumption": (RESUMPTION, Fault("patch resourcequotas", 2, "before")),
    "after the registry has the new Plan, before the tenant has it": (
        PLAN_CHANGE, Fault("control update paybill.tenants", 1, "after"),
    ),
    "after the fence, before the registry has the deletion": (DELETE, Fault("post pods/eviction", 1, "after")),
    "in the finalizer's removal": (DELETE, Fault("patch tenants", 1, "during")),
    "between fence and drop": (DELETE, Fault("server pending drop schema", 1, "before")),
    "in the commit of the drop": (DELETE, Fault("server commit drop schema", 1, "during")),
    "after the drop, before the tombstone": (DELETE, Fault("server commit drop schema", 1, "after")),
    "after the release, before the finalizer's removal": (RETAIN, Fault("control update paybill.tenants", 1, "after")),
}  # fmt: skip
IN_THE_GATE = {"after an intent, before its act", "between fence and drop"}


@pytest.fixture(scope="module")
def crashed() -> set[int]:
    return set()


@pytest.fixture
async def bench(
    api: Api, customers: Customers, operator: Operator, postgres: Postgres, control: Postgres, control_dsn: str,
    point: str, crashed: set[int],
) -> Bench:  # fmt: skip
    faults = Faults(operator.end_soon)
    operator.stop()
    operator.doors = faults.doors
    operator.start()
    road = Road(customers, control, "Namespace", "Schema")
    await road.make_plans()
    await customers.quiet()
    return Bench(road, POINTS[point][0], operator, faults, api, postgres, control_dsn, crashed)


@pytest.mark.parametrize(
    "point", [pytest.param(one, marks=() if one in IN_THE_GATE else pytest.mark.exhaustive) for one in POINTS]
)
async def test_another_process_finishes_what_a_killed_one_began(
    point: str, bench: Bench, installed: Installed, tmp_path: Path
) -> None:
    wanted, _ = await bench.undisturbed()
    _, fault = POINTS[point]
    name = await bench.at_the_start()
    bench.operator.stop()
    victim = await Process.started(
        bench.operator.settings, installed.operator_kubeconfig, tmp_path / "operator.log", fault
    )
    try:
        await victim.leads()
        await bench.journey.begin(bench.road, name)
        said = await victim.said()
        assert said.startswith(f"ends at {fault.name}")
        await victim.died()
    finally:
        await victim.end()
    bench.crashed.add(await bench.epoch())
    anchors = await bench.anchors(name)

    bench.operator.start()

    await bench.journey.arrive(bench.road, name)
    await bench.settled(name)
    await bench.same(name, wanted, point)
    await bench.anchored(name, anchors)
    bench.operator.stop()
    assert bench.unfinished() == [], "only those killed left steps unfinished"
