"""The operator as a cluster would run it: the chart's account and rights, its pod's environment, its probes.

Nothing here was set up by the local installer; what a kubelet would do is done by kubelet.py.
"""

from __future__ import annotations

import base64
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.chart.helm import NAMESPACE, RELEASE, Helm, Object
from tests.chart.kubelet import Kubelet, login
from tests.chart.server import create, namespace, read, remove
from tests.cluster.api import Api, Refused, accepted, holds, user
from tests.cluster.waiting import stays, until
from tests.conftest import LocalThread

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "install.md"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:paybill-operator"
LEASE_SECONDS = 3


def secret(name: str, **content: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def shown_on_the_page() -> list[Object]:
    """Every object that the page tells its readers to apply."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    documents = [document for block in blocks for document in yaml.safe_load_all(block)]
    return [document for document in documents if "kind" in document]


def uri(dsn: str, **changes: str) -> str:
    """A connection string as the page writes it."""
    parts = conninfo_to_dict(dsn) | changes
    login = f"{quote(parts['user'])}:{quote(parts['password'])}"
    return f"postgresql://{login}@{parts['host']}:{parts['port']}/{parts['dbname']}?sslmode=disable"


@pytest.fixture
async def kubelet(cluster: Helm, plane: LocalThread, admin: Api, tmp_path: Path) -> AsyncIterator[Kubelet]:
    """A release, its control database and the Secrets that the page tells its readers to make."""
    database = "paybill_control"
    with psycopg.connect(plane.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    cluster.install({"operator": {"leaseSeconds": LEASE_SECONDS}})
    secrets = [
        secret("paybill-control-database", uri=uri(plane.postgres_dsn, dbname=database)),
        secret("paybill-servers", **{"pool-1": uri(plane.postgres_dsn)}),
    ]
    for one in secrets:
        await create(admin, one)
    kubelet = Kubelet(plane, admin, tmp_path)
    yield kubelet
    for replica in kubelet.started:
        kubelet.stop(replica)
    for one in secrets:
        await remove(admin, "Secret", one["metadata"]["name"], NAMESPACE)


async def test_the_operator_leads_and_the_pages_first_customer_becomes_ready(kubelet: Kubelet, admin: Api) -> None:
    operator = await kubelet.start("operator")
    await until(operator.leads)
    wanted = shown_on_the_page()
    assert [obj["kind"] for obj in wanted] == ["Cell", "Plan", "Tenant", "Subscription"]
    await admin.apply(*wanted)

    async def ready() -> bool:
        return holds(await admin.get("Tenant", "first-customer"), "Ready")

    await until(ready, otherwise=lambda: kubelet.plane.instance.home.logs)
    tenant = await admin.get("Tenant", "first-customer")
    assert tenant is not None
    home = tenant["status"]["namespace"]
    quota = await admin.get("ResourceQuota", "paybill", home)
    assert quota is not None
    assert quota["status"]["hard"] == quota["spec"]["hard"]
    owner = kubelet.plane.kubeconfig_for("somebody", "first-customer-admins")
    async with user(owner) as somebody:
        assert await somebody.list("Secret", home)
        with pytest.raises(Refused, match="forbidden"):
            await somebody.list("Secret", NAMESPACE)
    binding = await admin.get("RoleBinding", "paybill-operator", home)
    assert binding is not None
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "paybill-operator"}]
    await admin.delete("Subscription", "first-customer")
    await admin.delete("Tenant", "first-customer")

    async def gone() -> bool:
        return await admin.get("Tenant", "first-customer") is None

    await until(gone)


async def test_both_replicas_are_ready_one_leads_and_the_other_takes_over(
    kubelet: Kubelet, cluster: Helm, admin: Api
) -> None:
    cluster.install({"replicas": 2, "operator": {"leaseSeconds": LEASE_SECONDS}})
    deployment = await read(admin, "Deployment", "paybill-operator", NAMESPACE)
    assert deployment is not None
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probes = [container[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe")]
    first = await kubelet.start("first")
    await until(first.leads)
    second = await kubelet.start("second")

    async def passes() -> bool:
        return [await second.probe(path) for path in probes] == [200, 200]

    await until(passes, otherwise="the standby is not ready, so no rollout would end")
    assert not await second.leads()
    assert await first.leads()
    kubelet.stop(first)
    await until(second.leads)


async def test_an_operator_without_its_control_database_is_alive_and_not_ready_and_ends_when_told(
    kubelet: Kubelet,
) -> None:
    def spoil(environment: dict[str, str]) -> None:
        # Where nobody listens.
        wrong = Path(environment["PAYBILL_CONTROL_DATABASE_FILE"]).with_name("wrong")
        wrong.write_text("postgresql://u:p@127.0.0.1:9/nothing")
        environment["PAYBILL_CONTROL_DATABASE_FILE"] = str(wrong)

    replica = await kubelet.start("lost", spoil)

    async def alive() -> bool:
        return await replica.probe("/healthz") == 200

    async def unready() -> bool:
        return await replica.probe("/standbyz") == 503

    await until(alive)
    await stays(unready, seconds=1.0)
    # It can be told to go: a rollout that mends the Secret does not wait for it to be killed.
    os.kill(replica.child.pid or 0, signal.SIGTERM)
    await until(lambda: replica.child.pid is None, seconds=10.0)


ATTEMPTS: dict[str, Callable[[Api, str], object]] = {
    "read the Secrets of a foreign namespace": lambda api, there: api.list("Secret", there),
    "read every Secret of the cluster": lambda api, _: api.list("Secret"),
    "run a pod": lambda api, there: api.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": there},
         "spec": {"serviceAccountName": "runner", "containers": [{"name": "c", "image": "i"}]}}
    ),
    "make itself an administrator": lambda api, there: api.create(bound("cluster-admin", there)),
    "change a kind": lambda api, _: api.call_accepted(
        "PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tenants.paybill.dev"
    ),
    "declare a tenant": lambda api, _: api.create(
        {"apiVersion": "paybill.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "chart-own"},
         "spec": {"owners": [{"kind": "Group", "name": "g"}]}}
    ),
}  # fmt: skip


def bound(role: str, there: str) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "own", "namespace": there},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "paybill-operator", "namespace": NAMESPACE}],
    }


class Account(Api):
    """The operator's account."""

    async def call_accepted(self, method: str, path: str) -> Object:
        patch = {"metadata": {"labels": {"changed": "yes"}}}
        return accepted(*await self.call(method, path, patch, "application/merge-patch+json"))


@pytest.mark.parametrize("what", ATTEMPTS)
async def test_the_operators_account_cannot(
    cluster: Helm, plane: LocalThread, admin: Api, tmp_path: Path, what: str
) -> None:
    # What the API server refuses whatever the account's roles say is another protection, and out of the way here.
    cluster.install({"admissionPolicies": {"enabled": False}})
    everything = {**bound("cluster-admin", ""), "kind": "ClusterRoleBinding", "metadata": {"name": f"{RELEASE}-all"}}
    config = await login(plane, admin, tmp_path / "kubeconfig", "paybill-operator")
    async with namespace(admin, accounts=("runner",)) as there, user(config) as session:
        account = Account(session.session)
        attempt = ATTEMPTS[what]
        with pytest.raises(Refused) as refused:
            await attempt(account, there)  # type: ignore[misc]
        assert refused.value.status == 403
        # With the one protection gone, that the account has few rights, the same succeeds.
        await create(admin, everything)
        try:

            async def succeeds() -> bool:
                try:
                    await attempt(account, there)  # type: ignore[misc]
                except Refused as error:
                    # The authorizer learns of the binding a moment later.
                    if error.status != 403:
                        raise
                    return False
                return True

            await until(succeeds)
        finally:
            await remove(admin, "ClusterRoleBinding", f"{RELEASE}-all")
            await admin.delete("Tenant", "chart-own")
