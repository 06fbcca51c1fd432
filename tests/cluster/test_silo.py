"""A tenant with a database server of its own: made by an operation, kept, suspended, changed, destroyed with it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from paybill.cli.main import main
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect, secret
from tests.cluster.halting import PAID, UNPAID, done, later, paybill, paybill_json
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

pytestmark = pytest.mark.usefixtures("keeper")

Postgres = psycopg.AsyncConnection[Any]
SECONDS = 40.0
"""A server is made in about three seconds on a quiet machine."""


def silo(name: str, **spec: Any) -> Object:
    limits = {"database": {"connections": 5}, "quota": samples.QUOTA}
    return samples.ours("Plan", name, {"isolation": {"model": "Silo"}, "limits": limits, **spec})


async def onboard(api: Api, customers: Customers, name: str, **tenant: Any) -> Customer:
    await api.apply(silo(name), samples.tenant(name, **tenant), samples.subscription(name, name))
    return await customers.ready(name, seconds=SECONDS)


def server_of(control_plane: LocalThread, customer: Customer) -> Path:
    return control_plane.instance.home.servers / customer.id


def processes_of(folder: Path) -> list[int]:
    """The Postgres processes that serve a folder, or data that stands for it."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"-D" in words and any(folder.name.encode() in word for word in words):
                found.append(int(process.name))
    return found


async def operations(control: Postgres, customer: Customer) -> list[tuple[str, str]]:
    """What was done for a tenant, by the control database."""
    rows = await control.execute(
        "SELECT kind, state FROM paybill.operations WHERE tenant_id = %s ORDER BY queued_time, id", (customer.id,)
    )
    return list(await rows.fetchall())


async def test_it_gets_a_server_of_its_own(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, journal: Journal,
    operator: Operator, name: str,
) -> None:  # fmt: skip
    customer = await onboard(api, customers, name)
    binding = await customers.binding(customer)

    async with await connect(binding) as app:
        (schema,) = await (await app.execute("SELECT current_schema()")).fetchone() or ("",)
    assert schema == f"t_{customer.id}"
    assert len(processes_of(server_of(control_plane, customer))) > 0
    assert binding["port"] != str(psycopg.conninfo.conninfo_to_dict(control_plane.postgres_dsn)["port"])
    found = await api.get("Tenant", name)
    assert found is not None
    assert holds(found, "InfrastructureReady", "Applied")
    assert found["status"]["isolation"] == {"compute": "Namespace", "database": "Server"}
    assert found["status"]["infrastructure"]["verified"] == "Cloud"
    assert await operations(control, customer) == [("up", "Succeeded")]
    assert (await done(control, "stack.up"))[customer.id] == 1

    # Quiet when steady: a look, a deep look and a restart start no process and write nothing.
    await customers.quiet()
    journal.begin()
    operator.look_at("Tenant", name, deep=True)
    await customers.quiet()
    operator.restart()
    await customers.quiet()
    # A Cell counts its tenants when it is looked at first.
    assert [one.what for one in journal.writes() if one.what != "patch cells/status"] == []
    assert await operations(control, customer) == [("up", "Succeeded")]


async def test_it_is_suspended_and_resumed_with_the_same_credentials(
    api: Api, customers: Customers, control: Postgres, name: str
) -> None:
    customer = await onboard(api, customers, name)
    binding = await customers.binding(customer)

    await api.edit("Subscription", name, UNPAID)
    await customers.until(name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    assert not await may_connect(binding)

    await api.edit("Subscription", name, PAID)
    await customers.until(name, lambda one: holds(one, "Ready", "Provisioned"))
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)
    assert await operations(control, customer) == [("up", "Succeeded")], "payment needs no engine"


