"""Whole objects: right ones, and ones with a few places changed to something at the edge.

Where a CEL rule spans several fields, the schema alone would seldom give a right object; the few such fields are
written down here. References come from small sets of names, so that objects find, miss and replace each other.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from paybill.api import crd
from paybill.api.base import Resource
from paybill.api.kinds import BY_KIND, KINDS
from paybill.api.plan import ADD_ON_FORBIDS
from paybill.local import bootstrap
from tests.cases.model import Object
from tests.fuzz.mutation import mutated
from tests.fuzz.values import QUANTITIES, Schema, Shapes, fitting

SCHEMAS: Mapping[str, Schema] = {kind.kind: crd.schema(kind)["properties"] for kind in KINDS}
NAMES: Mapping[str, tuple[str, ...]] = {
    "Plan": tuple(f"plan-{number}" for number in range(4)),
    "Tenant": (*(f"tenant-{number}" for number in range(12)), "t" * 63),
    "Subscription": (*(f"tenant-{number}" for number in range(12)), "second", "s" * 63),
    "Cell": ("local", "cell-1", "cell-2", "c" * 63),
    "Approval": ("approval-1", "approval-2"),
    "TenantBackup": ("backup-1", "backup-2", "b" * 63),
    "TenantRestore": ("restore-1", "restore-2", "r" * 63),
    "AgentPolicy": ("policy-1", "policy-2", "p" * 63),
    "AgentWorkflow": ("workflow-1", "workflow-2", "w" * 63),
    "AgentRun": ("run-1", "run-2", "r" * 63),
}
"""A Subscription mostly has its Tenant's name."""

USELESS_SECRET = "useless"
PASSWORD = "hunter2-is-no-secret"
USELESS_SERVERS = {
    "closed": f"postgresql://paybill:{PASSWORD}@127.0.0.1:1/postgres?connect_timeout=2".encode(),
    "unreadable": f"postgresql://paybill:{PASSWORD}@bad host:99999/x".encode(),
    "words": f"password={PASSWORD} {PASSWORD} host".encode(),
    "binary": b"\xff\xfe\x00",
    "empty": b"",
}
"""Administrators' URIs, by the key in USELESS_SECRET, that lead nowhere; whoever fails must not show the password."""


def server(name: str, holds: str, secret: str, key: str) -> Object:
    """A server of a Cell."""
    return {"name": name, "holds": holds, "adminSecretRef": {"name": secret, "key": key}}


