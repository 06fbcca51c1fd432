"""Operations that fail, wait, are halted or outlive their operator: each goes on when it can, and none is run twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.engines import runner
from paybill.engines.embedded.folder import Folder, Wanted
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect
from tests.cluster.halting import later, says, set_mode
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

pytestmark = pytest.mark.usefixtures("keeper", "resumed")

Postgres = psycopg.AsyncConnection[Any]
SECONDS = 60.0
"""A server is made in about three seconds on a quiet machine."""
UP = ("up", "Succeeded")
MORE = {"spec": {"limits": {"database": {"connections": 9}, "quota": samples.QUOTA}}}
FEWER = {"spec": {"limits": {"database": {"connections": 5}, "quota": samples.QUOTA}}}


@pytest.fixture
async def resumed(api: Api, operator: Operator) -> Any:
    """Whatever the test did, the operator finds its servers and may act afterwards."""
    yield
    if not operator.running:
        operator.start()
    await set_mode(api, operator, "Full")
    _home(operator, str(operator.settings.embedded_home))


def _home(operator: Operator, path: str) -> None:
    operator.call(lambda world: setattr(world.operations, "embedded_home", path))


def silo(name: str) -> Object:
    return samples.ours("Plan", name, {"isolation": {"model": "Silo"}, **FEWER["spec"]})


async def begin(api: Api, name: str, *, plan: str | None = None, **tenant: Any) -> None:
    if plan is None:
        await api.apply(silo(name))
    await api.apply(samples.tenant(name, **tenant), samples.subscription(name, plan or name))


async def onboard(api: Api, customers: Customers, name: str) -> Customer:
    await begin(api, name)
    return await customers.ready(name, seconds=SECONDS)


async def operations(control: Postgres, name: str) -> list[tuple[str, str]]:
    """What was done for a tenant, by the control database."""
    rows = await control.execute(
        "SELECT kind, state FROM paybill.operations WHERE tenant_name = %s ORDER BY queued_time, id", (name,)
    )
    return list(await rows.fetchall())


async def running(control: Postgres, name: str) -> str | None:
    """The operation of a tenant that runs."""
    rows = await control.execute(
        "SELECT id FROM paybill.operations WHERE tenant_name = %s AND state = 'Running'", (name,)
    )
    row = await rows.fetchone()
    return str(row[0]) if row else None


async def dropped(control: Postgres, name: str) -> bool:
    rows = await control.execute("SELECT state FROM paybill.tenants WHERE tenant_name = %s", (name,))
    return await rows.fetchone() == ("dropped",)


async def connections(customers: Customers, customer: Customer) -> int:
    """How many the tenant's server lets in."""
    async with await connect(await customers.binding(customer)) as app:
        (most,) = await (await app.execute("SHOW max_connections")).fetchone() or ("",)
    return int(most)


async def test_what_only_people_can_mend_is_told_and_goes_on_when_they_did(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, operator: Operator, name: str
) -> None:
    """The folder of the tenant's server is another Tenant's: nothing of it is touched until it is moved away."""
    engine, policy = {"type": "Embedded"}, [{"model": "Silo", "policy": "Required"}]
    await api.apply(samples.cell(name, engine=engine, approval=policy))
    await begin(api, name, cellRef={"name": name})
    digest = (await customers.stalled(name, "ApprovalRequired", seconds=SECONDS)).split("(digest ")[1].rstrip(")")
    found = await api.get("Tenant", name)
    assert found is not None
    folder = Folder(control_plane.instance.home.servers, found["status"]["id"])
    theirs = Wanted(state="Stopped", tenant_id=folder.path.name, tenant_uid="theirs", installation="x", connections=5)
    folder.ask(theirs)

    subject = {"kind": "Tenant", "name": name, "uid": found["metadata"]["uid"]}
    spec = {"subject": subject, "digest": digest, "approver": "paybill-local-admin"}
    await api.apply(samples.ours("Approval", name, spec))
    message = await customers.stalled(name, "NameTaken", seconds=SECONDS)

    assert str(folder.path) in message
    assert "move it away" in message
    assert condition(await api.get("Tenant", name), "InfrastructureReady")["reason"] == "NameTaken"
    assert await operations(control, name) == [("preview", "Succeeded"), ("up", "Failed")]
    assert folder.wanted == theirs

    folder.path.rename(control_plane.instance.home.path / f"moved-{name}")
    operator.look_at("Tenant", name)
    await customers.quiet()
    assert await operations(control, name) == [("preview", "Succeeded"), ("up", "Failed")], "not before its pause"
    later(operator, minutes=16)
    operator.look_at("Tenant", name)
    await customers.ready(name, seconds=SECONDS)
    assert await operations(control, name) == [("preview", "Succeeded"), ("up", "Failed"), UP]