async def test_more_connections_are_an_operation_that_keeps_address_and_data(
    api: Api, customers: Customers, control: Postgres, name: str
) -> None:
    customer = await onboard(api, customers, name)
    binding = await customers.binding(customer)
    migrations = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(migrations["mig-uri"], autocommit=True) as mig:
        await mig.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    limits = {"database": {"connections": 9}, "quota": samples.QUOTA}
    await api.edit("Plan", name, {"spec": {"limits": limits}})

    await until(lambda: _ended(control, customer, 2), seconds=SECONDS)
    await customers.ready(name, seconds=SECONDS)
    assert await operations(control, customer) == [("up", "Succeeded"), ("up", "Succeeded")]
    assert await customers.binding(customer) == binding
    async with await connect(binding) as app:
        assert await (await app.execute("SELECT answer FROM kept")).fetchone() == (42,)
        (most,) = await (await app.execute("SHOW max_connections")).fetchone() or ("",)
    assert int(most) >= 9


async def _ended(control: Postgres, customer: Customer, count: int) -> bool:
    return [state for _, state in await operations(control, customer)].count("Succeeded") >= count


async def test_a_server_that_dies_comes_back_where_it_was(
    api: Api, customers: Customers, control_plane: LocalThread, name: str
) -> None:
    customer = await onboard(api, customers, name)
    binding = await customers.binding(customer)
    (postmaster,) = await _postmaster(control_plane, customer)

    os.kill(postmaster, signal.SIGKILL)

    await until(lambda: _another(control_plane, customer, postmaster), seconds=SECONDS)
    await until(lambda: may_connect(binding), seconds=SECONDS)


async def _postmaster(control_plane: LocalThread, customer: Customer) -> list[int]:
    found = processes_of(server_of(control_plane, customer))
    assert found
    return [min(found)]


def _another(control_plane: LocalThread, customer: Customer, before: int) -> bool:
    found = processes_of(server_of(control_plane, customer))
    return bool(found) and before not in found


async def test_a_password_that_is_another_one_by_now_is_asked_for_again(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, operator: Operator, name: str
) -> None:
    """As a cloud rotates it: the sessions that there are stay, the next one is refused."""
    customer = await onboard(api, customers, name)
    kept = server_of(control_plane, customer) / "postgres-password"
    found = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-stack")
    async with await psycopg.AsyncConnection.connect(found["admin-uri"], autocommit=True) as admin:
        await admin.execute("ALTER ROLE postgres PASSWORD 'another-one-by-now'")
        kept.write_text("another-one-by-now")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'paybill'")
    operator.look_at("Tenant", name, deep=True)

    await until(lambda: _ended(control, customer, 2), seconds=SECONDS)
    await customers.ready(name, seconds=SECONDS)
    assert await operations(control, customer) == [("up", "Succeeded"), ("outputs", "Succeeded")]
    found = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-stack")
    assert "another-one-by-now" in found["admin-uri"]
    await customers.quiet()
    operator.look_at("Tenant", name, deep=True)
    await customers.quiet()
    assert len(await operations(control, customer)) == 2, "it is asked for once"
    assert await may_connect(await customers.binding(customer))


async def test_it_is_deleted_with_its_server_and_its_data(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, name: str
) -> None:
    customer = await onboard(api, customers, name)
    binding = await customers.binding(customer)

    await api.delete("Subscription", name)
    await api.delete("Tenant", name)

    await until(lambda: _dropped(control, customer), seconds=SECONDS)
    assert not await may_connect(binding)
    assert not server_of(control_plane, customer).exists()
    assert processes_of(server_of(control_plane, customer)) == []
    assert await api.get("Namespace", customer.namespace) is None or "deletionTimestamp" in (
        (await api.get("Namespace", customer.namespace)) or {}
    ).get("metadata", {"deletionTimestamp": ""})
    assert await api.get("Secret", f"t-{customer.id}-stack", samples.OPERATOR_NAMESPACE) is None
    assert [kind for kind, _ in await operations(control, customer)] == ["up", "destroy"]
    assert (await done(control, "tenant.drop"))[customer.id] == 1


async def _dropped(control: Postgres, customer: Customer) -> bool:
    row = await (await control.execute("SELECT state FROM paybill.tenants WHERE id = %s", (customer.id,))).fetchone()
    return row == ("dropped",)


