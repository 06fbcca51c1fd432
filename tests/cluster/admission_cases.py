"""The requests of test_admission.py: what each policy refuses, and what none of them does.

Words in angle brackets are names of the scene (admission_scene.py). Who asks has every right that RBAC can give.
"""

from __future__ import annotations

from typing import Any

from paybill.api.kinds import KINDS
from paybill.desired import names
from paybill.lifecycle import phases
from tests.cases.agent_run import run as agent_run
from tests.cluster import samples
from tests.cluster.api import Object, path
from tests.cluster.refusals import APPLY, Request, create, delete, patch

RBAC = "rbac.authorization.k8s.io"
MARKS = {
    names.MANAGED_BY_LABEL: names.MANAGER,
    names.INSTALLATION_LABEL: "<installation>",
    names.TENANT_LABEL: "<tenant>",
}
UID = "0" * 8
ACCOUNT = {"kind": "ServiceAccount", "namespace": "paybill-system", "name": "paybill-operator"}


def thing(kind: str, name: str, namespace: str = "", labels: Object | None = None, **content: Any) -> Object:
    version = VERSIONS.get(kind, "v1")
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata |= {"labels": labels} if labels else {}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def granted(name: str, namespace: str, role: str, *subjects: Object, labels: Object | None = None) -> Object:
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
    return thing("RoleBinding", name, namespace, labels, roleRef=reference, subjects=list(subjects))


def person(name: str, kind: str = "User") -> Object:
    return {"kind": kind, "name": name, "apiGroup": RBAC}


def approval(kind: str, subject: str, approver: str, **more: str) -> Object:
    about = {"kind": kind, "name": subject} | ({"uid": UID} if kind != "Installation" else {})
    about |= {"namespace": "<namespace>"} if kind == "AgentRun" else {}
    said = {"subject": about, "digest": f"sha256:{'0' * 64}", "approver": approver, **more}
    return samples.ours("Approval", "<fresh>", said)


def in_namespace(namespace: str, obj: Object) -> Object:
    """The Approval of a run of that name, in another namespace."""
    return {**obj, "spec": {**obj["spec"], "subject": {**obj["spec"]["subject"], "namespace": namespace}}}


def of_checkout(obj: Object, session: str = "cs_test_a1") -> Object:
    return {**obj, "metadata": {**obj["metadata"], "annotations": {names.CHECKOUT_ANNOTATION: session}}}


def paid_at_stripe(session: str = "cs_test_a1", **payment: str) -> Object:
    references = {"tenantRef": {"name": "<fresh>"}, "planRef": {"name": "<any>"}}
    payer = payment or {"subscription": "sub_1"}
    obj = samples.ours("Subscription", "<fresh>", {**references, "payment": {"provider": "Stripe", **payer}})
    return of_checkout(obj, session) if session else obj


GUARDRAILS: dict[str, Object] = {
    "ConfigMap": {},
    "LimitRange": {"spec": {"limits": []}},
    "ResourceQuota": {"spec": {}},
    "Secret": {},
    "ServiceAccount": {},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "RoleBinding": {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}},
}
_POD = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
_SELECTS = {"selector": {"matchLabels": {"a": "b"}}, "template": _POD}
WORKLOADS: dict[str, Object] = {
    "DaemonSet": {"spec": _SELECTS},
    "ReplicaSet": {"spec": _SELECTS},
    "StatefulSet": {"spec": {**_SELECTS, "serviceName": "s"}},
    "Job": {"spec": {"template": {**_POD, "spec": {**_POD["spec"], "restartPolicy": "Never"}}}},
}
GATEWAY = "t-<tenant>-agents"
VERSIONS = {
    "Deployment": "apps/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "RoleBinding": f"{RBAC}/v1",
    "Job": "batch/v1",
    **dict.fromkeys(("DaemonSet", "ReplicaSet", "StatefulSet"), "apps/v1"),
}


def gateway(kind: str, name: str, namespace: str = "paybill-system", secret: str = "") -> Object:
    """A part of a gateway, or what calls itself one; ``secret``: what it mounts."""
    volumes = [{"name": "agents", "secret": {"secretName": secret}}] if secret else []
    content: dict[str, Object] = {
        "Deployment": {**_SELECTS, "template": {**_POD, "spec": {**_POD["spec"], "volumes": volumes}}},
        "Service": {"ports": [{"port": 80}]},
        "NetworkPolicy": {"podSelector": {}},
    }
    return thing(kind, name, namespace, spec=content[kind])


