"""What binds a tenant is in force before anybody of the tenant may act, and nobody of the tenant can change it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds, path, user
from tests.cluster.customers import Customer, Customers
from tests.cluster.journal import Journal
from tests.cluster.waiting import until
from tests.conftest import LocalThread

GROUP = "acme-admins"
OWNERS = {"owners": [{"kind": "Group", "name": GROUP}]}


@contextlib.contextmanager
def frozen(control_plane: LocalThread, program: str) -> Iterator[None]:
    """Stop a program of the control plane where it stands, and let it go on afterwards."""
    child = next(child for child in control_plane.instance.children if child.command.name == program)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(child.pid, signal.SIGCONT)


async def test_nobody_gets_in_before_the_quota_is_enforced(api: Api, customers: Customers, journal: Journal) -> None:
    """By the order in etcd: versions of all objects come from one counter."""
    enforced: dict[str, int] = {}
    since = await api.version("ResourceQuota")

    async def note() -> None:
        async for _, quota in api.watch("ResourceQuota", since):
            hard = quota["spec"].get("hard")
            if hard and quota.get("status", {}).get("hard") == hard:
                version = int(quota["metadata"]["resourceVersion"])
                enforced.setdefault(quota["metadata"]["namespace"], version)

    watching = asyncio.create_task(note())
    await customers.plan(customers.prefix)
    made = await asyncio.gather(
        *(customers.onboard(f"n{number}", plan=customers.prefix, spec=OWNERS) for number in range(8))
    )
    await until(lambda: all(one.namespace in enforced for one in made))
    watching.cancel()

    for customer in made:
        binding = await api.get("RoleBinding", "paybill-owners", customer.namespace)
        secret = await api.get("Secret", f"t-{customer.id}-db", customer.namespace)
        assert binding is not None
        assert secret is not None
        for entry in (binding, secret):
            assert int(entry["metadata"]["resourceVersion"]) > enforced[customer.namespace]
        _assert_order_of_requests(journal, customer.namespace)


def _assert_order_of_requests(journal: Journal, namespace: str) -> None:
    """The same by the audit log: the controller's answer came before the owners' binding was asked for."""
    requests = [one for one in journal.all() if one.namespace == namespace and one.status < 300]
    seen = min(one.answered for one in requests if (one.resource, one.subresource) == ("resourcequotas", "status"))
    for name in ("paybill-owners", f"{namespace}-db"):
        assert min(one.received for one in requests if one.name == name and one.verb == "patch") > seen


async def test_while_nothing_enforces_the_quota_owners_stay_out(
    api: Api, customers: Customers, control_plane: LocalThread, name: str
) -> None:
    await customers.plan(name)
    with frozen(control_plane, "kube-controller-manager"):
        await api.apply(samples.tenant(name, **OWNERS), samples.subscription(name, name))
        found = await customers.until(name, lambda one: holds(one, "Ready", "QuotaNotEnforced", "False"))

        namespace = found["status"]["namespace"]
        assert "controller-manager" in condition(found, "Ready")["message"]
        assert found["status"]["phase"] == "Provisioning"
        assert holds(found, "Reconciling", "QuotaNotEnforced")
        assert condition(found, "Guarded") == {}
        assert {one["metadata"]["name"] for one in await api.list("RoleBinding", namespace)} == {"paybill-operator"}
        assert await api.get("Secret", f"{namespace}-db", namespace) is None

    await customers.ready(name)
    assert await api.get("RoleBinding", "paybill-owners", namespace) is not None


@pytest.fixture
async def customer(customers: Customers) -> Customer:
    return await customers.onboard(spec=OWNERS)


@pytest.fixture
async def owner(customer: Customer, control_plane: LocalThread) -> AsyncIterator[Api]:
    """Somebody of the tenant: no more than a member of its owners' group."""
    async with user(control_plane.kubeconfig_for("ann", GROUP)) as api:
        # A RoleBinding reaches the API server's own cache of rights a moment after it is written.
        await until(lambda: _may(api, "GET", path("ResourceQuota", customer.namespace)))
        yield api


async def _may(api: Api, method: str, where: str, body: Any = None) -> bool:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    status, _ = await api.call(method, where, body, kind)
    assert status < 300 or status == 403, status
    return status < 300