async def test_one_that_is_let_go_keeps_its_server(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, name: str
) -> None:
    customer = await onboard(api, customers, name, deletionPolicy="Retain")
    binding = await customers.binding(customer)

    await api.edit("Tenant", name, {"metadata": {"annotations": {"paybill.dev/allow-delete": name}}})
    await api.delete("Tenant", name)
    await until(lambda: _gone(api, name))

    assert await may_connect(binding)
    assert [kind for kind, _ in await operations(control, customer)] == ["up"]


async def _gone(api: Api, name: str) -> bool:
    return await api.get("Tenant", name) is None


async def test_an_operator_that_ends_meanwhile_runs_nothing_twice(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    await api.apply(silo(name), samples.tenant(name), samples.subscription(name, name))
    await until(lambda: _running(control, name))

    operator.crash()
    operator.start()

    customer = await customers.ready(name, seconds=SECONDS)
    assert await operations(control, customer) == [("up", "Succeeded")]
    assert await may_connect(await customers.binding(customer))


async def _running(control: Postgres, name: str) -> bool:
    row = await (
        await control.execute("SELECT state FROM paybill.operations WHERE tenant_name = %s", (name,))
    ).fetchone()
    return row == ("Running",)


async def test_a_cell_without_an_engine_says_so(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.cell(name), silo(name))
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))

    assert "add spec.engine" in await customers.stalled(name, "NoEngine")


async def test_what_needs_a_persons_word_waits_for_it(
    api: Api, customers: Customers, control: Postgres, name: str
) -> None:
    engine, policy = {"type": "Embedded"}, [{"model": "Silo", "policy": "Required"}]
    await api.apply(samples.cell(name, engine=engine, approval=policy), silo(name))
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))

    message = await customers.stalled(name, "ApprovalRequired", seconds=SECONDS)

    assert "1 to create" in message
    digest = message.split("(digest ")[1].rstrip(")")
    found = await api.get("Tenant", name)
    assert found is not None
    assert condition(found, "InfrastructureReady")["reason"] == "ApprovalRequired"
    customer = Customer(name, found["status"]["id"], found["status"]["namespace"], name)
    assert await operations(control, customer) == [("preview", "Succeeded")]

    await approve(api, f"{name}-other", found, "sha256:" + "0" * 64)
    await customers.quiet()
    assert await operations(control, customer) == [("preview", "Succeeded")], "an Approval of something else is none"

    await approve(api, name, found, digest)
    await customers.ready(name, seconds=SECONDS)
    assert await operations(control, customer) == [("preview", "Succeeded"), ("up", "Succeeded")]
    await customers.until(name, lambda one: holds(one, "Ready", "Used"), kind="Approval")


async def approve(api: Api, name: str, tenant: Object, digest: str) -> None:
    """As `paybill approve` does: an administrator's word for exactly these changes."""
    subject = {"kind": "Tenant", "name": tenant["metadata"]["name"], "uid": tenant["metadata"]["uid"]}
    spec = {"subject": subject, "digest": digest, "approver": "paybill-local-admin"}
    await api.apply(samples.ours("Approval", name, spec))


