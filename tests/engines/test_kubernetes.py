"""The program for a bare cluster: each setting that a customer's data depends on, with the reason why it is one."""

from __future__ import annotations

import pytest

from paybill.engines.rendered import SECRET
from tests.engines.rendered import at, drawn, needs, only, resources

pytestmark = needs("Kubernetes")

POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"
PLACE = "pb-k3x9m2qd-g1"

SETTINGS = [
    ("Namespace", "metadata.name", PLACE, "not the tenant's own, whose owners may read Secrets and start pods"),
    ("StatefulSet", "spec.replicas", 1, "two servers on one disk would destroy it"),
    ("StatefulSet", f"{POD}.automountServiceAccountToken", False, "the server has no business with the API"),
    ("StatefulSet", f"{POD}.serviceAccountName", "database", "not the default account, which others may grant to"),
    ("StatefulSet", f"{POD}.enableServiceLinks", False, "the environment tells nothing of other Services"),
    ("StatefulSet", f"{POD}.securityContext.runAsNonRoot", True, "restricted"),
    ("StatefulSet", f"{POD}.securityContext.runAsUser", 999, "the user that the image's files belong to"),
    ("StatefulSet", f"{POD}.securityContext.fsGroup", 999, "it can read its key and write to its disk"),
    ("StatefulSet", f"{POD}.securityContext.seccompProfile.type", "RuntimeDefault", "restricted"),
    ("StatefulSet", f"{CONTAINER}.securityContext.allowPrivilegeEscalation", False, "restricted"),
    ("StatefulSet", f"{CONTAINER}.securityContext.privileged", False, "restricted"),
    ("StatefulSet", f"{CONTAINER}.securityContext.readOnlyRootFilesystem", True, "nothing can be left behind in it"),
    ("StatefulSet", f"{CONTAINER}.securityContext.capabilities.drop", ["ALL"], "restricted"),
    ("StatefulSet", f"{CONTAINER}.resources.limits.memory", "456Mi", "it takes nobody else's memory"),
    ("ServiceAccount", "automountServiceAccountToken", False, "no pod gets a token by naming it"),
    ("Secret", "data", SECRET, "the password is marked as one, so the state encrypts it"),
    ("PersistentVolumeClaim", "spec.storageClassName", "encrypted-retain", "never the cluster's default class"),
    ("PersistentVolumeClaim", "spec.accessModes", ["ReadWriteOnce"], "one node at a time"),
    ("PersistentVolumeClaim", "spec.resources.requests.storage", "20Gi", "what the Plan gives"),
    ("NetworkPolicy", "spec.podSelector", {}, "of every pod there"),
    ("NetworkPolicy", "spec.policyTypes", ["Ingress", "Egress"], "both ways"),
    ("NetworkPolicy", "spec.egress", [], "a database calls nobody"),
    ("Service", "spec.type", "ClusterIP", "no way in from outside of the cluster"),
]


@pytest.mark.parametrize(("type_", "path", "value", "why"), SETTINGS)
def test_a_setting(type_, path, value, why):
    assert at(only(resources("Kubernetes", "Silo"), type_).inputs, path) == value, why


@pytest.mark.parametrize("mode", ["enforce", "audit", "warn"])
def test_the_namespace_takes_restricted_pods_alone(mode):
    labels = only(resources("Kubernetes", "Silo"), "Namespace").inputs["metadata"]["labels"]
    assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_only_the_tenants_pods_and_the_operator_reach_postgres():
    (rule,) = only(resources("Kubernetes", "Silo"), "NetworkPolicy").inputs["spec"]["ingress"]
    assert [at(peer, "namespaceSelector.matchLabels") for peer in rule["from"]] == [
        {"kubernetes.io/metadata.name": "t-k3x9m2qd"},
        {"kubernetes.io/metadata.name": "paybill-system"},
    ]
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]


def test_over_the_network_there_is_no_login_without_tls():
    rules = only(resources("Kubernetes", "Silo"), "ConfigMap").inputs["data"]["pg_hba.conf"].splitlines()
    assert [line.split()[0] for line in rules] == ["local", "hostssl"]
    assert {line.split()[-1] for line in rules} == {"scram-sha-256"}
    arguments = at(only(resources("Kubernetes", "Silo"), "StatefulSet").inputs, f"{CONTAINER}.args")
    assert {"ssl=on", "ssl_min_protocol_version=TLSv1.2"} <= set(arguments)


def test_the_password_is_drawn_once_and_kept():
    """Each run draws one; the engine keeps the first."""
    assert only(resources("Kubernetes", "Silo"), "Secret").options.ignore_changes == ("data",)


def test_what_holds_data():
    held = {one.type.rpartition(":")[2] for one in resources("Kubernetes", "Silo") if one.data}
    assert held == {"Namespace", "PersistentVolumeClaim", "Secret"}


def test_the_server_starts_when_its_disk_settings_and_keys_are_there():
    needs = {address.split("::")[-1] for address in only(resources("Kubernetes", "Silo"), "StatefulSet").depends_on}
    assert needs == {"account", "credentials", "disk", "place", "settings"}


def test_every_object_carries_the_marks():
    for one in resources("Kubernetes", "Silo"):
        labels = one.inputs["metadata"]["labels"]
        assert labels["paybill-tenant"] == "k3x9m2qd", one.address
        assert {"paybill-installation", "paybill-tenant-uid", "paybill-cell", "paybill-plan"} <= set(labels)


@pytest.mark.parametrize("model", ["Pooled", "Bridge"])
def test_who_gets_no_server_gets_nothing(model):
    assert resources("Kubernetes", model) == []


def test_the_kubeconfig_is_no_input():
    """A renewed token would otherwise look like a change of the provider, and of all that is made with it."""
    (provider,) = drawn("Kubernetes", "Pooled").resources
    assert "kubeconfig" not in provider.inputs
    assert provider.inputs["clusterIdentifier"] == "example"