LIVE = ("Provisioning", "Active", "Suspended")
OVER = tuple(sorted(map(str, phases.OVER)))
EVENT = {"involvedObject": {"namespace": "<elsewhere>"}, "reason": "Test"}
TAKEN = {"metadata": {"labels": {names.INSTALLATION_LABEL: None}}}
MARKED = {"metadata": {"labels": {names.INSTALLATION_LABEL: "<installation>"}}}

OUT_OF_BOUNDS = "Paybill writes in namespaces t-<id>, paybill-pool-<cell> and paybill-system only"
NOT_OURS = "it is not of the installation <installation>; nothing foreign is taken over"
NAMES = "the namespaces of Paybill are t-<id> and paybill-pool-<cell>"
UNMARKED = "it would be without the mark paybill.dev/installation=<installation>"
BINDINGS = "Paybill writes paybill-operator and paybill-owners of tenants only"
NOT_GIVEN = "to these subjects"
GATEWAYS = "Paybill writes t-<id>-agents in paybill-system only"
END_FIRST = "end the contract first"
FOR_CHECKOUTS = "Paybill makes one only for a checkout"
LABELS = "sets, changes or removes labels that are marks of Paybill; only the operator may"
ANNOTATIONS = "sets, changes or removes annotations that are marks of Paybill; only the operator may"
SAID = "says what the operator saw; only the operator may"

