"""install, upgrade, rollback and uninstall by the real helm on a real API server; customers survive all of them."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from paybill.cli.crds import definitions
from paybill.desired.admission import POLICIES
from paybill.desired.names import OWNER_ROLE
from tests.chart.helm import CHART, NAMESPACE, RELEASE, Helm, HelmError, Object
from tests.chart.server import read, remove, where
from tests.cluster.api import OURS, Api, accepted, path
from tests.cluster.waiting import until

OPERATOR = "paybill-operator"
PLAN: Object = {
    "apiVersion": OURS,
    "kind": "Plan",
    "metadata": {"name": "chart-starter"},
    "spec": {"isolation": {"model": "Pooled", "compute": "Shared", "database": "Rows"}},
}
TENANT: Object = {
    "apiVersion": OURS,
    "kind": "Tenant",
    "metadata": {"name": "chart-acme"},
    "spec": {"owners": [{"kind": "Group", "name": "acme"}]},
}
CRDS = [yaml.safe_load(text)["metadata"]["name"] for text in definitions().values()]


async def served(admin: Api) -> bool:
    for name in CRDS:
        crd = await read(admin, "CustomResourceDefinition", name)
        conditions = (crd or {}).get("status", {}).get("conditions", [])
        if not any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return False
    return (await admin.call("GET", f"/apis/{OURS}/tenants"))[0] == 200


@pytest.fixture
async def customers(cluster: Helm, admin: Api) -> list[Object]:
    """A release, and what a user declared with it: with their UIDs, which a deletion would change."""
    cluster.install()
    await until(lambda: served(admin))
    yield await admin.apply(PLAN, TENANT)
    if await served(admin):
        await admin.delete("Tenant", TENANT["metadata"]["name"])
        await admin.delete("Plan", PLAN["metadata"]["name"])


async def same(admin: Api, customers: list[Object]) -> bool:
    for obj in customers:
        found = await admin.get(obj["kind"], obj["metadata"]["name"])
        assert found is not None, f"{obj['kind']} is gone"
        assert found["metadata"]["uid"] == obj["metadata"]["uid"]
        assert "deletionTimestamp" not in found["metadata"]
    return True


async def replicas(admin: Api) -> int:
    found = await read(admin, "Deployment", OPERATOR, NAMESPACE)
    assert found is not None
    return int(found["spec"]["replicas"])


async def pods(admin: Api) -> list[Object]:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    return accepted(*await admin.call("GET", path, labelSelector="app.kubernetes.io/name=paybill"))["items"]


async def test_install_makes_pods_of_the_operators_account_with_a_token(cluster: Helm, admin: Api) -> None:
    cluster.install({"replicas": 2})
    found = await until(lambda: pods(admin), otherwise="the Deployment makes no pods")
    spec = found[0]["spec"]
    assert spec["serviceAccountName"] == OPERATOR
    assert any("serviceAccountToken" in source for volume in spec["volumes"]
               for source in volume.get("projected", {}).get("sources", []))  # fmt: skip
    assert await read(admin, "PodDisruptionBudget", OPERATOR, NAMESPACE) is not None


async def test_upgrade_and_rollback_change_the_operator_and_leave_customers_alone(
    cluster: Helm, admin: Api, customers: list[Object]
) -> None:
    cluster.install({"replicas": 3, "operator": {"workers": 4}})
    assert await replicas(admin) == 3
    assert await same(admin, customers)
    cluster.run("rollback", RELEASE, "1", "--namespace", NAMESPACE)
    assert await replicas(admin) == 1
    assert await read(admin, "PodDisruptionBudget", OPERATOR, NAMESPACE) is None
    assert await same(admin, customers)


async def test_uninstall_takes_the_operator_and_keeps_the_kinds_and_what_is_declared(
    cluster: Helm, admin: Api, customers: list[Object]
) -> None:
    said = cluster.uninstall()
    assert "[CustomResourceDefinition] tenants.paybill.dev" in said  # helm names what it kept
    for kind, name in (("Deployment", OPERATOR), ("ServiceAccount", OPERATOR), ("Role", OPERATOR)):
        assert await read(admin, kind, name, NAMESPACE) is None
    assert await read(admin, "ClusterRole", OPERATOR) is None
    assert await read(admin, "ClusterRole", OWNER_ROLE) is not None, "owners lose their access"
    assert await served(admin)
    assert await same(admin, customers)


async def test_after_an_uninstall_the_chart_can_be_installed_again(
    cluster: Helm, admin: Api, customers: list[Object]
) -> None:
    cluster.uninstall()
    cluster.install()
    assert await replicas(admin) == 1
    assert await same(admin, customers)


async def test_without_the_annotation_an_uninstall_would_have_taken_every_customer(
    cluster: Helm, admin: Api, customers: list[Object], tmp_path: Path
) -> None:
    template = edited_chart(tmp_path) / "templates" / "crds.yaml"
    text = template.read_text()
    assert text.count("helm.sh/resource-policy: keep") == 1
    template.write_text(text.replace("helm.sh/resource-policy: keep", "example.com/resource-policy: none"))
    cluster.install(chart=tmp_path / "paybill")
    cluster.uninstall()

    async def gone() -> bool:
        return await read(admin, "CustomResourceDefinition", "tenants.paybill.dev") is None

    await until(gone)


def edited_chart(folder: Path) -> Path:
    return Path(shutil.copytree(CHART, folder / "paybill"))


async def test_an_upgrade_brings_the_kinds_of_the_new_version(
    cluster: Helm, admin: Api, customers: list[Object], tmp_path: Path
) -> None:
    older = edited_chart(tmp_path) / "files" / "crds" / "paybill.dev_tenants.yaml"
    crd = yaml.safe_load(older.read_text())
    columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
    new = columns.pop()
    older.write_text(yaml.safe_dump(crd, sort_keys=False))

    async def shown() -> list[str]:
        found = await read(admin, "CustomResourceDefinition", "tenants.paybill.dev")
        assert found is not None
        return [column["name"] for column in found["spec"]["versions"][0]["additionalPrinterColumns"]]

    cluster.install(chart=tmp_path / "paybill")
    assert new["name"] not in await shown()
    cluster.install()
    assert new["name"] in await shown()
    assert await same(admin, customers)


async def test_leaving_the_kinds_to_somebody_else_does_not_delete_them(
    cluster: Helm, admin: Api, customers: list[Object]
) -> None:
    cluster.install({"crds": {"install": False}})
    assert await served(admin)
    assert await same(admin, customers)


async def test_a_second_release_in_the_cluster_is_refused_and_changes_nothing(
    cluster: Helm, admin: Api, customers: list[Object]
) -> None:
    before = copy.deepcopy(await read(admin, "ClusterRoleBinding", OPERATOR))
    with pytest.raises(HelmError, match="cannot be imported into the current release"):
        cluster.run("install", "second", str(CHART), "--namespace", "elsewhere", "--create-namespace")
    assert await read(admin, "ClusterRoleBinding", OPERATOR) == before
    assert await read(admin, "Deployment", OPERATOR, "elsewhere") is None
    assert await same(admin, customers)
    await remove(admin, "Namespace", "elsewhere")


async def test_the_rules_of_the_kinds_are_the_api_servers_own_from_then_on(cluster: Helm, admin: Api) -> None:
    cluster.install()
    await until(lambda: served(admin))
    wrong = {**TENANT, "metadata": {"name": "a.b"}}
    status, answer = await admin.call("POST", f"/apis/{OURS}/tenants", wrong, dryRun="All")
    assert (status, answer["reason"]) == (422, "Invalid")


KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
NAMES = {policy.name for policy in POLICIES}


async def policies(admin: Api) -> dict[str, set[str]]:
    """The names of the policies and bindings that the cluster has of ours."""
    found = {}
    for kind in KINDS:
        answer = accepted(*await admin.call("GET", where(kind)))
        names = {one["metadata"]["name"] for one in answer["items"]}
        found[kind] = {name for name in names if name.startswith("paybill-")}
    return found


async def protected(admin: Api) -> bool:
    """Whether a Tenant under contract may not be deleted (asked without deleting it)."""
    tenant = path("Tenant", "", TENANT["metadata"]["name"])
    status, answer = await admin.call("DELETE", tenant, dryRun="All")
    return status == 403 and "paybill-delete-protection" in answer["message"]


async def unprotected(admin: Api) -> bool:
    return not await protected(admin)


@pytest.fixture
async def contract(customers: list[Object], admin: Api) -> list[Object]:
    """The same customer under contract, as the operator would say it."""
    status = {"phase": "Active", "subscriptionRef": {"name": "chart-acme", "uid": "1"}}
    await admin.edit("Tenant", TENANT["metadata"]["name"], {"status": status}, status=True)
    return customers


async def test_the_policies_come_with_the_release_and_are_in_force(admin: Api, contract: list[Object]) -> None:
    assert await policies(admin) == dict.fromkeys(KINDS, NAMES)
    await until(lambda: protected(admin))
    assert await same(admin, contract)


async def test_the_policies_go_and_come_back_with_upgrade_and_rollback(
    cluster: Helm, admin: Api, contract: list[Object]
) -> None:
    cluster.install({"admissionPolicies": {"enabled": False}})
    assert await policies(admin) == {kind: set() for kind in KINDS}
    await until(lambda: unprotected(admin))
    cluster.run("rollback", RELEASE, "1", "--namespace", NAMESPACE)
    assert await policies(admin) == dict.fromkeys(KINDS, NAMES)
    await until(lambda: protected(admin))
    assert await same(admin, contract)


async def test_the_policies_leave_with_the_release_and_come_back_with_the_next(
    cluster: Helm, admin: Api, contract: list[Object]
) -> None:
    """Nothing of ours refuses anything where there is no Paybill; what is declared stays, and is protected again."""
    cluster.uninstall()
    assert await policies(admin) == {kind: set() for kind in KINDS}
    assert await same(admin, contract)
    cluster.install()
    await until(lambda: protected(admin))
    assert await same(admin, contract)


async def test_an_upgrade_brings_the_policies_of_the_new_version(
    cluster: Helm, admin: Api, customers: list[Object], tmp_path: Path
) -> None:
    older = edited_chart(tmp_path) / "files" / "admission" / "paybill-statuses.yaml"
    text = older.read_text()
    older.write_text(text.replace("tenants/status", "tenants/statuses"))

    async def looked_at() -> set[str]:
        found = await read(admin, "ValidatingAdmissionPolicy", "paybill-statuses")
        assert found is not None
        return set(found["spec"]["matchConstraints"]["resourceRules"][0]["resources"])

    cluster.install(chart=tmp_path / "paybill")
    assert "tenants/status" not in await looked_at()
    cluster.install()
    assert "tenants/status" in await looked_at()
    assert await same(admin, customers)
