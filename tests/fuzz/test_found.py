"""What fuzzing has found, once more and by name."""

from __future__ import annotations

import secrets

import pytest

from paybill.api.kinds import KINDS
from paybill.desired.names import FINALIZER
from paybill.local.bootstrap import Installed
from paybill.local.certificates import ADMIN
from tests.cases.agent_policy import policy as agent_policy
from tests.cases.agent_run import run as agent_run
from tests.cases.agent_workflow import workflow as agent_workflow
from tests.cluster import samples
from tests.cluster.admission_cases import approval
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customers
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.fuzz.answers import refused_by

ONE = [{"name": "seats", "integer": 1}]


@pytest.fixture
def name() -> str:
    return f"c{secrets.token_hex(4)}"


@pytest.fixture
def customers(api: Api, operator: Operator, local_cell: None, name: str) -> Customers:
    return Customers(api, operator, name)


async def test_a_status_whose_last_entry_goes_is_written(
    api: Api, customers: Customers, journal: Journal, name: str
) -> None:
    """An apply that empties a list or a mapping leaves null there, which the schema refuses."""
    await customers.plan(name, trialDays=0, features=ONE)
    customer = await customers.onboard(plan=name)
    found = await customers.until(name, lambda one: one["status"].get("entitlements"), kind="Subscription")
    assert found["status"]["anchors"]

    await customers.plan(name, trialDays=0)
    await customers.until(name, lambda one: not one["status"].get("entitlements"), kind="Subscription")
    await api.edit("Subscription", name, {"spec": {"payment": {"paidUntilTime": None}}})
    await customers.until(name, lambda one: _seen(one) and not one["status"].get("anchors"), kind="Subscription")
    await api.apply(samples.cell(name))
    await customers.until(name, lambda one: holds(one, "Ready"), kind="Cell")
    await api.edit("Cell", name, {"spec": {"servers": []}})
    await customers.until(name, lambda one: _seen(one) and not one["status"].get("servers"), kind="Cell")

    assert customer.plan == name
    assert refused_by(journal) == []


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_the_longest_entitlements_fit_wherever_they_are_written(
    api: Api, customers: Customers, journal: Journal, name: str
) -> None:
    """A status, a ConfigMap and a kept revision hold little more than 1 MiB; a Plan's features alone may be 512 KiB."""
    await customers.plan(name, features=_features("plan", "数" * 742))
    customer = await customers.onboard(plan=name, entitlements={"set": _features("set", "数" * 742)})
    assert len(await customers.entitlements(customer)) > 256

    await api.edit("Subscription", name, {"spec": {"entitlements": {"set": _features("set", "<" * 1024)}}})
    assert "shorten texts" in await customers.stalled(name, "TooManyEntitlements")
    assert len(await customers.entitlements(customer)) > 256, "what was handed out stands"
    assert refused_by(journal) == []


def _features(prefix: str, text: str) -> list[Object]:
    return [{"name": f"{prefix}-{number:03}", "string": text} for number in range(128)]


@pytest.mark.parametrize("kind", sorted(kind.kind for kind in KINDS))
async def test_our_finalizer_goes_whoever_put_it_there(kind: str, api: Api, operator: Operator, name: str) -> None:
    """As on an object that was restored from a backup: apply alone takes away only what is the operator's own."""
    made = {
        "Plan": samples.plan(name), "Cell": samples.cell(name), "Tenant": samples.tenant(name),
        "Subscription": samples.subscription(name, "no-such-plan"),
        "Approval": approval("Tenant", name, ADMIN.user),
        "TenantBackup": samples.ours("TenantBackup", name, {"tenantRef": {"name": name}}),
        "AgentPolicy": agent_policy(),
        "AgentWorkflow": agent_workflow(),
        "AgentRun": agent_run(requestedBy=ADMIN.user),
        "TenantRestore": samples.ours("TenantRestore", name, {"backupRef": {"name": name}}),
    }[kind]  # fmt: skip
    obj: Object = {**made, "metadata": {"name": name, "finalizers": [FINALIZER, "example.com/hold"]}}
    await api.create(obj)

    await api.delete(kind, name)
    await until(lambda: _finalizers(api, kind, name, ["example.com/hold"]))
    await api.edit(kind, name, {"metadata": {"finalizers": None}})
    await until(lambda: _gone(api, kind, name))


async def test_conditions_of_others_give_way_to_ours(api: Api, customers: Customers, name: str) -> None:
    moment = "2026-01-01T00:00:00Z"
    many = [{"type": f"Other{n}", "status": "True", "reason": "X", "lastTransitionTime": moment} for n in range(62)]
    await api.create(samples.plan(name))
    await customers.until(name, lambda one: holds(one, "Ready"), kind="Plan")
    await api.edit("Plan", name, {"status": {"conditions": many}}, status=True)

    found = await customers.until(name, lambda one: holds(one, "Ready"), kind="Plan")
    assert {"Ready", "Reconciling", "Stalled"} <= {one["type"] for one in found["status"]["conditions"]}


async def test_a_servers_secret_that_is_no_text_is_said_on_the_cell(
    api: Api, customers: Customers, installed: Installed, name: str
) -> None:
    namespace = installed.settings.namespace
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
    await api.create({**secret, "data": {"schemas-1": "//4A"}})
    await api.apply(samples.cell(name, [samples.server(secret=name)]))

    found = await customers.until(name, lambda one: holds(one, "Stalled", "BadDsn"), kind="Cell")
    assert "is empty or no text" in condition(found, "Stalled")["message"]


def _seen(obj: Object) -> bool:
    return bool(obj["status"]["observedGeneration"] == obj["metadata"]["generation"])


async def _finalizers(api: Api, kind: str, name: str, wanted: list[str]) -> bool:
    found = await api.get(kind, name)
    return found is not None and found["metadata"].get("finalizers") == wanted


async def _gone(api: Api, kind: str, name: str) -> bool:
    return await api.get(kind, name) is None