REFUSED: dict[str, list[Request]] = {
    "paybill-confinement": [
        create("a ConfigMap elsewhere", "operator", thing("ConfigMap", "new", "<elsewhere>"), OUT_OF_BOUNDS),
        *(
            create(f"a {kind} elsewhere", "operator", thing(kind, "new", "<elsewhere>", **content), OUT_OF_BOUNDS)
            for kind, content in {**GUARDRAILS, **WORKLOADS}.items()
            if kind not in {"ConfigMap", "RoleBinding"}
        ),
        create("a Secret in kube-system", "operator", thing("Secret", "new", "kube-system"), OUT_OF_BOUNDS),
        create("a quota in default", "operator", thing("ResourceQuota", "new", "default"), OUT_OF_BOUNDS),
        create("an Event elsewhere", "operator", thing("Event", "new", "<elsewhere>", **EVENT), OUT_OF_BOUNDS),
        create("a namespace whose name is one longer", "operator", thing("ConfigMap", "a", "<longer>"), OUT_OF_BOUNDS),
        create(
            "its own binding elsewhere",
            "operator",
            granted("paybill-operator", "<elsewhere>", "paybill-operator-tenant", ACCOUNT),
            OUT_OF_BOUNDS,
        ),
        patch("an edit", "operator", "ConfigMap", "theirs", {"data": {"a": "b"}}, OUT_OF_BOUNDS,
              namespace="<elsewhere>"),
        delete("a deletion", "operator", "Secret", "theirs", OUT_OF_BOUNDS, namespace="<elsewhere>"),
    ],
    "paybill-own-namespaces": [
        create("another name", "operator", thing("Namespace", "kube-more", labels=MARKS), NAMES),
        create("no mark", "operator", thing("Namespace", "<new>"), UNMARKED),
        create("another mark", "operator",
               thing("Namespace", "<new>", labels=MARKS | {names.INSTALLATION_LABEL: "x"}), UNMARKED),
        Request(id="a stranger's taken over", who="operator", method="PATCH", where="/api/v1/namespaces/<foreign>",
                body=thing("Namespace", "<foreign>", labels=MARKS), kind=APPLY, says=NOT_OURS),
        patch("the mark taken off", "operator", "Namespace", "<namespace>", TAKEN, UNMARKED),
        delete("a stranger's deleted", "operator", "Namespace", "<foreign>", NOT_OURS),
        delete("another name deleted", "operator", "Namespace", "<elsewhere>", NAMES),
        patch("status", "operator", "Namespace", "<namespace>", MARKED, "no subresource of a namespace", sub="status"),
        Request(id="finalize", who="operator", method="PUT", where="/api/v1/namespaces/<namespace>/finalize",
                body=thing("Namespace", "<namespace>", labels=MARKS), says="no subresource of a namespace"),
    ],
    "paybill-grants": [
        create("another name", "operator",
               granted("more", "<namespace>", "paybill-operator-tenant", ACCOUNT), BINDINGS),
        create("cluster-admin for owners", "operator",
               granted("paybill-owners", "<other>", "cluster-admin", person("a", "Group")), NOT_GIVEN),
        create("the operator's rights for somebody", "operator",
               granted("paybill-operator", "<other>", "paybill-operator-tenant", person("eve")), NOT_GIVEN),
        create("the operator's rights for an account of that name elsewhere", "operator",
               granted("paybill-operator", "<other>", "paybill-operator-tenant",
                       {**ACCOUNT, "namespace": "<elsewhere>"}), NOT_GIVEN),
        create("the owners' role as the operator's", "operator",
               granted("paybill-operator", "<other>", "paybill-tenant-owner", ACCOUNT), NOT_GIVEN),
        create("everybody as owner", "operator",
               granted("paybill-owners", "<other>", "paybill-tenant-owner",
                       person("system:authenticated", "Group")), NOT_GIVEN),
        create("a binding at home", "operator",
               granted("paybill-owners", "paybill-system", "paybill-tenant-owner"), BINDINGS),
        delete("somebody's binding", "operator", "RoleBinding", "theirs", BINDINGS, namespace="<namespace>"),
    ],
    "paybill-gateways": [
        create("a Deployment of another name", "operator", gateway("Deployment", "paybill-operator"), GATEWAYS),
        create("a Deployment of a name that is longer", "operator", gateway("Deployment", f"{GATEWAY}x"), GATEWAYS),
        create("a Deployment of a tenant", "operator", gateway("Deployment", GATEWAY, "<namespace>"), GATEWAYS),
        create("a Service of another name", "operator", gateway("Service", "paybill-operator-metrics"), GATEWAYS),
        create("its own NetworkPolicy", "operator", gateway("NetworkPolicy", "paybill-operator"), GATEWAYS),
        create("somebody else's Secret", "operator", gateway("Deployment", GATEWAY, secret="paybill-control-database"),
               f"a gateway has the Secret {GATEWAY} and no other"),
    ],
    "paybill-delete-protection": [
        *(delete(f"{phase}", "eve", "Tenant", f"<{phase}>", END_FIRST) for phase in LIVE),
        delete("with another's name on it", "eve", "Tenant", "<misnamed>", END_FIRST),
        delete("over, and taken up again", "eve", "Tenant", "<again>", END_FIRST),
        delete("an administrator", "admin", "Tenant", "<Active>", END_FIRST),
        Request(id="all at once", who="eve", method="DELETE", where=path("Tenant"),
                query={"labelSelector": "admission-test=<tenant>"}, says=END_FIRST),
    ],
    "paybill-signup": [
        create("a Tenant of no checkout", "operator", samples.tenant("<fresh>"), FOR_CHECKOUTS),
        create("a Tenant of what is no checkout", "operator", of_checkout(samples.tenant("<fresh>"), "sub_1"),
               FOR_CHECKOUTS),
        create("a Subscription of no checkout", "operator", paid_at_stripe(session=""), FOR_CHECKOUTS),
        create("a Tenant with somebody's id", "operator", of_checkout(samples.tenant("<fresh>", id="k3x9m2qd")),
               "who signs up by paying adopts nothing"),
        create("a Subscription that nobody pays", "operator", of_checkout(samples.subscription("<fresh>", "<any>")),
               "goes by a subscription at Stripe"),
        create("a Subscription that any of a customer's pays", "operator", paid_at_stripe(customer="cus_1"),
               "goes by a subscription at Stripe"),
    ],
    "paybill-approvals": [
        create("for somebody else", "eve", approval("Tenant", "acme", "alice"),
               "spec.approver is alice, but you are eve"),
        create("as somebody else", "admin", approval("Tenant", "acme", "eve"), "nobody approves for somebody else"),
        create("without the verb", "clerk", approval("Tenant", "acme", "clerk"),
               "the verb adopt on tenants.paybill.dev acme"),
        create("an erasure by one who may adopt", "warden", approval("Tenant", "acme", "warden", action="Erase"),
               "the verb erase on tenants.paybill.dev acme"),
        create("an adoption by one who may erase", "reaper", approval("Tenant", "acme", "reaper"),
               "the verb adopt on tenants.paybill.dev acme"),
        create("another tenant", "warden", approval("Tenant", "globex", "warden"),
               "the verb adopt on tenants.paybill.dev globex"),
        create("all tenants", "warden", approval("Installation", "acme", "warden"),
               "the verb adopt on all tenants.paybill.dev"),
        create("an agent's call for somebody else", "eve", approval("AgentRun", "refund-7", "alice"),
               "spec.approver is alice, but you are eve"),
        create("an agent's call without the verb", "clerk", approval("AgentRun", "refund-7", "clerk"),
               "the verb approve on agentruns.agents.paybill.dev <namespace>/refund-7"),
        create("an agent's call by one who may adopt", "warden", approval("AgentRun", "refund-7", "warden"),
               "the verb approve on agentruns.agents.paybill.dev <namespace>/refund-7"),
        create("a denial without the verb", "clerk", approval("AgentRun", "refund-7", "clerk", decision="Deny"),
               "the verb approve on agentruns.agents.paybill.dev <namespace>/refund-7"),
        create("another run's call", "judge", approval("AgentRun", "refund-8", "judge"),
               "the verb approve on agentruns.agents.paybill.dev <namespace>/refund-8"),
        create("a call of an agent in another namespace", "judge",
               in_namespace("<elsewhere>", approval("AgentRun", "refund-7", "judge")),
               "the verb approve on agentruns.agents.paybill.dev <elsewhere>/refund-7"),
        create("an adoption by one who may approve agents' calls", "judge", approval("Tenant", "acme", "judge"),
               "the verb adopt on tenants.paybill.dev acme"),
    ],
    "paybill-agent-runs": [
        create("in another's name", "eve", agent_run(requestedBy="alice"),
               "spec.requestedBy is alice, but you are eve"),
        create("in one's own, by another", "admin", agent_run(requestedBy="eve"), "nobody asks for somebody else"),
    ],
    "paybill-namespace-marks": [
        create("made", "eve", thing("Namespace", "<new>", labels=MARKS), LABELS),
        create("managed", "eve", thing("Namespace", "<new>", labels={names.MANAGED_BY_LABEL: "paybill"}), LABELS),
        create("annotated", "eve", {**thing("Namespace", "<new>"), "metadata": {
            "name": "<new>", "annotations": {names.TENANT_UID_ANNOTATION: "1"}}}, ANNOTATIONS),
        patch("a stranger's", "eve", "Namespace", "<elsewhere>", MARKED, LABELS),
        patch("another tenant's", "eve", "Namespace", "<namespace>",
              {"metadata": {"labels": {names.TENANT_LABEL: "aaaaaaaa"}}}, LABELS),
        patch("nobody's", "eve", "Namespace", "<namespace>", TAKEN, LABELS),
        patch("managed by another", "eve", "Namespace", "<namespace>",
              {"metadata": {"labels": {names.MANAGED_BY_LABEL: "Helm"}}}, LABELS),
        patch("a mark that is new", "eve", "Namespace", "<namespace>",
              {"metadata": {"labels": {"agents.paybill.dev/x": "1"}}}, LABELS),
        patch("without labels", "eve", "Namespace", "<namespace>", {"metadata": {"labels": None}}, LABELS),
        patch("by status", "eve", "Namespace", "<namespace>", TAKEN, LABELS, sub="status"),
        Request(id="by finalize", who="eve", method="PUT", where="/api/v1/namespaces/<namespace>/finalize",
                body=thing("Namespace", "<namespace>"), says=LABELS),
        create("the operator of another installation", "stranger", thing("Namespace", "<new>", labels=MARKS), LABELS),
    ],
    "paybill-guardrail-marks": [
        *(create(f"{kind} made", "owner", thing(kind, "new", "<namespace>", MARKS, **content), LABELS)
          for kind, content in GUARDRAILS.items()),
        *(patch(f"{kind} unmarked", "eve", kind, "ours", TAKEN, LABELS, namespace="<namespace>")
          for kind in GUARDRAILS),
        patch("in a pool", "eve", "ConfigMap", "ours", TAKEN, LABELS, namespace="<pool>"),
        patch("a suspension lifted", "eve", "ResourceQuota", "ours",
              {"metadata": {"annotations": {"paybill.dev/pods": None}}}, ANNOTATIONS, namespace="<namespace>"),
    ],
    "paybill-statuses": [
        patch(model.kind, "eve", model.kind, "<any>", {"status": {"observedGeneration": 1}}, SAID, sub="status")
        for model in KINDS
    ],
}  # fmt: skip

