"""The demo from start to end, through the command line as a user calls it, on real servers in a folder of its own.

What a command prints is compared with the API server and with Postgres, asked by others than the code under test. The
tests share one running demo and go through it in the order in which they stand.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest

from paybill.local.home import Home
from tests.local.api import Api, eventually
from tests.local.processes import alive, descendants

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "demo"
AGENTS = ROOT / "manifests" / "agents"
PHASES = {
    "acme": "Active",
    "globex": "Trialing",
    "hooli": "Active",
    "initech": "PastDue",
    "stark": "Active",
    "umbrella": "Suspended",
    "wayne": "Active",
}
GROUP = "/apis/paybill.dev/v1alpha1"
WITHOUT = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "PAYBILL_CONTROL_DATABASE_FILE", "PAYBILL_CONTROL_DATABASE_URL")

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


class Demo:
    """One instance and how to call the command on it."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in WITHOUT}
        # A home of its own: a kubeconfig of whoever runs the tests must not be found.
        self.environ = {**kept, "PAYBILL_HOME": str(folder), "HOME": str(folder), "PYTHONPATH": str(ROOT / "operator")}
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "paybill"
        self.environ.setdefault("PAYBILL_CACHE", str(cache))
        self.home = Home(folder / "local")
        self.first: dict = {}

    def call(self, *words, code=0, **environ):
        argv = [sys.executable, "-m", "paybill", *words]
        done = subprocess.run(
            argv, env=self.environ | environ, cwd=ROOT, capture_output=True, text=True, timeout=480, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *words, **environ):
        return json.loads(self.call(*words, "--output", "json", **environ).stdout)

    def up(self, *more, **environ):
        return self.json("up", "--detach", "--samples", str(SAMPLES), *more, **environ)

    @property
    def api(self) -> Api:
        return Api.admin(self.home)

    def listed(self, plural):
        """The objects of a kind by name, from the API server."""
        status, answer = self.api.call("GET", f"{GROUP}/{plural}")
        assert status == 200, answer
        return {item["metadata"]["name"]: item for item in answer["items"]}

    def phase(self, subscription):
        return self.listed("subscriptions")[subscription]["status"]["phase"]

    def uri(self, tenant):
        """The connection string in the tenant's Secret."""
        status = self.listed("tenants")[tenant]["status"]
        _, secret = self.api.call(
            "GET", f"/api/v1/namespaces/{status['namespace']}/secrets/{status['binding']['name']}"
        )
        return base64.b64decode(secret["data"]["uri"]).decode()

    def orders(self):
        """Every order of wayne's shop, as its owner sees it."""
        status = self.listed("tenants")["wayne"]["status"]
        _, secret = self.api.call("GET", f"/api/v1/namespaces/paybill-system/secrets/t-{status['id']}-db-provider")
        with psycopg.connect(base64.b64decode(secret["data"]["mig-uri"]).decode()) as owner:
            return owner.execute("SELECT id, amount::text, status, refunded::text FROM orders ORDER BY id").fetchall()

    def shell(self, *lines):
        """Paste lines into a shell, one session for all of them."""
        script = "set -euo pipefail\n" + "\n".join(lines)
        done = subprocess.run(
            ["bash", "-c", script], env=self.environ, cwd="/", capture_output=True, text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def demo(short_folder):
    folder = short_folder / "demo"
    folder.mkdir()
    folder.chmod(0o711)  # Postgres, under another account, passes through
    demo = Demo(folder)
    try:
        demo.first = demo.up("--agents", str(AGENTS))
        yield demo
    finally:
        demo.call("down", "--purge")


def ready(obj):
    found = {one["type"]: one for one in obj["status"]["conditions"]}["Ready"]
    return found["status"] == "True" and obj["status"]["observedGeneration"] == obj["metadata"]["generation"]


def use(shown, fragment):
    """The line to paste whose description holds ``fragment``."""
    return next(one["line"] for one in shown["use"] if fragment in one["what"])


def test_every_sample_is_as_it_should_be_and_up_says_what_the_api_server_says(demo):
    tenants, subscriptions = demo.listed("tenants"), demo.listed("subscriptions")
    assert {name: obj["status"]["phase"] for name, obj in subscriptions.items()} == PHASES
    assert all(map(ready, [*tenants.values(), *subscriptions.values()]))
    shown = {row["tenant"]: row for row in demo.first["tenants"]}
    assert {name: row["phase"] for name, row in shown.items()} == PHASES
    assert {name: row["namespace"] for name, row in shown.items()} == {
        name: obj["status"]["namespace"] for name, obj in tenants.items()
    }
    assert all(row["ready"] and row["seconds"] > 0 for row in shown.values())


def test_the_suspended_tenant_was_built_before_and_has_neither_pods_nor_a_login(demo):
    status = demo.listed("tenants")["umbrella"]["status"]
    _, quota = demo.api.call("GET", f"/api/v1/namespaces/{status['namespace']}/resourcequotas/paybill")
    assert quota["status"]["hard"]["pods"] == "0"
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(demo.uri("umbrella"))
    with psycopg.connect(demo.uri("initech")) as neighbour:
        assert neighbour.execute("SELECT 1").fetchone() == (1,)


def test_the_order_that_a_person_approved_is_paid_back_and_no_other(demo):
    paid_back = {order[0]: order[1:] for order in demo.orders() if order[2:] != ("paid", "0.00")}
    assert paid_back == {demo.first["agents"]["order"]: ("640.00", "refunded", "640.00")}


def test_the_hostile_agent_was_denied_everything_that_it_tried(demo):
    attempts = demo.first["agents"]["attempts"]
    assert len(attempts) >= 22
    assert all(one["denied"] for one in attempts), attempts
    assert {one["through"] for one in attempts} == {"gateway", "stolen login", "Kubernetes"}


def test_the_journal_that_up_names_has_both_runs_and_is_whole(demo):
    shown = demo.first["agents"]

    def read():
        told = demo.shell(use(demo.first, "everything that agents did"))
        return told if "Succeeded" in told else None

    told = eventually(read, seconds=180)  # the operator closes what is done at its next look
    entries = {run: [line for line in told.splitlines() if run in line] for run in shown["runs"]}
    obedient, cancelled = entries.values()
    assert any(" approval ask" in line for line in obedient)
    assert any(" call mark orders.update 1 rows" in line for line in obedient)
    assert obedient[-1].endswith("Succeeded")
    assert not any("orders.update" in line for line in cancelled)
    assert cancelled[-1].endswith("Cancelled")
    verified = demo.json("agents", "verify", shown["database"])
    assert (verified["entries"], verified["problems"]) == (len(told.splitlines()), [])
    assert ": the same" in demo.shell(use(demo.first, "just what its workflow comes to"))


def test_the_person_who_approved_is_in_the_approval_and_was_not_who_asked(demo):
    wayne = demo.listed("tenants")["wayne"]["status"]["namespace"]
    _, runs = demo.api.call("GET", f"/apis/agents.paybill.dev/v1alpha1/namespaces/{wayne}/agentruns")
    asked = {run["metadata"]["uid"]: run["spec"]["requestedBy"] for run in runs["items"]}
    approved = {
        one["spec"]["subject"]["uid"]: one["spec"]["approver"]
        for one in demo.listed("approvals").values()
        if one["status"].get("usedTime")
    }
    assert set(demo.first["agents"]["runs"]) <= approved.keys()
    assert all(approved[run] == "bruce@wayne.example" != asked[run] for run in approved)


def test_an_attempt_that_goes_through_ends_the_demo_with_a_failure_that_names_it(demo):
    """Somebody lets the agent's account ask for runs: the one protection against that is gone."""
    rbac, group, name = "/apis/rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io", "asking"
    rules = [{"apiGroups": ["agents.paybill.dev"], "resources": ["agentruns"], "verbs": ["create"]}]
    account = {"kind": "ServiceAccount", "namespace": "helpdesk", "name": "support-bot"}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    metadata, wayne = {"metadata": {"name": name}}, demo.listed("tenants")["wayne"]["status"]["namespace"]
    assert demo.api.call("POST", f"{rbac}/clusterroles", metadata | {"rules": rules})[0] == 201
    bound = demo.api.call("POST", f"{rbac}/clusterrolebindings", metadata | {"roleRef": role, "subjects": [account]})
    try:
        assert bound[0] == 201
        failed = demo.call("up", "--agents", str(AGENTS), code=1)
    finally:
        demo.api.call("DELETE", f"{rbac}/clusterrolebindings/{name}")
        demo.api.call("DELETE", f"/apis/agents.paybill.dev/v1alpha1/namespaces/{wayne}/agentruns/of-its-own")
    assert failed.stdout.count("NOT DENIED") == 1
    assert failed.stderr.strip().endswith("ask for a run of its own (Kubernetes): it went through")
    again = demo.up("--agents", str(AGENTS))["agents"]
    assert all(one["denied"] for one in again["attempts"])
    assert set(again["runs"]).isdisjoint(demo.first["agents"]["runs"])


def test_a_second_up_finds_the_first_and_changes_nothing(demo):
    def versions():
        objects = [*demo.listed("tenants").values(), *demo.listed("subscriptions").values()]
        return {obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"] for obj in objects}

    before = versions()
    again = demo.up()
    assert (again["pid"], versions()) == (demo.first["pid"], before)
    assert {row["tenant"]: row["phase"] for row in again["tenants"]} == PHASES
    assert "runs already" in demo.call("up").stdout


def test_the_output_says_that_network_policies_are_not_enforced_here(demo):
    assert any("NetworkPolicies are declared, not enforced" in note for note in demo.first["notes"])


@needs_kubectl
def test_kubectl_waits_for_every_tenant_to_be_ready(demo):
    words = ["kubectl", "wait", "--for=condition=Ready", "tenant", "--all", "--timeout=10s"]
    environ = demo.environ | {"KUBECONFIG": str(demo.home.kubeconfig)}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("condition met") == len(PHASES)


@needs_kubectl
def test_the_lines_to_paste_work(demo):
    shell = use(demo.first, "this shell")
    assert "umbrella" in demo.shell(shell, use(demo.first, "the objects"))
    told = demo.shell(shell, use(demo.first, "as its migrations"), use(demo.first, "as its app"))
    assert "hello" in told
    with psycopg.connect(demo.uri("acme")) as app:
        assert app.execute("SELECT body FROM notes").fetchall() == [("hello",)]


def test_without_kubectl_on_the_path_the_lines_do_the_same(demo, tmp_path):
    shown = demo.up(PATH=str(tmp_path))
    assert not any("kubectl" in one["line"] for one in shown["use"])
    told = demo.shell(use(shown, "this shell"), use(shown, "as its migrations"), use(shown, "as its app"))
    assert "hello" in told


def test_the_superusers_line_opens_a_session(demo):
    line = use(demo.first, "superuser")
    assert demo.shell(f"{line} -Atc 'SELECT current_user'").strip() == "postgres"


def test_the_audit_log_is_found_and_whole(demo):
    verified = json.loads(demo.shell(f"{use(demo.first, 'log of all')} --output json"))
    assert verified["intact"]
    assert verified["rows"] > 0
    assert verified["problems"] == verified["unfinished"] == []


def test_tenants_lists_what_the_api_server_has(demo):
    objects = demo.listed("tenants")
    listed = {one["name"]: one for one in demo.json("tenants")}
    assert {name: one["subscription"]["phase"] for name, one in listed.items()} == PHASES
    for field in ("id", "phase", "plan", "isolation", "placement", "namespace", "binding"):
        assert {name: one[field] for name, one in listed.items()} == {
            name: obj["status"][field] for name, obj in objects.items()
        }
    shown = demo.call("tenants").stdout
    assert all(name in shown and phase in shown for name, phase in PHASES.items())


def test_forecast_begins_with_the_transition_that_the_operator_wrote(demo):
    for name, subscription in demo.listed("subscriptions").items():
        coming = subscription["status"]["next"]
        first = demo.json("forecast", name)["transitions"][0]
        assert (first["phase"], first["time"]) == (coming["phase"], coming["time"])
    told = demo.call("forecast", "globex").stdout
    places = [told.index(phase) for phase in ("PastDue", "Restricted", "Suspended", "Ended", "Archived")]
    assert places == sorted(places)


def test_describe_shows_conditions_events_and_what_comes_next(demo):
    told = demo.call("describe", "umbrella").stdout
    for word in ("Umbrella Corporation", "CredentialsFresh", "PaymentCurrent", "Next: Ended", "Suspending"):
        assert word in told
    page = demo.json("describe", "umbrella")
    assert page["tenant"]["status"] == demo.listed("tenants")["umbrella"]["status"]
    assert {"Tenant", "Subscription"} == {event["about"] for event in page["events"]}


def test_entitlements_are_those_handed_to_the_app(demo):
    status = demo.listed("tenants")["acme"]["status"]
    _, handed = demo.api.call("GET", f"/api/v1/namespaces/{status['namespace']}/configmaps/{status['id']}-entitlements")
    granted = demo.json("entitlements", "acme")["entitlements"]
    as_text = {f"feature.{one['name']}": json.dumps(one["value"]).strip('"') for one in granted}
    assert as_text == {key: value for key, value in handed["data"].items() if key.startswith("feature.")}
    assert {one["name"]: one["source"] for one in granted} == {
        "priority-support": "Subscription", "seats": "AddOn", "sso": "Plan",
    }  # fmt: skip


@pytest.mark.parametrize("command", ["describe", "forecast", "entitlements"])
def test_a_tenant_that_is_not_there_is_answered_with_those_that_are(demo, command):
    failed = demo.call(command, "umbrela", code=1)
    assert failed.stderr.strip() == f"Error: there is no Tenant umbrela; there are: {', '.join(sorted(PHASES))}"
    told = json.loads(demo.call(command, "umbrela", "--output", "json", code=1).stdout)
    assert told["error"]["reason"] == "NotFound"


@needs_kubectl
def test_paying_brings_the_suspended_tenant_back_with_the_same_login(demo):
    before = demo.uri("umbrella")
    demo.shell(use(demo.first, "this shell"), use(demo.first, "umbrella pays"))
    eventually(lambda: demo.phase("umbrella") == "Active" and ready(demo.listed("tenants")["umbrella"]))
    assert demo.uri("umbrella") == before
    with psycopg.connect(before) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)


@needs_kubectl
def test_after_down_and_up_the_samples_are_as_the_user_left_them(demo):
    times = {name: obj["spec"] for name, obj in demo.listed("subscriptions").items()}
    demo.call("down")
    again = demo.up()
    assert {name: obj["spec"] for name, obj in demo.listed("subscriptions").items()} == times
    assert {row["tenant"]: row["phase"] for row in again["tenants"]} == PHASES | {"umbrella": "Active"}


def test_a_sample_that_does_not_come_up_is_named_with_its_condition_and_what_to_do(demo, tmp_path):
    (tmp_path / "stray.yaml").write_text(
        json.dumps({"apiVersion": "paybill.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "stray"}, "spec": {}})
    )
    failed = demo.call("up", "--detach", "--samples", str(tmp_path), "--timeout", "6", code=1)
    assert "Tenant stray is not Ready: NoSubscription: no Subscription names this Tenant: apply one" in failed.stderr
    demo.api.call("DELETE", f"{GROUP}/tenants/stray")
    assert demo.json("up")["pid"], "the instance goes on running"


def test_a_silo_has_a_postgres_of_its_own_that_is_there_after_a_restart(demo):
    others = {demo.uri(name).rsplit("@", 1)[1].split("/")[0] for name in ("acme", "umbrella")}
    address = demo.uri("stark").rsplit("@", 1)[1].split("/")[0]
    assert len(others) == 1
    assert address not in others
    uri = demo.uri("stark")
    with psycopg.connect(uri) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)
    demo.call("down")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(uri, connect_timeout=3)
    demo.up()
    with psycopg.connect(demo.uri("stark")) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)
    assert demo.uri("stark") == uri


def test_the_agents_gateway_is_there_after_a_restart_on_the_same_port(demo):
    eventually(lambda: knocked(demo.first["agents"]["gateway"]) == 401)


def knocked(url):
    """The status that a stranger's request is answered with; None while nobody listens."""
    request = urllib.request.Request(url, data=b"{}", headers={"Authorization": "Bearer a.stranger.here"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_down_leaves_no_process(demo):
    pid = demo.json("up")["pid"]
    below = {pid} | descendants(pid)
    assert len(below) >= 6, "supervisor, etcd, API server, controllers, Postgres and the operator"
    assert demo.json("down")["stopped"]
    eventually(lambda: not alive(below))
