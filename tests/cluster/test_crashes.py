"""The operator ends at any effect, before it or after it, whatever it is doing: the next one makes the rest, once.

Every journey is made to list its effects, at every door; then once more per effect and side of it, each time by another
tenant, with the operator ending there, or an answer lost, or nothing heard any more.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.cluster.api import Api
from tests.cluster.bench import Bench, differences, points, spread, steady
from tests.cluster.customers import Customers
from tests.cluster.faults import Fault, Faults, How, When
from tests.cluster.journeys import DELETE, PROVISIONING, ROADS, Journey, Road
from tests.cluster.picture import Picture, Postgres
from tests.cluster.running import Operator
from tests.cluster.waiting import until

SETTINGS = {"lease_seconds": 15.0}
"""It is given up when the operator ends; who takes it over from one who did not is tested elsewhere."""
SIDES: tuple[When, ...] = ("before", "after")
IN_THE_GATE = 2
"""Points per journey that the gate crashes at; the exhaustive tier takes all."""
LOST, SILENT = 8, 2
"""Points per journey, in the exhaustive tier, at which an answer is lost, and nothing is heard any more."""
TIMEOUT = 2.0
"""Seconds after which silence is given up; 15 for Kubernetes and 45 for Postgres outside of tests."""


@pytest.fixture(scope="module")
def crashed() -> set[int]:
    return set()


@pytest.fixture
async def bench(
    api: Api, customers: Customers, operator: Operator, postgres: Postgres, control: Postgres, control_dsn: str,
    road: tuple[Journey, str, str], crashed: set[int],
) -> AsyncIterator[Bench]:  # fmt: skip
    journey, compute, database = road
    made = Road(customers, control, compute, database)
    faults = Faults(operator.end_soon)
    operator.stop()
    operator.doors = faults.doors
    operator.start()
    await made.make_plans()
    await customers.quiet()
    bench = Bench(made, journey, operator, faults, api, postgres, control_dsn, crashed)
    yield bench
    faults.arm()


def named(road: tuple[Journey, str, str]) -> str:
    return f"{road[0].name}, {road[1]}/{road[2]}".replace(" ", "-")


async def surveyed(bench: Bench, *, twice: bool) -> tuple[Picture, list[str]]:
    """What a tenant is like after the journey, and its effects; ``twice``: and it is the same every time."""
    await bench.undisturbed()  # the first of a cell makes what all share
    wanted, effects = await bench.undisturbed()
    if twice:
        again, as_many = await bench.undisturbed()
        assert differences(wanted, again) == []
        assert steady(as_many, bench.journey) == steady(effects, bench.journey)
    return wanted, effects


def impatient(bench: Bench) -> None:
    """From now on the operator gives silence up soon."""
    bench.faults.seconds = bench.faults.patience = TIMEOUT
    bench.operator.restart()


async def spoiled(bench: Bench, faults: Sequence[Fault], wanted: Picture) -> None:
    """Every one of the faults, each on another tenant's way; all must have come."""
    missed = [fault.name for fault in faults if not await bench.spoil(fault, wanted)]
    assert steady(missed, bench.journey) == {}
    bench.operator.stop()
    assert bench.unfinished() == []


@pytest.mark.parametrize("road", [road for road in ROADS if road[1] == "Namespace"], ids=named)
async def test_what_was_begun_is_completed_once_wherever_it_was_cut_off(bench: Bench) -> None:
    wanted, effects = await bench.undisturbed()
    found = [Fault(*point, when) for point in points(effects) for when in SIDES]
    await spoiled(bench, spread(found, IN_THE_GATE), wanted)


@pytest.mark.exhaustive
@pytest.mark.parametrize("road", ROADS, ids=named)
async def test_the_operator_may_end_before_and_after_every_effect(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, effects = await surveyed(bench, twice=True)
    found = [Fault(*point, when) for point in points(effects) for when in SIDES]
    # The same code, with other objects: after each of them will do.
    if (bench.road.compute, bench.road.database) != ("Namespace", "Schema"):
        found = [fault for fault in found if fault.when == "after"]
    with capsys.disabled():
        sys.stdout.write(f"{len(effects)} effects, {len(found)} crashes: {', '.join(effects)}\n")
    await spoiled(bench, found, wanted)


@pytest.mark.parametrize("how", ["fail", "hang"])
@pytest.mark.parametrize("road", [ROADS[0]], ids=named)
async def test_an_operator_that_lives_on_recovers_by_itself(how: How, bench: Bench) -> None:
    wanted, effects = await bench.undisturbed()
    impatient(bench)
    found = [Fault(*point, when, how) for point in points(effects) for when in SIDES]
    await spoiled(bench, spread(found, 2), wanted)


@pytest.mark.parametrize("road", [(DELETE, "Namespace", "Schema")], ids=named)
async def test_a_deletion_that_was_noted_without_an_answer_is_carried_out(bench: Bench) -> None:
    wanted, _ = await bench.undisturbed()
    await spoiled(bench, [Fault("control update paybill.tenants", 1, "after", "fail")], wanted)


@pytest.mark.exhaustive
@pytest.mark.parametrize("road", ROADS, ids=named)
async def test_an_answer_may_be_lost(bench: Bench) -> None:
    wanted, effects = await surveyed(bench, twice=False)
    found = [Fault(*point, "after", "fail") for point in points(effects)]
    await spoiled(bench, spread(found, LOST), wanted)


@pytest.mark.exhaustive
@pytest.mark.parametrize("road", ROADS, ids=named)
async def test_no_silence_lasts(bench: Bench) -> None:
    wanted, effects = await surveyed(bench, twice=False)
    impatient(bench)
    found = [Fault(*point, when, "hang") for point in points(effects) for when in SIDES]
    await spoiled(bench, spread(found, SILENT), wanted)


@pytest.mark.parametrize("road", [(PROVISIONING, "Namespace", "Schema")], ids=named)
async def test_what_was_cut_off_before_our_own_rights_can_be_deleted(bench: Bench) -> None:
    """Namespace and roles are there, the RoleBinding that lets the operator see the pods is not."""
    name = await bench.start_out(Fault("patch rolebindings", 1))
    await until(lambda: bench.faults.happened)
    bench.crashed.add(bench.operator.world.epoch)
    bench.operator.crash()
    await bench.api.delete("Tenant", name)

    bench.operator.start()

    await DELETE.arrive(bench.road, name)
