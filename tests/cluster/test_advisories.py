"""The thirteen security advisories of Capsule, the nearest neighbour of this project, none of which can be had here.

One test per advisory, named after it; its docstring says what it was and, where Paybill has no such part, which
property stands in its place. Each attack is made for real, against the API server and the running operator. Four of
them are answered by admission alone: test_advisories_admission.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from paybill import health
from paybill.api.failures import Invalid
from paybill.api.kinds import KINDS
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.local.bootstrap import Installed
from paybill.local.home import write_private
from tests.cluster import samples
from tests.cluster.api import Api, Object, Refused, accepted, path, user
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import stays, until
from tests.cluster.workloads import bare_pod
from tests.conftest import LocalThread

MERGE = "application/merge-patch+json"
MARKS = (names.INSTALLATION_LABEL, names.TENANT_LABEL, names.MANAGED_BY_LABEL)
STRIP = {"metadata": {"labels": dict.fromkeys(MARKS), "ownerReferences": None}}


@contextlib.asynccontextmanager
async def account(plane: LocalThread, admin: Api, namespace: str, name: str) -> AsyncIterator[Api]:
    """A ServiceAccount that is made, with a token of its own, as a pod would have it."""
    await admin.create({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace},
    })  # fmt: skip
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    where = path("ServiceAccount", namespace, name) + "/token"
    token = accepted(*await admin.call("POST", where, wanted))["status"]["token"]
    async with user(_with_token(plane, token)) as session:
        yield session


def _with_token(plane: LocalThread, token: str) -> Path:
    server = {"server": plane.api_url, "certificate-authority": str(plane.instance.ca_path)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": server}],
        "users": [{"name": "it", "user": {"token": token}}],
    }
    return write_private(plane.instance.home.path / f"{secrets.token_hex(4)}.kubeconfig", yaml.safe_dump(config))


@contextlib.asynccontextmanager
async def powers(admin: Api, subject: Object, role: str = "cluster-admin") -> AsyncIterator[None]:
    """Every right that RBAC can give, so that nothing but what is tested can refuse."""
    name = f"advisory-{secrets.token_hex(4)}"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}}
    await admin.create({**binding, "roleRef": reference, "subjects": [subject]})
    yield
    await admin.delete("ClusterRoleBinding", name)


async def test_cve_2022_46167_a_namespace_stripped_by_an_account_in_it_stays_bounded(
    control_plane: LocalThread, api: Api, customers: Customers
) -> None:
    """Capsule < 0.1.3: a ServiceAccount in a tenant patched its namespace, dropped the ownerReference, and was free.

    Here: an account with every right still cannot take a mark off; and where somebody breaks the glass and does, the
    quota goes on counting, because what bounds a tenant is enforced by Kubernetes and not by whoever reads the mark.
    """
    customer = await customers.onboard()
    subject = {"kind": "ServiceAccount", "name": "app", "namespace": customer.namespace}
    async with account(control_plane, api, customer.namespace, "app") as app, powers(api, subject):
        await until(lambda: app.get("Namespace", customer.namespace))
        with pytest.raises(Refused, match="paybill-namespace-marks"):
            await app.edit("Namespace", customer.namespace, STRIP)

        customers.operator.stop()
        await api.edit("Namespace", customer.namespace, STRIP)
        greedy = bare_pod(customer.namespace, "greedy")
        greedy["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "99"}, "limits": {"cpu": "99"}}
        with pytest.raises(Refused, match="exceeded quota: paybill"):
            await app.create(greedy)

        customers.operator.start()
        await until(lambda: _marked(api, customer))


async def _marked(api: Api, customer: Customer) -> bool:
    found = await api.get("Namespace", customer.namespace)
    return (found or {}).get("metadata", {}).get("labels", {}).get(names.TENANT_LABEL) == customer.id


async def test_cve_2023_46254_an_account_of_the_same_name_elsewhere_is_somebody_else(
    control_plane: LocalThread, installed: Installed, api: Api, customers: Customers, name: str
) -> None:
    """Capsule's proxy took ServiceAccounts of one name in two namespaces for one, and showed each the other's.

    Here identity is namespace and name: of an owner, and of the operator itself in every policy.
    """
    for place in (f"{name}-a", f"{name}-b"):
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}})
    owner = {"kind": "ServiceAccount", "name": "deployer", "namespace": f"{name}-a"}
    customer = await customers.onboard(spec={"owners": [owner]})
    async with (
        account(control_plane, api, f"{name}-a", "deployer") as mine,
        account(control_plane, api, f"{name}-b", "deployer") as theirs,
        account(control_plane, api, f"{name}-b", "paybill-operator") as namesake,
    ):
        await until(lambda: _may_list(mine, customer.namespace))
        assert not await _may_list(theirs, customer.namespace)

        status, answer = await theirs.call("GET", path("Secret", customer.namespace, f"t-{customer.id}-db"))
        assert (status, answer["reason"]) == (403, "Forbidden")

        powerful = {"kind": "ServiceAccount", "name": "paybill-operator", "namespace": f"{name}-b"}
        async with powers(api, powerful):
            await until(lambda: namesake.get("Namespace", customer.namespace))
            with pytest.raises(Refused, match="paybill-namespace-marks"):
                await namesake.edit("Namespace", customer.namespace, STRIP)
            with pytest.raises(Refused, match="paybill-statuses"):
                await namesake.edit("Tenant", customer.name, {"status": {"phase": "Suspended"}}, status=True)


async def _may_list(api: Api, namespace: str) -> bool:
    return (await api.call("GET", path("ConfigMap", namespace)))[0] == 200


async def test_cve_2023_48312_an_operator_whose_token_is_refused_concludes_nothing(
    control_plane: LocalThread, api: Api, customers: Customers
) -> None:
    """Capsule's proxy did not look at ``authenticated`` in the answer to a TokenReview: a refusal counted as a yes.

    Paybill reviews no tokens and has no proxy; the answers to authentication that it does get are the API server's to
    its own requests. Refused, it stops: no answer is never the answer that there is nothing. Its own HTTP side asks
    nobody for a token: it gives the same to everybody, holds nothing secret, and takes no orders.
    """
    customer = await customers.onboard()
    binding = await customers.binding(customer)
    event = asyncio.Event()
    async with health.served("127.0.0.1", 0, event, event) as port, aiohttp.ClientSession() as http:
        for page in ("metrics", "healthz", "standbyz", "readyz"):
            url = f"http://127.0.0.1:{port}/{page}"
            answers = [await _asked(http, "GET", url, token) for token in ("", "not-a-token")]
            # The figures move by themselves; that they are given, and what they are about, does not.
            assert answers[0][0] == answers[1][0]
            assert binding["password"] not in answers[0][1] + answers[1][1]
            for order in ("POST", "PUT", "PATCH", "DELETE"):
                assert (await _asked(http, order, url, ""))[0] == 405

    customers.operator.stop()
    unknown = Operator(customers.operator.settings, _with_token(control_plane, "not-a-token"))
    unknown.start(wait=False)
    try:
        await stays(lambda: not unknown.leads or unknown.failure is not None, seconds=1.5)
    finally:
        unknown.crash()
    assert await may_connect(binding)
    assert await api.get("Namespace", customer.namespace) is not None
    # With a token that is one, the same start leads.
    customers.operator.start()
    await customers.ready(customer.name)


async def _asked(http: aiohttp.ClientSession, method: str, url: str, token: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.request(method, url, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_cve_2024_39690_a_namespace_that_is_labelled_ours_is_not_taken_over(
    control_plane: LocalThread, api: Api, customers: Customers, name: str
) -> None:
    """Capsule <= 0.7.0: an owner patched a namespace of nobody's (kube-system) into their tenant, and owned it.

    Here nobody but the operator can set the marks; and a namespace that somebody marked all the same, by breaking the
    glass, is nobody's still: names come from the registry, so nothing is made in it, and it outlives the tenant.
    """
    customer = await customers.onboard(spec={"owners": [{"kind": "User", "name": "mallory"}]})
    found = await api.get("Namespace", customer.namespace)
    assert found is not None
    marks = {"metadata": {"labels": found["metadata"]["labels"], "annotations": found["metadata"]["annotations"]}}
    marks["metadata"]["labels"].pop("kubernetes.io/metadata.name")
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    person = {"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}
    async with user(control_plane.kubeconfig_for("mallory")) as mallory, powers(api, person):
        await until(lambda: mallory.get("Namespace", name))
        with pytest.raises(Refused, match="paybill-namespace-marks"):
            await mallory.edit("Namespace", name, marks)

    await api.edit("Namespace", name, marks)
    customers.operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    for kind in ("ResourceQuota", "RoleBinding", "NetworkPolicy", "Secret"):
        assert await api.list(kind, name) == []

    await api.delete("Subscription", customer.name)
    await api.delete("Tenant", customer.name)
    await until(lambda: _namespace_gone(api, customer.namespace))
    left = await api.get("Namespace", name)
    assert left is not None
    assert "deletionTimestamp" not in left["metadata"]


async def _namespace_gone(api: Api, name: str) -> bool:
    found = await api.get("Namespace", name)
    return found is None or "deletionTimestamp" in found["metadata"]


async def test_cve_2026_22872_the_operator_makes_nothing_cluster_scoped_but_namespaces(
    installed: Installed, api: Api
) -> None:
    """Capsule < 0.13.0: objects written raw into a TenantResource were applied with cluster-admin, of any scope.

    Paybill applies nothing that a user wrote: its builders make every object. And for all that the API server serves,
    its account may create nothing outside of namespaces but namespaces themselves, and the records of a backup and of a
    restore.
    """
    async with user(installed.operator_kubeconfig) as operator:
        allowed = [one async for one in _may_write(api, operator)]
    kinds = {kind.plural for kind in KINDS}
    creatable = {resource for resource, verb in allowed if verb == "create"}
    assert creatable == {"namespaces", "tenantbackups", "tenantrestores"}
    changed = {resource for resource, verb in allowed if verb in {"patch", "update"}}
    assert changed <= {"namespaces"} | kinds | {f"{kind}/status" for kind in kinds}


async def _may_write(admin: Api, operator: Api) -> AsyncIterator[tuple[str, str]]:
    """Each resource without namespaces with each verb that the account has for it, as the API server itself says."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    _, groups = await admin.call("GET", "/apis")
    places = [("", "/api/v1")]
    places += [(one["name"], f"/apis/{one['preferredVersion']['groupVersion']}") for one in groups["groups"]]
    for group, place in places:
        _, answer = await admin.call("GET", place)
        for resource in (one for one in answer["resources"] if not one["namespaced"]):
            plural, _, sub = resource["name"].partition("/")
            for verb in {"create", "update", "patch"} & set(resource["verbs"]):
                # What everybody may ask about themselves is kept nowhere.
                if plural.endswith("reviews"):
                    continue
                asked = {"group": group, "resource": plural, "subresource": sub, "verb": verb}
                body = {**review, "spec": {"resourceAttributes": asked}}
                said = accepted(
                    *await operator.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
                )
                if said["status"]["allowed"]:
                    yield resource["name"], verb


