"""Operations as Jobs: a real Job controller makes the pods, a node done by hand runs them, a real Terraform works."""

from __future__ import annotations

import base64
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from paybill.cli.main import main
from paybill.desired import names
from paybill.desired.job import OperationPods, build
from paybill.engines.sealed import MARK
from paybill.lifecycle import job
from tests.cluster import samples
from tests.cluster.api import Api, Object, accepted, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.halting import PAID, UNPAID, paybill_json
from tests.cluster.node import Node
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread
from tests.engines.terraform.conftest import Cloud, cloud  # noqa: F401 - a fixture

Postgres = psycopg.AsyncConnection[Any]

SETTINGS = {"operation_pods": OperationPods(image="here", resources={}), "lease_seconds": 6.0}
HOME = samples.OPERATOR_NAMESPACE
SECONDS = 120.0
"""Three Pythons and a Terraform begin for each operation: four seconds on a quiet machine."""
GATE = "terraform_data.gate"
UP = ("up", "Succeeded")
MODULE = """
variable "name" { type = string }
variable "foundation" { type = map(string) }
variable "database" { type = any }

resource "terraform_data" "server" {
  input = var.name
}

# The server is the machine's own Postgres; what takes long is that somebody opens the gate.
resource "terraform_data" "gate" {
  triggers_replace = var.database.connections
  provisioner "local-exec" {
    command = "while [ ! -e ${var.foundation.gate} ]; do sleep 0.1; done"
  }
}

output "database" {
  value = {
    host           = var.foundation.host
    port           = tonumber(var.foundation.port)
    admin_user     = var.foundation.user
    admin_password = var.foundation.password
    sslmode        = "disable"
  }
  sensitive = true
}
"""


@pytest.fixture(scope="module")
def node(control_plane: LocalThread, installed: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if not any(map(shutil.which, ("terraform", "tofu"))):
        pytest.skip("neither terraform nor tofu is on PATH")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in the background ignores it, and so do ours
    with Node(control_plane, tmp_path_factory.mktemp("pods")) as by_hand:
        yield by_hand


@dataclass
class Scene:
    """A Cell whose tenants' servers are made by Terraform in Jobs; ``gate`` is a file that lets them be done."""

    api: Api
    control: Postgres
    node: Node
    name: str
    gate: Path

    async def begin(self, **limits: Any) -> None:
        """Declare a Silo tenant."""
        isolation = {"model": "Silo"}
        plan = {"isolation": isolation, "limits": {"database": {"connections": 5}, "quota": samples.QUOTA}}
        await self.api.apply(samples.ours("Plan", self.name, plan))
        there = {"cellRef": {"name": self.name}}
        await self.api.apply(samples.tenant(self.name, **there), samples.subscription(self.name, self.name))

    async def operations(self) -> list[tuple[str, str]]:
        rows = await self.control.execute(
            "SELECT kind, state FROM paybill.operations WHERE tenant_name = %s ORDER BY queued_time, id", (self.name,)
        )
        return list(await rows.fetchall())

    async def working(self) -> str | None:
        """The operation that works now, and is in the middle of it."""
        rows = await self.control.execute(
            "SELECT id FROM paybill.operations WHERE tenant_name = %s AND state = 'Running'", (self.name,)
        )
        row = await rows.fetchone()
        return str(row[0]) if row is not None and GATE in self.node.log(row[0]) else None

    async def row(self, operation: str) -> Object:
        rows = await self.control.execute(
            "SELECT state, reason, message, runner FROM paybill.operations WHERE id = %s", (operation,)
        )
        found = await rows.fetchone()
        assert found is not None
        return dict(zip(("state", "reason", "message", "runner"), found, strict=True))

    async def left(self) -> list[str]:
        """What operations of this test have in Kubernetes."""
        claimed = await self.control.execute("SELECT id FROM paybill.tenants WHERE tenant_name = %s", (self.name,))
        (tenant,) = await claimed.fetchone() or ("",)
        labels = f"{names.OPERATION_LABEL},{names.TENANT_LABEL}={tenant}"
        kinds = ("Job", "Pod", "Secret")
        return [
            f"{kind} {one['metadata']['name']}" for kind in kinds for one in await self.api.list(kind, HOME, labels)
        ]


@pytest.fixture
async def scene(
    api: Api, control: Postgres, node: Node, control_plane: LocalThread, cloud: Cloud, operator: Operator,  # noqa: F811
    name: str, tmp_path: Path,
) -> Scene:  # fmt: skip
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "paybill-operation", "namespace": HOME},
    }
    login = {key: base64.b64encode(value.encode()).decode() for key, value in cloud.credentials.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": HOME}, "data": login}
    await api.apply(account, secret)
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "main.tf").write_text(MODULE)
    server = conninfo_to_dict(control_plane.postgres_dsn)
    gate = tmp_path / "gate"
    gate.touch()
    engine = {
        "type": "Terraform", "runner": "Job", "modulePath": str(tmp_path / "module"),
        "state": {"url": f"s3://states/{name}?region=eu-central-1"},
        "foundation": {of: str(server[of]) for of in ("host", "port", "user", "password")} | {"gate": str(gate)},
    }  # fmt: skip
    credentials = {"secretRef": {"name": name}}
    await api.apply(samples.cell(name, provider="GCP", engine=engine, credentials=credentials))
    return Scene(api, control, node, name, gate)


