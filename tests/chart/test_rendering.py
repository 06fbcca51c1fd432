"""What the chart renders: the same rights, kinds and settings as the operator's own code, whatever is set."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from paybill import __version__
from paybill.api.tenant import Owner
from paybill.cli.admission import admission
from paybill.cli.crds import crds, definitions
from paybill.cli.rbac import rbac
from paybill.desired import gateway as agent_gateway
from paybill.desired import names
from paybill.desired.gateway import GatewayPods
from paybill.desired.job import OperationPods, build, pods_of
from paybill.desired.pooler import DATABASES, RULES, USERS
from paybill.lifecycle.signup import Signup, signup_of
from paybill.settings import Settings, from_environment
from tests.chart.helm import CHART, NAMESPACE, Helm, HelmError, Object, of_kind, the

ROOT = Path(__file__).parents[2]
FILES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
BY_FIELD = {"namespace": NAMESPACE, "service_account": "paybill-operator"}
"""Settings that Kubernetes fills in from the pod."""
NOT_SET = {
    "control_database_url": "an environment is readable by whoever can look at the pod: the file is used",
    "stripe_url": "Stripe is where it is; the tests have another one",
    "embedded_home": "a tenant's own Postgres on this machine is for one machine, not for a cluster",
}
CLUSTER_SCOPED = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}

variants = pytest.mark.parametrize("values", [yaml.safe_load(file.read_text()) for file in FILES],
                                   ids=[file.stem for file in FILES])  # fmt: skip


def pod(objects: list[Object]) -> Object:
    return the(objects, "Deployment", "paybill-operator")["spec"]["template"]


def container(objects: list[Object]) -> Object:
    (found,) = pod(objects)["spec"]["containers"]
    return found


def leaves(values: Object, path: str = "") -> dict[str, Any]:
    """Every value by its path; an empty list or object is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}".lstrip(".")
        found |= leaves(value, where) if isinstance(value, dict) and value else {where: value}
    return found


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_helm_finds_nothing_to_complain_about(helm: Helm, file: Path) -> None:
    helm.run("lint", "--strict", str(CHART), "--values", str(file))


@variants
def test_every_object_has_a_name_our_labels_and_the_releases_namespace(helm: Helm, values: Object) -> None:
    objects = helm.template(values)
    for obj in objects:
        assert obj["apiVersion"]
        assert obj["metadata"]["labels"]["app.kubernetes.io/name"] == "paybill"
        assert obj["metadata"]["labels"]["app.kubernetes.io/version"] == __version__
        wanted = None if obj["kind"] in CLUSTER_SCOPED else NAMESPACE
        assert obj["metadata"].get("namespace") == wanted, f"{obj['kind']}/{obj['metadata']['name']}"


def test_one_of_the_values_files_says_something_else_for_every_value() -> None:
    defaults = leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
    other = yaml.safe_load((Path(__file__).parent / "values" / "everything.yaml").read_text())
    for path, value in defaults.items():
        here: Any = other
        for part in path.split("."):
            assert part in here, f"{path} is tried by no values file: add it to everything.yaml"
            here = here[part]
            if isinstance(here, list):
                break
        assert here != value, f"{path} is the default"


def test_everything_that_is_set_arrives(helm: Helm) -> None:
    values = yaml.safe_load((Path(__file__).parent / "values" / "everything.yaml").read_text())
    objects = helm.template(values)
    assert {obj["kind"] for obj in objects} == {"ConfigMap", "Deployment", "Service", "ServiceMonitor"}
    template, deployment = pod(objects), the(objects, "Deployment", "paybill-operator")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["metadata"]["labels"]["team"] == "platform"
    assert template["metadata"]["labels"]["cost-center"] == "42"
    assert template["metadata"]["annotations"] == values["podAnnotations"]
    spec = template["spec"]
    for field in ("imagePullSecrets", "terminationGracePeriodSeconds", "priorityClassName", "nodeSelector",
                  "tolerations", "affinity", "topologySpreadConstraints"):  # fmt: skip
        assert spec[field] == values[field]
    assert spec["serviceAccountName"] == "existing-account"
    main = container(objects)
    image = values["image"]
    assert main["image"] == f"{image['repository']}@{image['digest']}"
    assert main["imagePullPolicy"] == "Always"
    assert main["resources"] == values["resources"]
    assert values["extraEnv"][0] in main["env"]
    assert values["extraVolumeMounts"][0] in main["volumeMounts"]
    assert values["extraVolumes"][0] in spec["volumes"]
    secret = next(volume["secret"] for volume in spec["volumes"] if volume["name"] == "control-database")
    assert secret["secretName"] == "registry-database"
    assert secret["items"] == [{"key": "dsn", "path": "uri"}]