PASSED = [
    *(create(f"the operator: a gateway's {kind}", "operator", gateway(kind, GATEWAY, secret=GATEWAY))
      for kind in ("Deployment", "Service", "NetworkPolicy")),
    create("the operator: a NetworkPolicy of a tenant", "operator", gateway("NetworkPolicy", "new", "<namespace>")),
    create("anybody: a Deployment", "eve", gateway("Deployment", "web", "<elsewhere>", secret="web")),
    create("the operator: a Tenant of a checkout", "operator", of_checkout(samples.tenant("<fresh>"))),
    create("the operator: a Subscription of a checkout", "operator", paid_at_stripe(subscription="sub_1")),
    create("anybody: a Tenant", "eve", samples.tenant("<fresh>", id="k3x9m2qd")),
    create("the operator: a ConfigMap of a tenant", "operator", thing("ConfigMap", "new", "<namespace>", MARKS)),
    create("the operator: a Secret in a pool", "operator", thing("Secret", "new", "<pool>", MARKS)),
    create("the operator: a Secret at home", "operator", thing("Secret", "<fresh>", "paybill-system")),
    create("the operator: an Event about a Tenant", "operator",
           thing("Event", "<fresh>", "default", involvedObject={}, reason="Test")),
    create("the operator: a tenant's namespace", "operator", thing("Namespace", "<new>", labels=MARKS)),
    create("the operator: a pool", "operator", thing("Namespace", "paybill-pool-<tenant>-b", labels=MARKS)),
    Request(id="the operator: heals a mark that was lost", who="operator", method="PATCH",
            where="/api/v1/namespaces/<lost>", body=thing("Namespace", "<lost>", labels=MARKS), kind=APPLY),
    delete("the operator: deletes its namespace", "operator", "Namespace", "<namespace>"),
    create("the operator: binds itself", "operator",
           granted("paybill-operator", "<other>", "paybill-operator-tenant", ACCOUNT)),
    create("the operator: binds owners", "operator",
           granted("paybill-owners", "<other>", "paybill-tenant-owner", person("acme", "Group"),
                   person("system:serviceaccount:ci:deployer"), ACCOUNT)),
    delete("the operator: takes a binding away that somebody made again", "operator", "RoleBinding", "paybill-owners",
           namespace="<namespace>"),
    patch("the operator: writes a status", "operator", "Tenant", "<any>", {"status": {"observedGeneration": 1}},
          sub="status"),
    create("anybody: what has no mark", "eve", thing("ConfigMap", "new", "<namespace>", {"app": "web"})),
    create("anybody: what Helm manages", "eve",
           thing("ConfigMap", "new", "<namespace>", {names.MANAGED_BY_LABEL: "Helm"})),
    create("anybody: a namespace", "eve", thing("Namespace", "<fresh>", labels={"team": "blue"})),
    patch("anybody: a label of their own on a tenant's namespace", "eve", "Namespace", "<namespace>",
          {"metadata": {"labels": {"team": "blue"}}}),
    patch("anybody: a label of their own on a quota", "eve", "ResourceQuota", "ours",
          {"metadata": {"labels": {"team": "blue"}}}, namespace="<namespace>"),
    patch("breaking glass: marks", "admin", "Namespace", "<namespace>", TAKEN),
    patch("breaking glass: marks of a guardrail", "admin", "ResourceQuota", "ours", TAKEN, namespace="<namespace>"),
    patch("breaking glass: a status", "admin", "Tenant", "<any>", {"status": {"observedGeneration": 1}}, sub="status"),
    delete("a Tenant with its name on it", "eve", "Tenant", "<named>"),
    delete("a Tenant without a contract", "eve", "Tenant", "<any>"),
    delete("a Tenant that waits for its contract", "eve", "Tenant", "<Pending>"),
    *(delete(f"a Tenant whose contract is {phase}", "eve", "Tenant", f"<{phase}>") for phase in OVER),
    create("a run in one's own name", "eve", agent_run(requestedBy="eve")),
    create("an Approval by one who may adopt all", "eve", approval("Installation", "acme", "eve")),
    create("an Approval by one who may adopt this one", "warden", approval("Tenant", "acme", "warden")),
    create("an erasure by one who may erase this one", "reaper", approval("Tenant", "acme", "reaper", action="Erase")),
    create("an agent's call by one who may approve that run", "judge", approval("AgentRun", "refund-7", "judge")),
    create("a denial of it", "judge", approval("AgentRun", "refund-7", "judge", decision="Deny")),
    create("an agent's call by an administrator", "eve", approval("AgentRun", "refund-8", "eve")),
]  # fmt: skip