async def test_many_at_once_are_made_a_few_at_a_time(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    """The cell's limit holds at every moment that is looked at, and everybody has a turn."""
    await api.apply(samples.cell(name, engine={"type": "Embedded"}, limits={"operations": 2}), silo(name))
    names = [f"{name}-{number}" for number in range(6)]
    there = {"cellRef": {"name": name}}
    for one in names:
        await api.apply(samples.tenant(one, **there), samples.subscription(one, name))
    most = 0

    async def all_ready() -> bool:
        nonlocal most
        rows = await control.execute(
            "SELECT count(*) FROM paybill.operations WHERE cell = %s AND state = 'Running'", (name,)
        )
        most = max(most, (await rows.fetchone() or (0,))[0])
        found = await asyncio.gather(*(api.get("Tenant", one) for one in names))
        return all(holds(one, "Ready") for one in found)

    await until(all_ready, seconds=120)
    assert most == 2


async def test_what_is_changed_behind_our_back_is_told_and_put_right_where_the_cell_says_so(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, operator: Operator, name: str
) -> None:
    there = {"cellRef": {"name": name}}
    drift = {"policy": "Report", "every": "10m"}
    await api.apply(samples.cell(name, engine={"type": "Embedded"}, drift=drift))
    customer = await onboard(api, customers, name, **there)
    wanted = server_of(control_plane, customer) / "wanted.json"
    wanted.write_text(wanted.read_text().replace('"connections":5', '"connections":6'))

    later(operator, minutes=13)
    operator.look_at("Tenant", name, deep=True)

    # A difference that is only reported stops nobody, once the server is back that was restarted for it.
    found = await customers.until(
        name, lambda one: holds(one, "Drifted", "Differs") and holds(one, "Ready"), seconds=SECONDS
    )
    assert "connections" in condition(found, "Drifted")["message"]
    events = await api.list("Event", "default")
    assert [one["reason"] for one in events if one["involvedObject"]["name"] == name].count("Drifted") == 1
    assert [kind for kind, _ in await operations(control, customer)] == ["up", "drift"]

    await api.edit("Cell", name, {"spec": {"drift": {"policy": "Remediate"}}})
    operator.look_at("Tenant", name, deep=True)

    await customers.until(name, lambda one: not condition(one, "Drifted") and holds(one, "Ready"), seconds=SECONDS)
    assert '"connections":5' in wanted.read_text()
    assert [kind for kind, _ in await operations(control, customer)] == ["up", "drift", "up"]


async def test_a_preview_that_is_asked_for_changes_nothing_and_stops_nobody(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, control_dsn: str, name: str
) -> None:
    customer = await onboard(api, customers, name)
    asked = ["preview", name, "--database", control_dsn]

    shown = await paybill_json(control_plane.kubeconfig, *asked)

    assert (shown["kind"], shown["state"], shown["changes"]) == ("preview", "Succeeded", [])
    assert holds(await api.get("Tenant", name), "Ready")
    await customers.quiet()
    assert [kind for kind, _ in await operations(control, customer)] == ["up", "preview"]
    nobody = await paybill(control_plane.kubeconfig, "preview", "nobody-of-that-name", "--database", control_dsn)
    assert nobody.exit_code == 1
    assert "there is no Tenant" in nobody.output


async def test_the_word_is_given_on_the_command_line(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, control_dsn: str, name: str
) -> None:
    engine, policy = {"type": "Embedded"}, [{"model": "Silo", "policy": "Required"}]
    await api.apply(samples.cell(name, engine=engine, approval=policy), silo(name))
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))
    await customers.stalled(name, "ApprovalRequired", seconds=SECONDS)
    database = ["--database", control_dsn]
    kubeconfig = control_plane.kubeconfig

    other = await paybill(kubeconfig, "approve", name, "--yes", "--digest", "sha256:" + "0" * 64, *database)
    refused = await paybill(kubeconfig, "approve", name, *database, answer="n\n")
    dry = await paybill_json(kubeconfig, "approve", name, "--dry-run", *database)
    await customers.quiet()

    assert (other.exit_code, refused.exit_code) == (1, 1)
    assert [one["action"] for one in dry["changes"]] == ["create"]
    assert holds(await api.get("Tenant", name), "Stalled", "ApprovalRequired")
    allowed = await paybill(kubeconfig, "approve", name, *database, answer="y\n")
    assert allowed.exit_code == 0, allowed.output
    await customers.ready(name, seconds=SECONDS)
    found = await control.execute(
        "SELECT approved_by FROM paybill.operations WHERE tenant_name = %s AND kind = 'up'", (name,)
    )
    assert await found.fetchone() == ("paybill-local-admin",)
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["operations", name, *database])
    assert "Succeeded" in listed.output