def test_a_pooler_is_made_when_it_is_asked_for_and_mounts_what_the_operator_writes(helm: Helm) -> None:
    assert not any(obj["metadata"]["name"] == "paybill-pooler" for obj in helm.template())
    values = {"pooler": {"enabled": True, "cell": "eu", "image": {"repository": "pgbouncer", "tag": "1.24.1"}}}
    objects = helm.template(values)
    spec = the(objects, "Deployment", "paybill-pooler")["spec"]["template"]["spec"]
    (main,) = spec["containers"]
    assert main["image"] == "pgbouncer:1.24.1"
    secret = next(volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    assert secret["secretName"] == names.pooler("eu")
    config = the(objects, "ConfigMap", "paybill-pooler")["data"]["pgbouncer.ini"]
    for file in (DATABASES, USERS, RULES):
        assert f"/etc/pgbouncer/paybill/{file}\n" in config
    operator = the(objects, "NetworkPolicy", "paybill-operator")["spec"]["egress"]
    assert any({"protocol": "TCP", "port": 6432} in rule["ports"] for rule in operator)
    for lacking in ({"cell": ""}, {"image": {"repository": ""}}):
        with pytest.raises(HelmError, match="pooler"):
            helm.template({"pooler": {**values["pooler"], **lacking}})


def test_an_image_is_named_by_the_charts_version_unless_a_tag_says_otherwise(helm: Helm) -> None:
    assert container(helm.template())["image"] == f"paybill:{__version__}"
    assert container(helm.template({"image": {"tag": "main"}}))["image"] == "paybill:main"


def test_every_setting_of_the_operator_is_set_by_the_chart(helm: Helm) -> None:
    values = {
        "installation": "staging",
        "operator": {"workers": 7, "databaseResyncSeconds": 12.5, "leaseSeconds": 30, "settleSeconds": 5,
                     "suspensionsPerHour": 100000, "deletionsPerHour": 0,
                     "tenantMetrics": True, "isolationSettleSeconds": 60, "acceptPostgres": "16.4,17.0",
                     "log": {"format": "text", "level": "DEBUG"}},
        "metrics": {"port": 9090, "host": "::"},
        "backups": {"existingClaim": "backups"},
        "stripe": {"existingSecret": "stripe", "account": "acct_1", "pollSeconds": 60, "pauseHours": 24},
        "signup": {"plans": ["pro"], "addOns": ["seats"], "cell": "eu", "namePrefix": "", "perHour": 5,
                   "owners": [{"kind": "Group", "name": "support"}], "deletionPolicy": "Retain",
                   "withoutPayment": True, "sold": "AsBilled"},
        "agents": {"gateway": {"enabled": True}},
        "events": {"url": "https://crm.example.com/paybill"},
        "webhook": {"database": {"role": "inbox"}},
    }  # fmt: skip
    env = {entry["name"]: entry.get("value") for entry in container(helm.template(values))["env"]}
    fields = {f"PAYBILL_{field.upper()}": field for field in Settings.__dataclass_fields__}
    assert set(env) == {variable for variable, field in fields.items() if field not in NOT_SET}
    by_pod = {variable for variable, value in env.items() if value is None}
    assert by_pod == {f"PAYBILL_{field.upper()}" for field in BY_FIELD}
    assert from_environment({name: value for name, value in env.items() if value is not None}) == Settings(
        installation="staging",
        control_database_file=Path("/var/run/secrets/paybill.dev/control-database/uri"),
        workers=7,
        database_resync_seconds=12.5,
        lease_seconds=30.0,
        settle_seconds=5.0,
        suspensions_per_hour=100_000,
        deletions_per_hour=0,
        tenant_metrics=True,
        isolation_settle_seconds=60.0,
        accept_postgres="16.4,17.0",
        backup_folder=Path("/var/lib/paybill-backups"),
        operations_folder=Path("/var/lib/paybill/operations"),
        operation_pods=OperationPods(image=f"paybill:{__version__}"),
        agent_gateway=GatewayPods(
            image=f"paybill:{__version__}",
            metrics_from=({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},),
        ),
        stripe_key_file=Path("/var/run/secrets/paybill.dev/stripe/key"),
        stripe_account="acct_1",
        stripe_poll_seconds=60.0,
        stripe_pause_hours=24.0,
        signup=Signup(
            plans=("pro",),
            add_ons=("seats",),
            cell="eu",
            owners=(Owner(kind="Group", name="support"),),
            deletion_policy="Retain",
            name_prefix="",
            without_payment=True,
            sold="AsBilled",
            per_hour=5,
        ),
        events_url="https://crm.example.com/paybill",
        events_secret_file=Path("/var/run/secrets/paybill.dev/events/secret"),
        webhook_role="inbox",
        metrics_port=9090,
        metrics_host="::",
        log_format="text",
        log_level="DEBUG",
    )


def test_with_plans_alone_the_template_of_who_signs_up_has_the_operators_own_defaults(helm: Helm) -> None:
    objects = helm.template({"stripe": {"existingSecret": "stripe"}, "signup": {"plans": ["pro"]}})
    (said,) = [entry["value"] for entry in container(objects)["env"] if entry["name"] == "PAYBILL_SIGNUP"]
    assert signup_of(said) == Signup(plans=("pro",))
    with pytest.raises(HelmError, match=r"signup\.plans needs stripe\.existingSecret"):
        helm.template({"signup": {"plans": ["pro"]}})


def test_without_values_the_operator_runs_with_its_own_defaults(helm: Helm) -> None:
    env = {entry["name"]: entry["value"] for entry in container(helm.template())["env"] if "value" in entry}
    settings, own = from_environment(env), Settings()
    differing = {field for field in Settings.__dataclass_fields__ if getattr(settings, field) != getattr(own, field)}
    assert differing == {"control_database_file", "metrics_port", "metrics_host", "operations_folder", "operation_pods"}


def test_the_kinds_are_those_of_the_models_and_stay_when_the_release_goes(helm: Helm) -> None:
    found = {crd["metadata"]["name"]: crd for crd in of_kind(helm.template(), "CustomResourceDefinition")}
    wanted = {crd["metadata"]["name"]: crd for crd in map(yaml.safe_load, definitions().values())}
    assert set(found) == set(wanted)
    for name, crd in found.items():
        assert crd["spec"] == wanted[name]["spec"]
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(rbac, []), (admission, []), (crds, ["--output", "helm/paybill/files/crds"])],
    ids=["paybill rbac", "paybill admission", "paybill crds"],
)
def test_the_generated_files_in_the_chart_are_up_to_date(
    command: Any, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    answer = CliRunner().invoke(command, [*arguments, "--check"])
    assert (answer.output, answer.exit_code) == ("", 0), f"run paybill {command.name} {' '.join(arguments)}"


def test_the_chart_and_the_operator_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_an_older_kubernetes_is_refused_before_anything_is_made(helm: Helm) -> None:
    with pytest.raises(
        HelmError, match=r"requires kubeVersion: >=1\.34\.0-0 which is incompatible with Kubernetes v1\.33"
    ):
        helm.template({}, "--kube-version", "v1.33.7")
    assert helm.template({}, "--kube-version", "v1.34.2-gke.100")


@variants
def test_selectors_never_change_because_a_deployments_cannot(helm: Helm, values: Object) -> None:
    objects = helm.template(values)
    selector = {
        "app.kubernetes.io/name": "paybill",
        "app.kubernetes.io/component": "operator",
        "app.kubernetes.io/instance": "paybill",
    }
    assert the(objects, "Deployment", "paybill-operator")["spec"]["selector"] == {"matchLabels": selector}
    assert selector.items() <= pod(objects)["metadata"]["labels"].items()
    assert the(objects, "Service", "paybill-operator-metrics")["spec"]["selector"] == selector
    for kind in ("PodDisruptionBudget", "ServiceMonitor"):
        for obj in of_kind(objects, kind):
            assert obj["spec"]["selector"] == {"matchLabels": selector}


def test_a_rollout_brings_a_new_standby_before_an_old_operator_goes(helm: Helm) -> None:
    objects = helm.template()
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert the(objects, "Deployment", "paybill-operator")["spec"]["strategy"] == strategy
    main = container(objects)
    assert main["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    # /readyz is the leader's alone: a rollout that waited for it would wait for ever.
    assert main["readinessProbe"]["httpGet"] == {"path": "/standbyz", "port": "metrics"}


@pytest.mark.parametrize(("replicas", "made"), [(1, False), (2, True)])
def test_a_disruption_budget_and_a_spread_are_for_more_than_one(helm: Helm, replicas: int, made: bool) -> None:
    objects = helm.template({"replicas": replicas})
    assert bool(of_kind(objects, "PodDisruptionBudget")) is made
    assert ("topologySpreadConstraints" in pod(objects)["spec"]) is made


def test_the_network_lets_in_the_scraper_alone_and_out_to_dns_the_api_server_and_databases(helm: Helm) -> None:
    values = {"networkPolicy": {"apiServerPorts": [16443], "databasePorts": [5432, 16443]}}
    policy = the(helm.template(values), "NetworkPolicy", "paybill-operator")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod(helm.template())["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (scrape,) = policy["ingress"]
    assert scrape["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert scrape["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    dns, out = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert [port["port"] for port in out["ports"]] == [16443, 5432]


def test_with_nobody_to_scrape_nobody_gets_in(helm: Helm) -> None:
    policy = the(helm.template({"networkPolicy": {"metricsFrom": []}}), "NetworkPolicy", "paybill-operator")["spec"]
    # No list at all means the same to Kubernetes; what must not be there is a rule without peers: that is everybody.
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []


def operations(helm: Helm, values: Object | None = None) -> OperationPods:
    """What the operator is told of the pods of operations."""
    (said,) = [entry["value"] for entry in container(helm.template(values))["env"] if entry["name"].endswith("_PODS")]
    return pods_of(said)


def test_everything_that_is_set_for_operations_reaches_their_pods(helm: Helm) -> None:
    values = yaml.safe_load((Path(__file__).parent / "values" / "everything.yaml").read_text())
    given = values["operations"]
    assert operations(helm, values).wire() == {
        "image": f"{given['image']['repository']}@{given['image']['digest']}",
        "imagePullPolicy": "Always",
        "imagePullSecrets": values["imagePullSecrets"],
        "serviceAccountName": "existing-operations",
        "labels": given["podLabels"],
        "env": given["extraEnv"],
        "volumes": given["extraVolumes"],
        "volumeMounts": given["extraVolumeMounts"],
    } | {name: given[name] for name in ("resources", "folderSize", "priorityClassName", "nodeSelector", "tolerations",
                                        "affinity")}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, f"paybill:{__version__}"),
        ({"image": {"tag": "main"}}, "paybill:main"),
        ({"operations": {"image": {"repository": "engines"}}}, f"engines:{__version__}"),
        ({"image": {"tag": "main"}, "operations": {"image": {"repository": "engines", "tag": "7"}}}, "engines:7"),
    ],
    ids=["the operator's", "the operator's of another tag", "its own", "its own of another tag"],
)
def test_operations_have_the_operators_image_or_their_own(helm: Helm, values: Object, image: str) -> None:
    assert operations(helm, values).image == image


def test_the_account_of_operations_has_no_rights_and_no_token(helm: Helm) -> None:
    objects = helm.template()
    account = the(objects, "ServiceAccount", "paybill-operation")
    assert account["automountServiceAccountToken"] is False
    assert operations(helm).service_account_name == "paybill-operation"
    bound = [subject["name"] for kind in ("RoleBinding", "ClusterRoleBinding") for binding in of_kind(objects, kind)
             for subject in binding["subjects"]]  # fmt: skip
    assert set(bound) == {"paybill-operator"}


def test_the_network_lets_operations_out_to_dns_and_clouds_and_nobody_in(helm: Helm) -> None:
    policy = the(helm.template({"operations": {"ports": [443, 8443]}}), "NetworkPolicy", "paybill-operation")["spec"]
    lasts = timedelta(hours=1)
    job = build("a-1", "a", "one", NAMESPACE, operations(helm), lasts=lasts, grace=lasts)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert (policy["policyTypes"], policy["ingress"]) == (["Ingress", "Egress"], [])
    _, out = policy["egress"]
    assert [port["port"] for port in out["ports"]] == [443, 8443]


def gateways(helm: Helm, values: Object) -> GatewayPods:
    """What the operator is told of the gateways of agents."""
    env = container(helm.template(values))["env"]
    (said,) = [entry["value"] for entry in env if entry["name"] == "PAYBILL_AGENT_GATEWAY"]
    return agent_gateway.pods_of(said)


def test_everything_that_is_set_for_gateways_reaches_their_pods(helm: Helm) -> None:
    values = yaml.safe_load((Path(__file__).parent / "values" / "everything.yaml").read_text())
    given, image = values["agents"]["gateway"], values["image"]
    assert gateways(helm, values).wire() == {
        "image": f"{image['repository']}@{image['digest']}",
        "imagePullPolicy": "Always",
        "imagePullSecrets": values["imagePullSecrets"],
        "serviceAccountName": "existing-gateways",
        "apiServerPorts": values["networkPolicy"]["apiServerPorts"],
        "metricsFrom": [],
        "labels": given["podLabels"],
    } | {name: given[name] for name in ("listen", "resources", "priorityClassName", "nodeSelector", "tolerations",
                                        "affinity")}  # fmt: skip


def test_gateways_are_off_and_their_account_may_ask_whose_a_token_is_and_nothing_else(helm: Helm) -> None:
    off = helm.template()
    names_off = {obj["metadata"]["name"] for obj in off if not obj["kind"].startswith("Validating")}
    assert not {name for name in names_off if "gateway" in name}
    assert not any(entry["name"] == "PAYBILL_AGENT_GATEWAY" for entry in container(off)["env"])
    objects = helm.template({"agents": {"gateway": {"enabled": True}}})
    account = the(objects, "ServiceAccount", names.GATEWAY_ROLE)
    assert account["automountServiceAccountToken"] is False
    bound = [binding["roleRef"]["name"] for kind in ("RoleBinding", "ClusterRoleBinding")
             for binding in of_kind(objects, kind) if binding["subjects"][0]["name"] == names.GATEWAY_ROLE]  # fmt: skip
    assert bound == [names.GATEWAY_ROLE]
    (rule,) = the(objects, "ClusterRole", names.GATEWAY_ROLE)["rules"]
    assert (rule["resources"], rule["verbs"]) == (["tokenreviews"], ["create"])


def test_the_service_monitor_finds_the_service(helm: Helm) -> None:
    assert not of_kind(helm.template(), "ServiceMonitor")
    values = {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}
    objects = helm.template(values)
    monitor, service = the(objects, "ServiceMonitor"), the(objects, "Service", "paybill-operator-metrics")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert service["spec"]["ports"][0]["targetPort"] in [port["name"] for port in container(objects)["ports"]]