FOREIGN = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "x", "namespace": ""}}
DOORS: dict[str, Any] = {
    "apply": lambda cluster: cluster.apply(FOREIGN),
    "apply_status": lambda cluster: cluster.apply_status(FOREIGN),
    "merge": lambda cluster: cluster.merge(FOREIGN),
    "annotate": lambda cluster: cluster.annotate(Key("ValidatingWebhookConfiguration", "", "x"), {"a": "b"}),
    "create": lambda cluster: cluster.create(FOREIGN),
    "replace": lambda cluster: cluster.replace(FOREIGN),
    "delete": lambda cluster: cluster.delete(
        Key("ValidatingWebhookConfiguration", "", "x"), uid="1", resource_version="1"
    ),
    "get": lambda cluster: cluster.get(Key("ValidatingWebhookConfiguration", "", "x")),
    "list": lambda cluster: cluster.list("ValidatingWebhookConfiguration"),
}


@pytest.mark.parametrize("door", DOORS)
async def test_cve_2026_65835_every_way_through_the_client_asks_the_same_list(
    installed: Installed, journal: Journal, door: str
) -> None:
    """Capsule < 0.13.8: the fix for the one before stood in one of two code paths; the other still took any kind.

    Here there is one client with one list of kinds, and each of its verbs refuses before it asks the API server.
    """
    async with open_session(installed.operator_kubeconfig) as session:
        with pytest.raises(Invalid, match="is not one that Paybill reads or writes"):
            await DOORS[door](Cluster(session))
    assert [one for one in journal.all() if "webhook" in one.resource] == []