async def test_without_a_keeper_it_waits_longer_each_time_and_goes_on_when_there_is_one(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str, tmp_path: Path
) -> None:
    _home(operator, str(tmp_path))
    await begin(api, name)
    await until(lambda: says(api, name, "NoKeeper"), seconds=SECONDS)
    assert "`paybill up`" in condition(await api.get("Tenant", name), "Ready")["message"]

    later(operator, minutes=1)
    operator.look_at("Tenant", name)
    await until(lambda: _attempts(control, name, [1, 2]), seconds=SECONDS)

    _home(operator, str(operator.settings.embedded_home))
    later(operator, minutes=1)
    operator.look_at("Tenant", name)
    await customers.ready(name, seconds=SECONDS)
    assert await _attempts(control, name, [1, 2, 3])
    assert await operations(control, name) == [("up", "Failed"), ("up", "Failed"), UP]


async def _attempts(control: Postgres, name: str, expected: list[int]) -> bool:
    rows = await control.execute(
        "SELECT attempt FROM paybill.operations WHERE tenant_name = %s AND ended_time IS NOT NULL ORDER BY queued_time",
        (name,),
    )
    return [row[0] for row in await rows.fetchall()] == expected


async def test_a_change_that_failed_and_is_taken_back_is_taken_back(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str, tmp_path: Path
) -> None:
    """What was applied before is not known to be there any more: it is applied again, though it is what it was."""
    customer = await onboard(api, customers, name)
    _home(operator, str(tmp_path))
    await api.edit("Plan", name, MORE)
    await until(lambda: _is(control, name, [UP, ("up", "Failed")]), seconds=SECONDS)
    assert await may_connect(await customers.binding(customer)), "what is there goes on"

    _home(operator, str(operator.settings.embedded_home))
    await api.edit("Plan", name, FEWER)
    await until(
        lambda: _is(control, name, [UP, ("up", "Failed"), UP]),
        seconds=SECONDS,
        otherwise=lambda: operator.call(lambda world: world.operations.store.newest(customer.id)),
    )
    await customers.ready(name, seconds=SECONDS)
    assert await connections(customers, customer) < 9 + 15


async def _is(control: Postgres, name: str, expected: list[tuple[str, str]]) -> bool:
    return await operations(control, name) == expected