_FEATURE_NAMES = st.sampled_from(["seats", "sso", "region", "a.b", "x" * 63, "phase", "feature", "A", "a"])
_FEATURE = st.one_of(
    st.builds(lambda name, value: {"name": name, "boolean": value}, _FEATURE_NAMES, st.booleans()),
    st.builds(lambda name, value: {"name": name, "integer": value}, _FEATURE_NAMES,
              st.sampled_from([0, 1, -1, 25, 2**53 - 1])),
    st.builds(lambda name, value: {"name": name, "string": value}, _FEATURE_NAMES,
              st.sampled_from(["", "eu", "a\nb\tc", "\U0001f600" * 1024, "\u2028", "null", "{{x}}"])),
)  # fmt: skip
_FEATURES = st.lists(_FEATURE, max_size=5, unique_by=lambda feature: feature["name"])
_OWNERS = st.lists(
    st.sampled_from([
        {"kind": "Group", "name": "admins"}, {"kind": "User", "name": "a@example.com"},
        {"kind": "User", "name": "größe 数"},
        {"kind": "ServiceAccount", "name": "ci", "namespace": "acme"}, {"kind": "User", "name": "x" * 253},
        {"kind": "ServiceAccount", "name": "größe", "namespace": "acme"}, {"kind": "Group", "name": "\u202e:"},
        {"kind": "ServiceAccount", "name": "a b", "namespace": "acme"}, {"kind": "User", "name": " "},
        {"kind": "ServiceAccount", "name": "A/..", "namespace": "acme"},
    ]), max_size=4, unique_by=lambda owner: (owner["kind"], owner["name"]),
)  # fmt: skip
_LABELS = st.sampled_from([
    {"app": "web"}, {"kubernetes.io/metadata.name": "x"}, {"a": ""}, {"a..b/c": "x"}, {"x" * 63: "y" * 63},
    {f"{'a' * 63}.{'b' * 63}/c": "d"}, {"x" * 64: "y"}, {"a-/b": "c"},
])  # fmt: skip
_BLOCKS = st.sampled_from([
    {"cidr": "0.0.0.0/0"}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, {"cidr": "::/0", "except": ["fd00::/8"]},
    {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.1.0.0/16"]},
    {"cidr": "::ffff:10.0.0.0/104"}, {"cidr": "255.255.255.255/32"}, {"cidr": "FD00::/8"},
    {"cidr": "0:0:0:0:0:0:0:0/0"},
])  # fmt: skip
_PEERS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"ports": st.lists(st.sampled_from([{"port": 443}, {"port": 53, "protocol": "UDP"}]), max_size=3)}
    ).flatmap(
        lambda ports: st.one_of(
            _BLOCKS.map(lambda block: {"ipBlock": block, **ports}),
            _LABELS.map(lambda labels: {"podSelector": {"matchLabels": labels}, **ports}),
            _LABELS.map(lambda labels: {"namespaceSelector": {"matchLabels": labels}, **ports}),
        )
    ), max_size=4,
)  # fmt: skip
_ISOLATION = st.sampled_from([
    {"model": "Pooled", "compute": "Namespace", "database": "Schema"}, {"model": "Pooled"}, {"model": "Pooled"},
    {"model": "Pooled", "compute": "Namespace", "database": "Rows"}, {"model": "Pooled", "database": "Rows"},
    {"model": "Pooled", "compute": "Namespace"}, {"model": "Silo"}, {"model": "Bridge"},
])  # fmt: skip
_QUOTA_KEYS = (
    "pods", "requests.cpu", "limits.memory", "cpu", "requests.storage", "services.loadbalancers", "count/jobs.batch",
    "count/deployments.apps", "requests.nvidia.com/gpu", "hugepages-2Mi", "requests.hugepages-3Mi",
    "persistentvolumeclaims",
    "gold.storageclass.storage.k8s.io/requests.storage", "a..b.storageclass.storage.k8s.io/persistentvolumeclaims",
    "count/widgets", "count/" + "a" * 63, "requests." + "a" * 63 + ".io/x", "ephemeral-storage", "hugepages-999999Gi",
    "-.storageclass.storage.k8s.io/requests.storage", "requests.kubernetes.io/x", "requests.a.requests.b/x",
    "count/pods", "count/a-.b", "requests.a-.b/x", "requests.a/b-", "requests.ab/" + "c" * 64,
    "a" * 200 + ".storageclass.storage.k8s.io/requests.storage",
)  # fmt: skip
_QUOTA = st.one_of(
    st.just({"pods": "40", "requests.cpu": "4"}), st.just({"limits.memory": "8Gi", "count/jobs.batch": 3}),
    st.dictionaries(st.sampled_from(_QUOTA_KEYS), st.sampled_from(["4", "40", 10]), min_size=1, max_size=1),
    st.dictionaries(st.sampled_from(_QUOTA_KEYS[:8]), st.sampled_from(QUANTITIES), min_size=1, max_size=1),
)  # fmt: skip
_DAYS = st.sampled_from([0, 1, 7, 14, 30, 36_500])
_PLAN_PAYMENT = st.builds(
    lambda window, days, retain: {
        "firstPaymentWindow": window, "restrictAfterDays": days[0], "graceDays": days[1], "endAfterDays": days[2],
        "retainDays": retain, "archiveDays": retain,
    },
    st.sampled_from(["24h", "1ms", "999999h"]), st.lists(_DAYS, min_size=3, max_size=3).map(sorted), _DAYS,
)  # fmt: skip
_TIMES = st.sampled_from([
    "2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00Z", "2020-01-01T00:00:00+14:00", "2030-01-01T00:00:00.123456789Z", "0001-01-01T00:00:00+23:59",
])  # fmt: skip
_PAYMENT = st.one_of(
    _TIMES.map(lambda time: {"provider": "Manual", "paidUntilTime": time}),
    st.sampled_from([{}, {"provider": "Manual"}, {"provider": "Stripe", "subscription": "sub_1"}]),
)
_SERVERS = st.lists(
    st.sampled_from([
        server("schemas-1", "Schemas", bootstrap.SERVERS_SECRET, "schemas-1"),
        server("rows-1", "Rows", bootstrap.SERVERS_SECRET, "rows-1"),
        {**server("s" * 63, "Schemas", bootstrap.SERVERS_SECRET, "schemas-1"), "capacity": {"schemas": 1}},
        server("databases", "Databases", bootstrap.SERVERS_SECRET, "rows-1"),
        server("no-secret", "Schemas", "missing", "x"),
        *(server(f"is-{key}", "Schemas", USELESS_SECRET, key) for key in USELESS_SERVERS),
    ]), max_size=3, unique_by=lambda server: server["name"],
)  # fmt: skip
_ENGINE = st.sampled_from([
    {}, {"type": "Terraform", "modulePath": "/m"}, {"programPath": "/p"}, {"state": {"url": "s3://bucket/x"}},
])  # fmt: skip
_HOLDS = st.lists(
    st.builds(lambda name, blocks: {"name": name, "blocks": blocks, "reason": "because"},
              st.sampled_from(["a", "b", "h" * 63]), st.sampled_from(["Changes", "Access", "Provisioning"])),
    max_size=2, unique_by=lambda hold: hold["name"],
)  # fmt: skip


