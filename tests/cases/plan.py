"""Plans that must be accepted and refused: every rule, bound and enum of the schema."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named

POOLED = {"model": "Pooled"}


def plan(**spec: Any) -> Object:
    """A Base plan, Pooled unless the spec says otherwise."""
    return named("Plan", "case", {"isolation": POOLED, **spec})


def add_on(**spec: Any) -> Object:
    """An AddOn with nothing in it but what the spec says."""
    return named("Plan", "case", {"type": "AddOn", **spec})


def _accepted(reason: str, **spec: Any) -> Case:
    return Case("Plan", reason, plan(**spec), None)


def _refused(reason: str, message: str, **spec: Any) -> Case:
    return Case("Plan", reason, plan(**spec), message)


def _isolation(message: str | None, **layers: str) -> Case:
    verdict = "refused" if message else "accepted"
    return Case("Plan", f"isolation {' '.join(layers.values())} is {verdict}", plan(isolation=layers), message)


ISOLATION = (
    _isolation(None, model="Pooled"),
    _isolation(None, model="Pooled", compute="Shared", database="Rows"),
    _isolation(None, model="Pooled", compute="Shared", database="Schema"),
    _isolation(None, model="Pooled", compute="Namespace", database="Rows"),
    _isolation(None, model="Pooled", compute="Namespace", database="Schema"),
    _isolation("model Pooled shares the database", model="Pooled", database="Database"),
    _isolation("model Pooled shares the database", model="Pooled", compute="Namespace", database="Server"),
    _isolation(None, model="Bridge"),
    _isolation(None, model="Bridge", compute="Namespace", database="Database"),
    _isolation("model Bridge means", model="Bridge", compute="Shared"),
    _isolation("model Bridge means", model="Bridge", database="Schema"),
    _isolation("model Bridge means", model="Bridge", database="Server"),
    _isolation(None, model="Silo"),
    _isolation(None, model="Silo", compute="Namespace", database="Server"),
    _isolation("model Silo means", model="Silo", compute="Shared"),
    _isolation("model Silo means", model="Silo", database="Database"),
    _isolation('Unsupported value: "pooled"', model="pooled"),
    _isolation('Unsupported value: "Serverless"', model="Pooled", compute="Serverless"),
    _isolation("spec.isolation.model: Required value", compute="Shared"),
    Case("Plan", "a Base plan without isolation", named("Plan", "case", {}), "isolation is required"),
    Case("Plan", "no spec at all", {"apiVersion": "paybill.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "case"}},
         "spec: Required value"),
)  # fmt: skip

METER = {"provider": "Stripe", "event": "storage", "usage": "Storage", "unit": "1Gi"}

TYPE = (
    Case("Plan", "an AddOn of features and limits", add_on(
        displayName="Seats", tier="x", features=[{"name": "seats", "integer": 5}], limits={"quota": {"pods": "5"}},
        prices=[{"provider": "Stripe", "id": "price_1"}],
    ), None),
    *(
        Case("Plan", f"an AddOn with {field}", add_on(**{field: value}), "an AddOn carries only features and limits")
        for field, value in {
            "isolation": POOLED, "network": {}, "trialDays": 14, "payment": {}, "backup": {"schedule": "0 3 * * *"},
            "rollout": {}, "meters": [METER],
        }.items()
    ),
    _refused("an unknown type", 'Unsupported value: "Addon"', type="Addon"),
)  # fmt: skip


def _quota(reason: str, message: str | None, **quota: Any) -> Case:
    return Case("Plan", reason, plan(limits={"quota": quota}), message)


QUOTA_KEYS = (
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
    "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "services",
    "services.loadbalancers", "services.nodeports", "secrets", "configmaps", "persistentvolumeclaims",
    "replicationcontrollers", "resourcequotas", "hugepages-2Mi", "requests.hugepages-1Gi", "count/pods",
    "count/deployments.apps", "count/jobs.batch", "count/widgets.example.com", "requests.nvidia.com/gpu",
    "gold.storageclass.storage.k8s.io/requests.storage", "gold.storageclass.storage.k8s.io/persistentvolumeclaims",
)  # fmt: skip
"""Keys that a real ResourceQuota takes too."""

BAD_QUOTA_KEYS = (
    "Pods", "pod", "storage", "requests", "limits.storage", "requests.cpus", "limits.pods", "services.clusterips",
    "count/", "count", "requests.gpu", "nvidia.com/gpu", "cpu; drop table", "größe", "requests.memory ", "'pods'",
    "count/Deployments.apps", "hugepages-0Mi", "storageclass.storage.k8s.io/requests.storage",
    f"count/{'a' * 64}", "requests.example.com/gpu-", f"requests.example.com/{'a' * 64}", "requests.example-.com/gpu",
    f"requests.{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 62}/gpu", "a..b.storageclass.storage.k8s.io/requests.storage",
)  # fmt: skip

COUNTED = ("pods", "services.nodeports", "count/jobs.batch", "gold.storageclass.storage.k8s.io/requests.storage")
"""A real ResourceQuota takes no parts of these."""

GOOD_QUANTITIES = ("0", "1", "500m", "1.5", "8Gi", "1.5Gi", "50G", "1e3", "1E3", "2E", "1e-3", "100k", 40, 0)
BAD_QUANTITIES = (
    "", "-1", "+1", "4 cores", "8GB", "8gi", "8Gib", "Gi", "1,5", "1_000", "0x10", "1.2.3", "1e", "1mi", "٣", "NaN",
    "1e99", "9223372036854775808", -5, "10'; DROP TABLE plans; --",
)  # fmt: skip

LIMITS = (
    _quota("every quota key of Kubernetes", None, **dict.fromkeys(QUOTA_KEYS, "1")),
    *(_quota(f"quota key {key!r}", "every key must be a resource", **{key: "1"}) for key in BAD_QUOTA_KEYS),
    *(_quota(f"quantity {value!r}", None, cpu=value) for value in GOOD_QUANTITIES),
    *(_quota(f"quantity {value!r}", "must be a Kubernetes quantity", cpu=value) for value in BAD_QUANTITIES),
    *(_quota(f"{value!r} of {key}", None, **{key: value}) for key in COUNTED for value in (3, "1e3", "1.5Ki", "0.25k")),
    *(_quota(f"{value!r} of {key}", "what is counted must be a whole number", **{key: value})
      for key in COUNTED for value in ("500m", "0.5", "0.3Ki", "1e-3", "0.0001k")),
    _quota("a quantity of 33 characters", "may not be more than 32", pods="1" * 33),
    _quota("a quantity with a fraction that YAML reads as a number", "must be of type", **{"requests.cpu": 1.5}),
    _quota("a quantity that is a boolean", "must be of type", pods=True),
    _quota("a quota of 65 keys", "must have at most 64 items", **{f"count/k{n}.x": "1" for n in range(65)}),
    _refused("a database storage in unknown units", "must be a Kubernetes quantity",
             limits={"database": {"storage": "20 GB"}}),
    _refused("negative temporary files", "must be a Kubernetes quantity", limits={"database": {"tempFiles": "-1Gi"}}),
    _accepted("database limits", limits={"database": {
        "connections": 30, "storage": "20Gi", "statementTimeout": "30s", "tempFiles": "1Gi"}}),
    _refused("no connections at all", "should be greater than or equal to 1", limits={"database": {"connections": 0}}),
    _refused("connections as text", "must be of type integer", limits={"database": {"connections": "30"}}),
    _refused("a statement timeout without a unit", "must be a positive Go duration",
             limits={"database": {"statementTimeout": "30"}}),
)  # fmt: skip

GOOD_DURATIONS = ("24h", "30s", "250ms", "1h30m", "90m", "1h0m1s")
BAD_DURATIONS = ("14d", "1w", "24", "24 h", "-1h", "1.5h", "0s", "0h0m", "h1", "1hour", "24H", "1h;", "'1h'", "１h")

PAYMENT = (
    _accepted("payment with every default", payment={}),
    _accepted("the ladder in order", payment={"restrictAfterDays": 7, "graceDays": 14, "endAfterDays": 30}),
    _accepted("the ladder on one day", payment={"restrictAfterDays": 14, "graceDays": 14, "endAfterDays": 14}),
    _accepted("no grace at all", payment={"graceDays": 0, "endAfterDays": 0, "retainDays": 0, "archiveDays": 0}),
    _refused("restricted after suspension", "restrictAfterDays must not exceed graceDays",
             payment={"restrictAfterDays": 15, "graceDays": 14}),
    _refused("restricted after the default suspension", "restrictAfterDays must not exceed graceDays",
             payment={"restrictAfterDays": 15}),
    _refused("ended before suspension", "must not exceed endAfterDays", payment={"graceDays": 20, "endAfterDays": 19}),
    _refused("grace beyond the default end", "must not exceed endAfterDays", payment={"graceDays": 31}),
    _refused("negative days", "should be greater than or equal to 0", payment={"graceDays": -1}),
    _refused("days with a unit", "must be of type integer", payment={"graceDays": "14d"}),
    _refused("half a day", "must be of type integer", payment={"graceDays": 0.5}),
    _refused("a span beyond a century", "should be less than or equal to 36500", payment={"retainDays": 36_501}),
    *(_accepted(f"duration {value}", payment={"firstPaymentWindow": value}) for value in GOOD_DURATIONS),
    *(_refused(f"duration {value!r}", "must be a positive Go duration", payment={"firstPaymentWindow": value})
      for value in BAD_DURATIONS),
    _accepted("a span of notice", payment={"pastDueAtLeast": "48h"}),
    _refused("no span of notice", "must be a positive Go duration", payment={"pastDueAtLeast": "0s"}),
    _refused("a duration of 65 characters", "may not be more than 64", payment={"firstPaymentWindow": "1h" * 33}),
    _refused("negative trial", "should be greater than or equal to 0", trialDays=-1),
)  # fmt: skip

GOOD_CRONS = ("0 3 * * *", "*/15 * * * *", "0 0 1,15 * *", "30 2 * * MON-FRI", "0 0 1 JAN 0", "0-30/5 8-18 * * 1-5")
BAD_CRONS = (
    "", "@daily", "0 3 * *", "0 3 * * * *", "60 3 * * *", "0 24 * * *", "0 3 0 * *", "0 3 * 13 *", "0 3 * * 8",
    "0  3 * * *", "every day", "0 3 * * *;", "a b c d e", "0 3 * * *\n",
)  # fmt: skip

TIMES = (
    *(_accepted(f"schedule {line!r}", backup={"schedule": line}) for line in GOOD_CRONS),
    *(_refused(f"schedule {line!r}", "must be a cron line of five fields", backup={"schedule": line})
      for line in BAD_CRONS),
    _refused("a backup without a schedule", "spec.backup.schedule: Required value", backup={}),
    _refused("a backup of which nothing is kept", "should be greater than or equal to 1",
             backup={"schedule": "0 3 * * *", "keep": 0}),
    _accepted("a time zone", backup={"schedule": "0 3 * * *", "timeZone": "America/Argentina/Buenos_Aires"}),
    *(_refused(f"time zone {zone!r}", "must be the name of a time zone",
               backup={"schedule": "0 3 * * *", "timeZone": zone})
      for zone in ("", "+02:00", "Europe/Zürich", "../../etc/passwd", "Etc/UTC;")),
    *(_accepted(f"maxUnavailable {value!r}", rollout={"maxUnavailable": value})
      for value in (1, 30, "5%", "100%", "3")),
    *(_refused(f"maxUnavailable {value!r}", "must be a count of at least 1", rollout={"maxUnavailable": value})
      for value in (0, -1, "0%", "101%", "5 %", "five", "")),
)  # fmt: skip


def _features(reason: str, message: str | None, *features: Object) -> Case:
    return Case("Plan", reason, plan(features=list(features)), message)


FEATURES = (
    _features("one value of each type", None, {"name": "sso", "boolean": False}, {"name": "seats", "integer": -1},
              {"name": "region", "string": "Österreich; 'x'"}),
    _features("a feature without a value", "exactly one value", {"name": "sso"}),
    _features("a feature with two values", "exactly one value", {"name": "sso", "boolean": True, "integer": 1}),
    _features("a feature with three values", "exactly one value",
              {"name": "sso", "boolean": True, "integer": 1, "string": "x"}),
    _features("a feature per unit", None, {"name": "seats", "integer": 1, "perUnit": True}),
    _features("a feature that is said not to be per unit", None, {"name": "sso", "boolean": True, "perUnit": False}),
    _features("a yes per unit", "perUnit multiplies a number", {"name": "sso", "boolean": True, "perUnit": True}),
    _features("a feature twice", "Duplicate value", {"name": "a", "integer": 1}, {"name": "a", "integer": 2}),
    _features("a fraction", "must be of type integer", {"name": "a", "integer": 1.5}),
    _features("an integer beyond 2^53-1", "should be less than or equal to", {"name": "a", "integer": 2**53}),
    _features("text of several lines", None, {"name": "a", "string": "x: 1\n\ty: 2\n"}),
    *(_features(f"text with {text!r}", "must be text without control characters", {"name": "a", "string": text})
      for text in ("\x00", "\x1b", "\x85", "\r")),
    _features("text of 1025 characters", "may not be more than 1024", {"name": "a", "string": "x" * 1025}),
    _features("Paybill's own entry", "access is Paybill's own entry", {"name": "access", "boolean": True}),
    *(_features(f"feature name {name!r}", None, {"name": name, "boolean": True})
      for name in ("a", "api_calls", "A.b-c")),
    *(_features(f"feature name {name!r}", "must be letters, digits", {"name": name, "boolean": True})
      for name in ("-a", "a-", "a b", "a;b", "a'b", 'a"b', "größe", "../a")),
    _features("a feature name of 64 characters", "may not be more than 63", {"name": "a" * 64, "boolean": True}),
    _features("129 features", "must have at most 128 items", *({"name": f"f{n}", "integer": n} for n in range(129))),
)  # fmt: skip


def _egress(reason: str, message: str | None, peer: Object) -> Case:
    return Case("Plan", reason, plan(network={"egressTo": [peer]}), message)


_PODS = {"matchLabels": {"app": "x"}}
_NAMESPACES = {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}

NETWORK = (
    _egress("addresses", None, {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.169.254/32"]}}),
    _egress("addresses of IPv6", None, {"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32"]}}),
    _egress("namespaces", None, {"namespaceSelector": _NAMESPACES, "ports": [{"port": 443}]}),
    _egress("pods", None, {"podSelector": _PODS, "ports": [{"port": 53, "protocol": "UDP"}]}),
    _egress("pods in namespaces", None, {"namespaceSelector": _NAMESPACES, "podSelector": _PODS}),
    _egress("nobody", "a peer is either an ipBlock", {}),
    _egress("only ports", "a peer is either an ipBlock", {"ports": [{"port": 443}]}),
    _egress("addresses and pods", "a peer is either an ipBlock",
            {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": _PODS}),
    _egress("an empty selector, which would mean all", "should have at least 1 properties",
            {"namespaceSelector": {"matchLabels": {}}}),
    _egress("a selector without labels", "matchLabels: Required value", {"namespaceSelector": {}}),
    _egress("a bad label key", "every key must be a Kubernetes label key",
            {"podSelector": {"matchLabels": {"a b": "x"}}}),
    *(_egress(f"the label key {key!r}", "every key must be a Kubernetes label key",
              {"podSelector": {"matchLabels": {key: "x"}}})
      for key in ("a" * 64, "a..b/c", "a-/c", f"{'a' * 250}.com/c", "a/b/c", "/c", "a/")),
    *(_egress(f"the label key {key!r}", None, {"podSelector": {"matchLabels": {key: "x"}}})
      for key in ("a" * 63, f"{'a' * 253}/c", f"a.b/{'c' * 63}")),
    _egress("a bad label value", "should match", {"podSelector": {"matchLabels": {"a": "x y"}}}),
    *(_egress(f"addresses {cidr!r}", "must be a network in CIDR notation", {"ipBlock": {"cidr": cidr}})
      for cidr in ("", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "example.com", "10.0.0/8")),
    _egress("an exception outside", "except must lie within cidr",
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}}),
    _egress("an exception that leaves nothing", "and leave something of it",
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
    _egress("an exception that is no network", "must be a network in CIDR notation",
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0"]}}),
    _egress("port 0", "should be greater than or equal to 1", {"podSelector": _PODS, "ports": [{"port": 0}]}),
    _egress("port 65536", "should be less than or equal to 65535", {"podSelector": _PODS, "ports": [{"port": 65_536}]}),
    _egress("an unknown protocol", 'Unsupported value: "ICMP"',
            {"podSelector": _PODS, "ports": [{"port": 1, "protocol": "ICMP"}]}),
)  # fmt: skip


def _name(reason: str, name: str, message: str | None) -> Case:
    return Case("Plan", reason, named("Plan", name, {"isolation": POOLED}), message)


NAMES = (
    _name("a name of 63 characters", "a" * 63, None),
    _name("a name of 64 characters", "a" * 64, "metadata.name must have at most 63 characters"),
    _name("a name of 253 characters", "a" * 253, "metadata.name must have at most 63 characters"),
    _name("a name with a dot", "a.b", "metadata.name must be a DNS label"),
    _name("a name with a capital", "Growth", "RFC 1123"),
    _name("a name with a quote", "acme'", "RFC 1123"),
    _name("a name with a semicolon", "acme;drop", "RFC 1123"),
    _name("a name in unicode", "größe", "RFC 1123"),
    _name("a name that ends in a dash", "acme-", "RFC 1123"),
)
OTHER = (
    _accepted("a display name in any script", displayName="Größe „S“; 数 'x' \"y\""),
    *(
        _refused(
            f"a display name with {text!r}", "one line of text without control characters", displayName=f"a{text}b"
        )
        for text in ("\n", "\x07", "\x1b[31m", "\x7f", "\x9f")
    ),
    _accepted("a display name beyond the basic plane", displayName="😀 𝔓"),
    _refused("a display name of 257 characters", "may not be more than 256", displayName="x" * 257),
    _refused("a tier that is no label", "should match", tier="very fast"),
    _accepted("meters", meters=[METER, {**METER, "event": "rows", "usage": "Rows", "unit": 1000}]),
    _accepted("a meter without a unit", meters=[{key: METER[key] for key in ("provider", "event", "usage")}]),
    *(
        _refused(f"a meter by {unit!r}", "unit must be a whole number from 1", meters=[{**METER, "unit": unit}])
        for unit in ("0", 0, "500m", "1.5Gi", "1e3")
    ),
    _refused("a meter of something unknown", 'Unsupported value: "Cpu"', meters=[{**METER, "usage": "Cpu"}]),
    _refused("a meter twice", "Duplicate value", meters=[METER, {**METER, "usage": "Rows"}]),
    _refused("a price twice", "Duplicate value", prices=[{"provider": "Stripe", "id": "p"}] * 2),
    _refused("a price with a quote", "should match", prices=[{"provider": "Stripe", "id": "p'"}]),
    _refused(
        "a price of an unknown provider", 'Unsupported value: "Paypal"', prices=[{"provider": "Paypal", "id": "p"}]
    ),
)

CASES = (*ISOLATION, *TYPE, *LIMITS, *PAYMENT, *TIMES, *FEATURES, *NETWORK, *NAMES, *OTHER)
CHANGES = (
    Change("Plan", "another isolation is a new revision", plan(), plan(isolation={"model": "Silo"}), None),
    Change("Plan", "a Base plan becomes an AddOn", plan(), add_on(), "type cannot be changed"),
    Change("Plan", "an AddOn becomes a Base plan", add_on(), plan(), "type cannot be changed"),
)