HOSTILE = ("(", "[[[", "(?P<", "*", "\\", "(a+)+$", "\\Q", "{99999}", "\u0000", "$(reboot)", "a" * 300)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_cve_2026_65834_a_text_that_is_no_expression_stops_nobody(
    api: Api, customers: Customers, name: str, text: str
) -> None:
    """Capsule: a regular expression of a tenant's was compiled with MustCompile, and a wrong one ended the controller.

    Paybill compiles nothing that a user wrote. Whatever a text says, it is refused with words or it is a text: no
    request ends in an error of the server, and the operator goes on.
    """
    for field in ("displayName", "owners", "holds", "cellRef"):
        spec = {
            "displayName": {"displayName": text},
            "owners": {"owners": [{"kind": "User", "name": text}]},
            "holds": {"holds": [{"name": "h", "blocks": "Changes", "reason": text}]},
            "cellRef": {"cellRef": {"name": text}},
        }[field]
        status, answer = await api.call("POST", path("Tenant"), samples.tenant(f"{name}-{field.lower()}", **spec))
        assert status in {201, 400, 422}, answer
        if status == 201:
            await api.delete("Tenant", f"{name}-{field.lower()}")
    await customers.quiet()
    assert customers.operator.running
    assert customers.operator.failure is None


async def test_ghsa_f94q_w3w8_cj67_an_update_is_judged_by_what_it_makes(api: Api, name: str) -> None:
    """Capsule (CVE-2026-61795): on an update the old object was validated, so anything passed that had been right once.

    Here the rules are the schema's: what cannot be created cannot be made by an edit of what could.
    """
    wrong = [
        {"owners": [{"kind": "Group", "name": "system:authenticated"}]},
        {"owners": [{"kind": "ServiceAccount", "name": "a"}]},
        {"displayName": "two\nlines"},
        {"deletionPolicy": "Maybe"},
        {"id": "UPPERCASE"},
    ]
    await api.create(samples.tenant(name, owners=[{"kind": "Group", "name": "acme"}]))
    for spec in wrong:
        status, answer = await api.call("POST", path("Tenant"), samples.tenant(f"{name}-new", **spec), dryRun="All")
        assert status == 422, answer
        for kind in (MERGE, "application/apply-patch+yaml"):
            body: Object = samples.tenant(name, **spec) if kind != MERGE else {"spec": spec}
            query = {"fieldManager": "x", "force": "true"} if kind != MERGE else {}
            status, answer = await api.call("PATCH", path("Tenant", "", name), body, kind, **query)
            assert status == 422, answer