async def test_a_tenant_lives_and_goes_by_jobs(
    scene: Scene, api: Api, customers: Customers, control: Postgres, control_dsn: str, name: str
) -> None:
    await scene.begin()
    customer = await customers.ready(name, seconds=SECONDS)
    binding = await customers.binding(customer)
    assert await may_connect(binding)
    assert await scene.operations() == [UP]
    await until(lambda: _nothing_left(scene), seconds=SECONDS)

    await api.edit("Subscription", name, UNPAID)
    await customers.until(name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    assert not await may_connect(binding)
    await api.edit("Subscription", name, PAID)
    await customers.until(name, lambda one: holds(one, "Ready", "Provisioned"))

    await api.delete("Subscription", name)
    await api.delete("Tenant", name)
    await until(lambda: _dropped(control, customer), seconds=SECONDS)
    assert await scene.operations() == [UP, ("destroy", "Succeeded")]
    await until(lambda: _nothing_left(scene), seconds=SECONDS)
    listed = CliRunner().invoke(main, ["operations", name, "--database", control_dsn])
    assert listed.output.count("Succeeded") == 2, listed.output


async def _nothing_left(scene: Scene) -> bool:
    return await scene.left() == []


async def _dropped(control: Postgres, customer: Customer) -> bool:
    row = await (await control.execute("SELECT state FROM paybill.tenants WHERE id = %s", (customer.id,))).fetchone()
    return row == ("dropped",)


async def _begun(scene: Scene) -> str:
    """Begin a tenant whose server takes until the gate is opened; returns the operation once it works."""
    scene.gate.unlink()
    await scene.begin()
    return str(await until(scene.working, seconds=SECONDS))


async def test_an_operator_that_ends_meanwhile_hears_the_answer_of_a_pod_that_had_nobody_to_tell(
    scene: Scene, customers: Customers, control_plane: LocalThread, operator: Operator, name: str
) -> None:
    operation = await _begun(scene)
    operator.crash()
    scene.gate.touch()
    await until(lambda: MARK in scene.node.log(operation), seconds=SECONDS)
    operator.start()

    await customers.ready(name, seconds=SECONDS)

    assert await scene.operations() == [UP]
    assert scene.node.begun.count(operation) == 1
    told = scene.node.log(operation)
    assert "terraform_data.gate" in told
    assert str(conninfo_to_dict(control_plane.postgres_dsn)["password"]) not in told, "the answer has it, sealed"
    assert "not-a-real-secret-key" not in told


@pytest.mark.exhaustive
async def test_an_operator_that_ends_and_begins_while_a_pod_works_waits_for_it(
    scene: Scene, customers: Customers, operator: Operator, name: str
) -> None:
    operation = await _begun(scene)
    operator.crash()
    operator.start()
    assert await scene.working() == operation
    scene.gate.touch()

    await customers.ready(name, seconds=SECONDS)
    assert await scene.operations() == [UP]
    assert scene.node.begun.count(operation) == 1


async def test_after_a_pod_that_was_killed_a_recovery_comes_first(
    scene: Scene, customers: Customers, name: str
) -> None:
    """It leaves the lock of its state behind, which the next pod of the stack knows for its own."""
    operation = await _begun(scene)
    scene.node.kill(operation)
    await until(lambda: _ended(scene, operation), seconds=SECONDS)
    scene.gate.touch()

    await customers.ready(name, seconds=SECONDS)
    assert await scene.operations() == [("up", "Failed"), ("recover", "Succeeded"), UP]
    row = await scene.row(operation)
    assert row["reason"] == "RecoveryNeeded"
    assert "died without a word" in row["message"]


async def _ended(scene: Scene, operation: str) -> bool:
    return (await scene.row(operation))["state"] not in ("Waiting", "Running")


async def test_one_that_is_cancelled_is_asked_and_says_so(
    scene: Scene, control_plane: LocalThread, control_dsn: str, name: str
) -> None:
    operation = await _begun(scene)

    shown = await paybill_json(control_plane.kubeconfig, "cancel", operation, "--database", control_dsn)

    assert (shown["state"], shown["reason"]) == ("Failed", "Cancelled")
    assert "Interrupted" not in shown["message"]
    await until(lambda: _nothing_left(scene), seconds=SECONDS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("what", ["Pod", "Job"])
async def test_what_somebody_deletes_is_stopped_in_order_and_begun_anew(
    scene: Scene, api: Api, customers: Customers, name: str, what: str
) -> None:
    operation = await _begun(scene)
    labels = f"{names.OPERATION_LABEL}={operation}"
    (found,) = await api.list(what, HOME, labels)

    await api.delete(what, found["metadata"]["name"], HOME)

    await until(lambda: _ended(scene, operation), seconds=SECONDS)
    assert (await scene.row(operation))["reason"] == "PodStopped"
    scene.gate.touch()
    await customers.ready(name, seconds=SECONDS)
    assert await scene.operations() == [("up", "Failed"), UP], "it could say what it had done, so nothing is in doubt"


@pytest.mark.exhaustive
async def test_a_pod_that_does_not_begin_has_changed_nothing(
    scene: Scene, customers: Customers, operator: Operator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "START", timedelta(seconds=2))
    scene.node.holds = True
    try:
        await scene.begin()
        operation = await until(lambda: _waits(scene), seconds=SECONDS)
        await until(lambda: _ended(scene, operation), seconds=SECONDS)
    finally:
        scene.node.holds = False
        monkeypatch.undo()
    row = await scene.row(operation)
    assert (row["state"], row["reason"]) == ("Failed", "PodNotStarted")
    assert "there is no such image" in row["message"]

    await customers.ready(name, seconds=SECONDS)
    assert await scene.operations() == [("up", "Failed"), UP]


async def _waits(scene: Scene) -> str:
    rows = await scene.control.execute("SELECT id FROM paybill.operations WHERE tenant_name = %s", (scene.name,))
    (operation,) = await rows.fetchone() or ("",)
    pods = await scene.api.list("Pod", HOME, f"{names.OPERATION_LABEL}={operation}") if operation else []
    return operation if any("containerStatuses" in pod["status"] for pod in pods) else ""


async def test_its_pod_is_taken_where_pod_security_is_at_its_strictest(api: Api, name: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    await until(lambda: api.get("ServiceAccount", "default", name))
    pods = OperationPods(image="here", service_account_name="default")
    template = build("a-1", "a", "one", name, pods, lasts=timedelta(1), grace=timedelta(1))["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "one", "namespace": name}
    where = f"/api/v1/namespaces/{name}/pods"

    accepted(*await api.call("POST", where, pod, dryRun="All", fieldValidation="Strict"))

    del pod["spec"]["containers"][0]["securityContext"]
    status, answer = await api.call("POST", where, pod, dryRun="All")
    assert (status, "violates PodSecurity" in answer["message"]) == (403, True)