async def test_without_destruction_servers_are_made_but_none_is_destroyed(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    await set_mode(api, operator, "NonDestructive")
    customer = await onboard(api, customers, name)
    assert await operations(control, name) == [UP]

    await api.delete("Subscription", name)
    await api.delete("Tenant", name)
    await until(lambda: says(api, name, "Halted"), seconds=SECONDS)
    assert await may_connect(await customers.binding(customer))
    assert await operations(control, name) == [UP]

    await set_mode(api, operator, "Full")
    await until(lambda: dropped(control, name), seconds=SECONDS)
    assert await operations(control, name) == [UP, ("destroy", "Succeeded")]


async def test_while_it_only_observes_no_operation_begins(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    customer = await onboard(api, customers, name)
    before = await connections(customers, customer)
    await set_mode(api, operator, "Observe")
    await api.edit("Plan", name, MORE)
    operator.look_at("Tenant", name)
    await customers.quiet_for(3.0)
    assert [one for one in await operations(control, name) if one[1] != "Waiting"] == [UP]
    assert await connections(customers, customer) == before

    await set_mode(api, operator, "Full")
    await until(lambda: _is(control, name, [UP, UP]), seconds=SECONDS)
    await customers.ready(name, seconds=SECONDS)
    assert await connections(customers, customer) > before


async def test_a_tenant_that_is_deleted_while_its_server_is_made_leaves_none(
    api: Api, control: Postgres, control_plane: LocalThread, name: str
) -> None:
    await begin(api, name)
    operation = await until(lambda: running(control, name), seconds=SECONDS)

    await api.delete("Subscription", name)
    await api.delete("Tenant", name)

    await until(lambda: dropped(control, name), seconds=SECONDS)
    assert not (control_plane.instance.home.servers / operation.partition("-")[0]).exists()
    assert await operations(control, name) == [UP, ("destroy", "Succeeded")]


async def test_a_tenant_whose_server_could_never_be_made_can_be_deleted(
    api: Api, control: Postgres, operator: Operator, name: str, tmp_path: Path
) -> None:
    _home(operator, str(tmp_path))
    await begin(api, name)
    await until(lambda: says(api, name, "NoKeeper"), seconds=SECONDS)
    _home(operator, str(operator.settings.embedded_home))

    await api.delete("Subscription", name)
    await api.delete("Tenant", name)

    await until(lambda: dropped(control, name), seconds=SECONDS)
    assert await operations(control, name) == [("up", "Failed"), ("destroy", "Succeeded")]


async def test_a_tenant_that_was_deleted_while_nobody_led_is_destroyed_by_the_next(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    """Whoever has just begun is not connected to the tenant's own server yet."""
    customer = await onboard(api, customers, name)
    binding = await customers.binding(customer)
    operator.stop()
    await api.delete("Subscription", name)
    await api.delete("Tenant", name)
    operator.start()

    await until(lambda: dropped(control, name), seconds=SECONDS)
    assert not await may_connect(binding)
    assert await operations(control, name) == [UP, ("destroy", "Succeeded")]


async def test_of_what_nothing_is_left_is_recovered_before_it_is_tried_again(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    await begin(api, name)
    operation = await until(lambda: running(control, name), seconds=SECONDS)
    operator.crash()
    assert operator.settings.operations_folder is not None
    folder = operator.settings.operations_folder / operation
    worker = runner.Folder(folder).identity()
    if worker is not None:
        os.kill(worker.pid, signal.SIGKILL)
    shutil.rmtree(folder)

    operator.start()

    await customers.ready(name, seconds=SECONDS)
    assert await operations(control, name) == [("up", "Lost"), ("recover", "Succeeded"), UP]


async def test_an_operator_that_ends_again_and_again_runs_every_tenants_operation_once(
    api: Api, control: Postgres, operator: Operator, name: str
) -> None:
    await api.apply(samples.cell(name, engine={"type": "Embedded"}, limits={"operations": 2}), silo(name))
    names = [f"{name}-{number}" for number in range(6)]
    for one in names:
        await begin(api, one, plan=name, cellRef={"name": name})

    for ended in (0, 2, 4):
        await until(lambda ended=ended: _busy(control, name, ended), seconds=SECONDS)
        operator.crash()
        operator.start()

    await until(lambda: _all_ready(api, names), seconds=150)
    done = [await operations(control, one) for one in names]
    assert [one.count(UP) for one in done] == [1] * 6
    # A worker that had not begun when its operator ended is mended after, and never runs beside another.
    assert all(one[-1] == UP and {kind for kind, _ in one} <= {"up", "recover"} for one in done)


async def _busy(control: Postgres, cell: str, ended: int) -> bool:
    """Whether so many have ended and another one runs."""
    rows = await control.execute("SELECT state FROM paybill.operations WHERE cell = %s", (cell,))
    states = [row[0] for row in await rows.fetchall()]
    return states.count("Succeeded") >= ended and ("Running" in states or states.count("Succeeded") == 6)


async def _all_ready(api: Api, names: list[str]) -> bool:
    found = await asyncio.gather(*(api.get("Tenant", one) for one in names))
    return all(holds(one, "Ready") for one in found)


async def test_a_look_for_drift_that_was_only_queued_when_its_operator_ended_is_in_nobodys_way(
    api: Api, customers: Customers, operator: Operator, control: Postgres, name: str
) -> None:
    customer = await onboard(api, customers, name)
    operator.stop()
    await control.execute(
        "INSERT INTO paybill.operations (id, installation, tenant_id, tenant_name, cell, engine, kind, cause,"
        " inputs_digest, state, queued_time) SELECT id || '-00000000', installation, tenant_id, tenant_name, cell,"
        " engine, 'drift', 'due', inputs_digest, 'Waiting', now() FROM paybill.operations WHERE tenant_name = %s",
        (name,),
    )

    operator.start()
    await until(lambda: _all_ended(control, name), seconds=SECONDS)
    assert await operations(control, name) == [UP, ("drift", "Succeeded")]
    await api.edit("Plan", name, MORE)

    await until(lambda: _changed_twice(control, name), seconds=SECONDS)
    assert await may_connect(await customers.binding(customer))


async def _all_ended(control: Postgres, name: str) -> bool:
    return all(state not in ("Waiting", "Running") for _, state in await operations(control, name))


async def _changed_twice(control: Postgres, name: str) -> bool:
    return (await operations(control, name)).count(UP) == 2