def _reference(kind: str) -> st.SearchStrategy[Object]:
    return st.sampled_from(NAMES[kind]).map(lambda name: {"name": name})


_COMMON: Shapes = {
    "features": _FEATURES, "set": _FEATURES, "ingressFrom": _PEERS, "egressTo": _PEERS, "owners": _OWNERS,
    "holds": _HOLDS, "isolation": _ISOLATION, "quota": _QUOTA, "servers": _SERVERS, "engine": _ENGINE,
    "cellRef": _reference("Cell"), "planRef": _reference("Plan"), "tenantRef": _reference("Tenant"),
    "cancelTime": _TIMES, "startTime": st.just("2020-01-01T00:00:00Z"), "cancelAtPeriodEnd": st.just(False),
}  # fmt: skip
ADMINISTRATOR = "paybill-local-admin"
"""Who throws all this: nobody approves for somebody else."""
_SUBJECT = st.sampled_from([
    {"kind": "Installation", "name": "fuzz"}, {"kind": "Installation", "name": "elsewhere"},
    *({"kind": "Tenant", "name": name, "uid": "3f1c"} for name in NAMES["Tenant"][:3]),
    {"kind": "AgentRun", "name": "run-1", "namespace": "default", "uid": "3f1c"},
])  # fmt: skip


_COLLECTIONS = st.lists(
    st.sampled_from([
        {"name": "orders", "read": {"fields": ["id"]}},
        {"name": "Größe", "delete": {"maxRows": 1000}, "untrusted": ["notes"]},
        {"name": "x" * 63, "rows": {"all": [{"field": "a", "op": "isNull"}]}, "aggregate": {"functions": ["count"]}},
        {"name": "y", "create": {"fields": ["a"], "check": {"any": [{"field": "a", "op": "in", "values": ["1"]}]}}},
    ]), min_size=1, max_size=4, unique_by=lambda one: one["name"],
)  # fmt: skip
_STEPS = st.lists(
    st.sampled_from([
        {"name": "load", "uses": "orders.get", "with": {"id": "$input.id"}, "next": [{"to": "judge"}]},
        {"name": "judge", "uses": "decide", "out": {"verdict": ["yes", "no"]}},
        {"name": "ask", "uses": "approve", "next": [{"to": "load", "when": {"field": "a", "op": "eq", "value": "1"}}]},
        {"name": "w" * 63, "uses": "a.b.delete", "compensate": {"uses": "a.create"}, "trusted": ["id"]},
    ]), min_size=1, max_size=4, unique_by=lambda one: one["name"],
)  # fmt: skip
_OWN: Mapping[str, Shapes] = {
    "AgentPolicy": {"collections": _COLLECTIONS},
    "AgentWorkflow": {"steps": _STEPS},
    "Approval": {"approver": st.just(ADMINISTRATOR), "subject": _SUBJECT},
    "AgentRun": {
        "requestedBy": st.just(ADMINISTRATOR),
        "policyRef": _reference("AgentPolicy"),
        "workflowRef": _reference("AgentWorkflow"),
    },
    "Plan": {"payment": _PLAN_PAYMENT, "type": st.sampled_from(["Base"] * 5 + ["AddOn"])},
    "Subscription": {"payment": _PAYMENT},
}


@functools.cache
def specs(kind: str) -> st.SearchStrategy[Object]:
    """Specs that should be taken, mostly."""
    made = fitting(SCHEMAS[kind]["spec"], _COMMON | _OWN.get(kind, {}))
    match kind:
        case "Plan":
            return st.builds(_plan, made, _ISOLATION)
        case "Tenant":
            return st.builds(_tenant, made, st.integers(0, 9))
    return made


def _plan(spec: Object, isolation: Object) -> Object:
    if spec.get("type") == "AddOn":
        return {name: value for name, value in spec.items() if name not in (*ADD_ON_FORBIDS, "trialDays")}
    return {**spec, "isolation": isolation}


def _tenant(spec: Object, tenth: int) -> Object:
    """Whoever asks for an id gets no further than to wait for an Approval; few do."""
    return {name: value for name, value in spec.items() if name != "id" or tenth == 0}


@functools.cache
def objects(kind: type[Resource]) -> st.SearchStrategy[Object]:
    """Objects of a kind with a spec, as somebody might send them."""
    spec = mutated(specs(kind.kind), SCHEMAS[kind.kind]["spec"])
    return st.builds(lambda name, spec: named(kind.kind, name, spec), st.sampled_from(NAMES[kind.kind]), spec)


@functools.cache
def statuses(kind: type[Resource]) -> st.SearchStrategy[Object]:
    """Statuses as somebody might write them by hand."""
    schema = SCHEMAS[kind.kind]["status"]
    return mutated(fitting(schema), schema)


def named(kind: str, name: str, spec: Any) -> Object:
    """An object of a kind."""
    return {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


assert set(BY_KIND) <= set(NAMES), "every kind is fuzzed: give a new one its names"
