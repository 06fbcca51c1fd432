"""The control plane is a real one: controllers act, quotas bind, RBAC refuses, and every request is logged."""

import json
import uuid

import pytest

from paybill.local.certificates import Certificates, Pair
from tests.local.api import Api, eventually

POD = {"containers": [{"name": "c", "image": "none", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}]}


@pytest.fixture
def api(control_plane):
    return Api.admin(control_plane.instance.home)


@pytest.fixture
def namespace(api):
    return api.namespace(f"local-{uuid.uuid4().hex[:8]}")


def deployment(replicas):
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": POD}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "x"}, "spec": spec}


def apps(namespace):
    return namespace.replace("/api/v1/", "/apis/apps/v1/")


def test_it_is_the_version_that_was_asked_for(api):
    _, version = api.call("GET", "/version")
    assert version["gitVersion"] == "v1.36.3"


def test_a_quota_is_enforced_within_moments(api, namespace):
    api.create(f"{namespace}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    path = f"{namespace}/resourcequotas/q"
    assert eventually(lambda: api.call("GET", path)[1].get("status", {}).get("hard"), seconds=10) == {"pods": "2"}
    answers = [api.call("POST", f"{namespace}/pods", {"metadata": {"name": f"p{n}"}, "spec": POD})[0] for n in range(3)]
    assert answers.count(403) == 1


def test_a_deployment_gets_its_pods(api, namespace):
    api.create(f"{apps(namespace)}/deployments", deployment(3))
    eventually(lambda: len(api.call("GET", f"{namespace}/pods")[1]["items"]) == 3)
    pod = api.call("GET", f"{namespace}/pods")[1]["items"][0]
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    assert "nodeName" not in pod["spec"]


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        ("apps/v1/statefulsets", {**deployment(2), "spec": {**deployment(2)["spec"], "serviceName": "x"}}),
        (
            "batch/v1/jobs",
            {"metadata": {"name": "j"}, "spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
        ),
    ],
    ids=["stateful set", "job"],
)
def test_the_other_workload_controllers_run(api, namespace, resource, body):
    group, _, kind = resource.rpartition("/")
    api.create(f"/apis/{group}/{namespace.removeprefix('/api/v1/')}/{kind}", body)
    eventually(lambda: api.call("GET", f"{namespace}/pods")[1]["items"])


def test_a_disruption_budget_is_counted(api, namespace):
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    path = f"/apis/policy/v1/{namespace.removeprefix('/api/v1/')}/poddisruptionbudgets"
    api.create(path, {"metadata": {"name": "b"}, "spec": spec})
    eventually(lambda: "observedGeneration" in api.call("GET", f"{path}/b")[1].get("status", {}))


def test_a_namespace_gets_its_service_account_and_the_root_certificate(api, namespace):
    eventually(lambda: api.call("GET", f"{namespace}/serviceaccounts/default")[0] == 200)
    eventually(lambda: api.call("GET", f"{namespace}/configmaps/kube-root-ca.crt")[0] == 200)
    status, answer = api.call("POST", f"{namespace}/serviceaccounts/default/token", {"spec": {}})
    assert status == 201, answer


def test_a_namespace_is_deleted_with_all_that_is_in_it(api, namespace):
    api.create(f"{apps(namespace)}/deployments", deployment(1))
    eventually(lambda: api.call("GET", f"{namespace}/pods")[1]["items"])
    assert api.call("DELETE", namespace)[0] == 200
    eventually(lambda: api.call("GET", namespace)[0] == 404)


def test_what_an_object_owns_goes_with_it(api, namespace):
    owner = api.create(f"{namespace}/configmaps", {"metadata": {"name": "owner"}})["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    api.create(f"{namespace}/configmaps", {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    api.call("DELETE", f"{namespace}/configmaps/owner")
    eventually(lambda: api.call("GET", f"{namespace}/configmaps/owned")[0] == 404)


def test_the_built_in_roles_are_filled(api):
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin"
    eventually(lambda: api.call("GET", path)[1].get("rules"))


def test_a_user_may_do_nothing_until_a_role_says_so(control_plane, api, namespace):
    user = f"user-{uuid.uuid4().hex[:8]}"
    control_plane.kubeconfig_for(user, "tenants")
    mine = Api(api.url, api.authority, Pair.named(control_plane.instance.home.path / "users", user))
    assert mine.call("GET", f"{namespace}/configmaps")[0] == 403
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    api.create(f"/apis/rbac.authorization.k8s.io/v1/{namespace.removeprefix('/api/v1/')}/rolebindings", binding)
    eventually(lambda: mine.call("GET", f"{namespace}/configmaps")[0] == 200)
    assert mine.call("GET", f"{namespace}/secrets")[0] == 403


def test_who_has_no_login_is_refused(api):
    assert Api(api.url, api.authority, None).call("GET", "/api/v1/namespaces")[0] == 401
    assert api.call("GET", "/api/v1/namespaces")[0] == 200


def test_an_administrator_of_the_api_has_no_way_into_etcd(control_plane):
    home = control_plane.instance.home
    certificates = Certificates(home.certificates)
    url = f"https://127.0.0.1:{control_plane.instance.ports['etcd']}"
    own = Api(url, certificates.etcd_authority.certificate, certificates.etcd_client)
    status, _ = own.call("POST", "/v3/kv/range", {"key": "Lw=="})
    assert status == 200
    with pytest.raises(OSError, match=r"(?i)certificate|reset|alert|EOF"):
        Api(url, certificates.etcd_authority.certificate, certificates.admin).call("POST", "/v3/kv/range", {})


def test_each_request_is_in_the_audit_log_before_its_answer_and_no_body_is(control_plane, api, namespace):
    secret = uuid.uuid4().hex
    api.create(f"{namespace}/secrets", {"metadata": {"name": "s"}, "stringData": {"password": secret}})
    log = control_plane.audit_log.read_text()
    events = [json.loads(line) for line in log.splitlines() if f"{namespace}/secrets" in line]
    assert [(each["verb"], each["responseStatus"]["code"]) for each in events] == [("create", 201)]
    assert events[0]["user"]["username"] == "paybill-local-admin"
    assert secret not in log
