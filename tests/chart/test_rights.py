"""The rights that the chart gives and the policies it installs: exactly those that the operator is tested with."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from paybill.cli.admission import admission
from paybill.cli.rbac import rbac
from paybill.desired import names, permissions
from paybill.desired.admission import POLICIES, build
from paybill.desired.gateway import GatewayPods
from paybill.desired.policy import Place
from paybill.lifecycle.signup import Signup
from paybill.local import bootstrap
from paybill.settings import Settings
from tests.chart.helm import CHART, NAMESPACE, Helm, Object, of_kind, the

FILES = sorted((Path(__file__).parent / "values").glob("*.yaml"))

variants = pytest.mark.parametrize(
    "values", [yaml.safe_load(file.read_text()) for file in FILES], ids=[file.stem for file in FILES]
)


def pod(objects: list[Object]) -> Object:
    return the(objects, "Deployment", "paybill-operator")["spec"]["template"]


def rights(rules: list[Object]) -> set[tuple[str, ...]]:
    """Each single right; the order and grouping of rules mean nothing."""
    return {
        (group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_the_roles_are_exactly_those_that_the_operator_is_tested_with(helm: Helm) -> None:
    compare(helm.template(), bootstrap.system(Settings()))
    signing_up = {"stripe": {"existingSecret": "stripe"}, "signup": {"plans": ["pro"]}}
    objects = helm.template(signing_up)
    compare(objects, bootstrap.system(Settings(signup=Signup(plans=("pro",)))))
    assert any(obj["metadata"]["name"] == permissions.SIGNUP_ROLE for obj in of_kind(objects, "ClusterRoleBinding"))
    assert not any(obj["metadata"]["name"] == permissions.SIGNUP_ROLE for obj in helm.template())
    objects = helm.template({"agents": {"gateway": {"enabled": True}}})
    compare(objects, bootstrap.system(Settings(agent_gateway=GatewayPods(image="paybill"))))
    assert any(obj["metadata"]["name"] == permissions.GATEWAYS_ROLE for obj in of_kind(objects, "Role"))


def compare(objects: list[Object], tested: list[Object]) -> None:
    for kind in ("ClusterRole", "Role"):
        by_name = {obj["metadata"]["name"]: rights(obj["rules"]) for obj in of_kind(objects, kind)}
        assert by_name == {obj["metadata"]["name"]: rights(obj["rules"]) for obj in of_kind(tested, kind)}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        given = [(obj["roleRef"], obj["subjects"]) for obj in of_kind(objects, kind)]
        assert given == [(obj["roleRef"], obj["subjects"]) for obj in of_kind(tested, kind)]


def test_the_roles_are_those_of_the_table(helm: Helm) -> None:
    objects = helm.template()
    roles = {role["metadata"]["name"]: rights(role["rules"]) for role in of_kind(objects, "ClusterRole")}
    assert roles == {role["metadata"]["name"]: rights(role["rules"]) for role in permissions.cluster_roles()}
    role, own = the(objects, "Role"), permissions.namespace_role(NAMESPACE)
    assert (role["metadata"]["name"], role["metadata"]["namespace"]) == (own["metadata"]["name"], NAMESPACE)
    assert rights(role["rules"]) == rights(own["rules"])
    bindings = [*of_kind(objects, "ClusterRoleBinding"), *of_kind(objects, "RoleBinding")]
    expected = permissions.bindings(NAMESPACE, the(objects, "ServiceAccount", "paybill-operator")["metadata"]["name"])
    for found, wanted in zip(bindings, expected, strict=True):
        assert found["metadata"]["name"] == wanted["metadata"]["name"]
        assert (found["roleRef"], found["subjects"]) == (wanted["roleRef"], wanted["subjects"])


@variants
def test_no_rule_has_a_wildcard_and_nobody_is_bound_but_our_account(helm: Helm, values: Object) -> None:
    objects = helm.template(values)
    for role in [*of_kind(objects, "ClusterRole"), *of_kind(objects, "Role")]:
        assert "*" not in yaml.safe_dump(role["rules"])
        assert "aggregationRule" not in role
    for binding in [*of_kind(objects, "ClusterRoleBinding"), *of_kind(objects, "RoleBinding")]:
        assert binding["roleRef"]["name"] in (
            permissions.OPERATOR_ROLE, permissions.SIGNUP_ROLE, permissions.GATEWAYS_ROLE, names.GATEWAY_ROLE
        )  # fmt: skip
        assert [subject["kind"] for subject in binding["subjects"]] == ["ServiceAccount"]


def test_the_account_and_its_bindings_follow_the_values(helm: Helm) -> None:
    objects = helm.template({"serviceAccount": {"name": "another", "annotations": {"example.com/role": "paybill"}}})
    account = the(objects, "ServiceAccount", "another")
    assert account["metadata"]["annotations"] == {"example.com/role": "paybill"}
    assert account["automountServiceAccountToken"] is False
    bound = {binding["subjects"][0]["name"] for binding in objects if binding["kind"].endswith("RoleBinding")}
    assert bound == {account["metadata"]["name"], pod(objects)["spec"]["serviceAccountName"]} == {"another"}


def test_each_reason_of_a_right_can_be_read_in_what_is_rendered(helm: Helm) -> None:
    text = helm.run("template", "paybill", str(CHART))
    for rule in (*permissions.OPERATOR, *permissions.OPERATOR_OWN_NAMESPACE, *permissions.OPERATOR_TENANT_NAMESPACE):
        assert f"# {rule.reason}\n" in text


def test_rbac_check_names_what_differs_is_missing_or_is_no_role_and_writes_nothing(tmp_path: Path) -> None:
    assert CliRunner().invoke(rbac, ["--output", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(rbac, ["--output", str(tmp_path), "--check"]).exit_code == 0
    (tmp_path / "paybill-operator.role.yaml").write_text("- apiGroups: ['*']\n")
    (tmp_path / "paybill-tenant-owner.clusterrole.yaml").unlink()
    (tmp_path / "admin.clusterrole.yaml").write_text("[]\n")
    answer = CliRunner().invoke(rbac, ["--output", str(tmp_path), "--check"])
    assert answer.exit_code == 1
    assert [Path(line.split()[0]).name for line in answer.output.splitlines()] == [
        "paybill-operator.role.yaml", "paybill-tenant-owner.clusterrole.yaml", "admin.clusterrole.yaml",
    ]  # fmt: skip
    assert not (tmp_path / "paybill-tenant-owner.clusterrole.yaml").exists()


def test_the_operator_may_hand_out_only_roles_that_the_chart_makes(helm: Helm) -> None:
    made = {role["metadata"]["name"] for role in of_kind(helm.template(), "ClusterRole")}
    given = {name for rule in permissions.OPERATOR if rule.verbs == ("bind",) for name in rule.only}
    assert given == {names.OWNER_ROLE, names.OPERATOR_TENANT_ROLE}
    assert given <= made


def policies(objects: list[Object]) -> list[Object]:
    """Policies and bindings with what they say, without who installed them."""
    found = [obj for obj in objects if obj["kind"].startswith("ValidatingAdmissionPolicy")]
    said = [{**obj, "metadata": {"name": obj["metadata"]["name"]}} for obj in found]
    return sorted(said, key=lambda obj: (obj["metadata"]["name"], obj["kind"]))


def test_the_policies_are_exactly_those_that_the_operator_is_tested_under(helm: Helm) -> None:
    tested = bootstrap.system(Settings())
    assert policies(helm.template()) == policies(tested)
    assert len(policies(tested)) == 2 * len(POLICIES)


def test_the_policies_follow_the_values(helm: Helm) -> None:
    values = {"serviceAccount": {"name": "another"}, "installation": "blue"}
    place = Place(namespace="billing", service_account="another", installation="blue")
    assert policies(helm.template(values, "--namespace", "billing")) == policies(build(place))
    assert policies(helm.template({"admissionPolicies": {"enabled": False}})) == []


def test_each_reason_of_a_policy_can_be_read_in_what_is_rendered(helm: Helm) -> None:
    text = helm.run("template", "paybill", str(CHART))
    for policy in POLICIES:
        assert f"# {policy.reason}\n" in text


def test_admission_check_names_what_differs_is_missing_or_is_no_policy_and_writes_nothing(tmp_path: Path) -> None:
    assert CliRunner().invoke(admission, ["--output", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(admission, ["--output", str(tmp_path), "--check"]).exit_code == 0
    (tmp_path / "paybill-grants.yaml").write_text("{}\n")
    (tmp_path / "paybill-statuses.yaml").unlink()
    (tmp_path / "paybill-more.yaml").write_text("{}\n")
    answer = CliRunner().invoke(admission, ["--output", str(tmp_path), "--check"])
    assert answer.exit_code == 1
    assert [Path(line.split()[0]).name for line in answer.output.splitlines()] == [
        "paybill-grants.yaml", "paybill-statuses.yaml", "paybill-more.yaml",
    ]  # fmt: skip
    assert not (tmp_path / "paybill-statuses.yaml").exists()