def _attacks(customer: Customer) -> dict[str, tuple[str, str, Object | None]]:
    """Each as method, path and body; they would loosen what binds the tenant."""
    space = customer.namespace
    allow_all = {
        "metadata": {"name": "allow-all"},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    }
    more = {
        "metadata": {"name": "more"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "paybill-tenant-owner"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    return {
        "edit the quota": ("PATCH", path("ResourceQuota", space, "paybill"), {"spec": {"hard": {"pods": "999"}}}),
        "delete the quota": ("DELETE", path("ResourceQuota", space, "paybill"), None),
        "edit the limits": ("PATCH", path("LimitRange", space, "paybill"), {"spec": {"limits": []}}),
        "delete the limits": ("DELETE", path("LimitRange", space, "paybill"), None),
        "open the network": ("PATCH", path("NetworkPolicy", space, "paybill"), {"spec": {"egress": [{}]}}),
        "delete the NetworkPolicy": ("DELETE", path("NetworkPolicy", space, "paybill"), None),
        "add a NetworkPolicy": ("POST", path("NetworkPolicy", space), allow_all),
        "let others in": ("PATCH", path("RoleBinding", space, "paybill-owners"), {"subjects": more["subjects"]}),
        "bind a role": ("POST", path("RoleBinding", space), more),
        "relabel the namespace": ("PATCH", path("Namespace", "", space), label),
        "delete the namespace": ("DELETE", path("Namespace", "", space), None),
    }


NAMESPACE_ADMIN_MAY_NOT = {
    "edit the quota", "delete the quota", "edit the limits", "delete the limits",
    "relabel the namespace", "delete the namespace",
}  # fmt: skip
"""What even Kubernetes' own role ``admin`` leaves to the cluster's administrator."""


@pytest.mark.parametrize("attack", list(_attacks(Customer("", "", "", ""))))
async def test_an_owner_cannot_loosen_what_binds_them(attack: str, api: Api, owner: Api, customer: Customer) -> None:
    """Denied with our role; allowed, in the same place, with the role that one would take instead."""
    method, where, body = _attacks(customer)[attack]
    assert not await _may(owner, method, where, body)

    stronger = "cluster-admin" if attack in NAMESPACE_ADMIN_MAY_NOT else "admin"
    await _pause(api, customer)  # it would heal what the attack changes
    await api.create(_binding("ClusterRoleBinding" if "namespace" in attack else "RoleBinding", customer, stronger))
    await until(lambda: _may(owner, method, where, body))


async def _pause(api: Api, customer: Customer) -> None:
    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {"paybill.dev/paused": "true"}}})


def _binding(kind: str, customer: Customer, role: str) -> Object:
    place = {"namespace": customer.namespace} if kind == "RoleBinding" else {}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": f"stronger-{customer.id}", **place},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": GROUP, "apiGroup": "rbac.authorization.k8s.io"}],
    }


async def test_an_owner_can_do_the_daily_work(owner: Api, customer: Customer) -> None:
    config = {"metadata": {"name": "settings"}, "data": {"a": "b"}}
    assert await _may(owner, "POST", path("ConfigMap", customer.namespace), config)
    assert await _may(owner, "GET", path("Secret", customer.namespace, f"t-{customer.id}-db"))
    assert await _may(owner, "GET", path("NetworkPolicy", customer.namespace, "paybill"))
    assert not await _may(owner, "GET", path("Secret", samples.OPERATOR_NAMESPACE))
    assert not await _may(owner, "GET", path("Tenant"))


async def test_pods_that_ask_for_more_than_restricted_are_refused(owner: Api, api: Api, customer: Customer) -> None:
    pod = {"metadata": {"name": "root"}, "spec": {"hostNetwork": True, "containers": [{"name": "a", "image": "a"}]}}
    assert not await _may(owner, "POST", path("Pod", customer.namespace), pod)

    await _pause(api, customer)
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    await api.edit("Namespace", customer.namespace, label)
    await until(lambda: _may(owner, "POST", path("Pod", customer.namespace), pod))


async def test_owners_taken_out_of_the_spec_are_out(api: Api, customer: Customer, owner: Api) -> None:
    await api.edit("Tenant", customer.name, {"spec": {"owners": None}})

    await until(lambda: _gone(api, "RoleBinding", "paybill-owners", customer.namespace))

    await until(lambda: _not(_may(owner, "GET", path("ConfigMap", customer.namespace))))


async def _gone(api: Api, kind: str, name: str, namespace: str) -> bool:
    return await api.get(kind, name, namespace) is None


async def _not(answer: Any) -> bool:
    return not await answer