MISPLACED = {
    "spec.owners[0]": {"owners": [{"kind": "Group", "name": "system:masters"}]},
    "spec.id": {"id": "ACME-COR"},
    "spec.holds[0].name": {"holds": [{"name": "Not A Name", "blocks": "Access"}]},
    "spec.cellRef.name": {"cellRef": {"name": "Not A Name"}},
    "spec.displayName": {"displayName": "two\nlines"},
}


@pytest.mark.parametrize("field", MISPLACED)
async def test_ghsa_gxjc_74v5_3vx3_each_rule_judges_the_field_it_stands_at(api: Api, name: str, field: str) -> None:
    """Capsule: the validator of one expression compiled the text of another field, so the one it was for went by.

    Here a rule stands in the schema at its field: a text that is wrong there alone is refused, with that place.
    """
    accepted(*await api.call("POST", path("Tenant"), samples.tenant(name), dryRun="All"))
    status, answer = await api.call("POST", path("Tenant"), samples.tenant(name, **MISPLACED[field]), dryRun="All")
    assert status == 422
    assert {cause["field"] for cause in answer["details"]["causes"]} == {field}


async def test_issue_1669_what_was_granted_cannot_be_raised_by_whom_it_bounds(
    control_plane: LocalThread, api: Api, customers: Customers
) -> None:
    """Capsule (no CVE): a ResourcePoolClaim could be edited beyond the pool once it was bound.

    Here an owner has no right to what bounds them; with the right, by mistake, the bound is back at once.
    """
    customer = await customers.onboard(spec={"owners": [{"kind": "User", "name": "greedy"}]})
    more = {"spec": {"hard": {"pods": "9999"}}}
    async with user(control_plane.kubeconfig_for("greedy")) as owner:
        await until(lambda: _may_list(owner, customer.namespace))
        with pytest.raises(Refused, match="forbidden"):
            await owner.edit("ResourceQuota", "paybill", more, customer.namespace)
        with pytest.raises(Refused, match="forbidden"):
            await owner.edit("Subscription", customer.name, {"spec": {"quantity": 99}})
        person = {"kind": "User", "name": "greedy", "apiGroup": "rbac.authorization.k8s.io"}
        async with powers(api, person):
            await until(lambda: owner.get("Namespace", "kube-system"))
            await owner.edit("ResourceQuota", "paybill", more, customer.namespace)
            await until(lambda: _bounded(api, customer))


async def _bounded(api: Api, customer: Customer) -> bool:
    found = await api.get("ResourceQuota", "paybill", customer.namespace)
    return found is not None and found["status"].get("hard", {}).get("pods") == found["spec"]["hard"]["pods"] == "40"
