"""What people and tools do to objects, one step after the other: make, change, mark, spoil and delete them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from paybill.api.kinds import BY_KIND, KINDS
from paybill.desired import names
from tests.cases.model import Object
from tests.fuzz.drawing import drawn
from tests.fuzz.shapes import NAMES, objects, specs, statuses

Action = Literal["put", "mark", "hold", "release", "own", "status", "delete", "look"]

OTHERS_FINALIZER = "example.com/hold"
WEIGHTS = {"Tenant": 5, "Subscription": 6, "Plan": 2}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. ``body`` is what is sent: an object, its metadata or its status."""

    action: Action
    kind: str
    name: str
    body: Any = None
    cascade: str = "Background"
    other: tuple[str, str] = field(default=("", ""))
    """The kind and name of the object that is to own this one."""


_TEXT = st.sampled_from(["", "true", "null", "a\u0000b", "a\nb", "\x1b[31m", "\u202e", "\U0001f600" * 200, "x" * 5000])
_MARKS = st.fixed_dictionaries(
    {},
    optional={
        "annotations": st.dictionaries(
            st.sampled_from([names.PAUSED_ANNOTATION, "example.com/a", "kopf.zalando.org/last-handled-configuration",
                             "kubectl.kubernetes.io/last-applied-configuration", "paybill.dev/allow-delete", "b"]),
            _TEXT | st.just("true") | st.none(), max_size=3),
        "labels": st.dictionaries(
            st.sampled_from([names.TENANT_LABEL, names.INSTALLATION_LABEL, names.MANAGED_BY_LABEL, "app", "x" * 63]),
            st.sampled_from(["", "fuzz", "k3x9m2qd", "y" * 63]) | st.none(), max_size=3),
    },
)  # fmt: skip
NAMES_OF_OTHERS = ("x" * 253, "x" * 254, "a.b", "A", "-a", "größe", "", "a" * 64, "..", "a/b", "x" * 63)
BORN: tuple[Object, ...] = (
    {}, {"generateName": "made-"}, {"namespace": "default"}, {"uid": "0"}, {"creationTimestamp": None},
    {"deletionTimestamp": "2020-01-01T00:00:00Z"}, {"generation": 2**62},
    {"finalizers": [OTHERS_FINALIZER]}, {"finalizers": [names.FINALIZER]}, {"finalizers": ["no domain"]},
    {"annotations": {"a": "x" * 250_000}}, {"annotations": {"a": "x" * 300_000}},
    {"managedFields": [{"manager": "paybill", "operation": "Apply"}]},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "0" * 36}]},
)  # fmt: skip
"""Metadata that an object is made with."""

ACTIONS: Mapping[Action, int] = {
    "put": 12, "mark": 2, "status": 2, "delete": 3, "own": 1, "hold": 1, "release": 1, "look": 1
}  # fmt: skip


def sequence(seed: int, count: int) -> list[Step]:
    """``count`` steps, the same for the same seed: mostly objects are made and changed, and mostly rightly."""
    chance = random.Random(seed)
    few = max(20, count // 4)
    right = {kind.kind: drawn(_right(kind.kind), seed, few) for kind in KINDS}
    odd = {kind.kind: drawn(objects(kind), seed, few) for kind in KINDS}
    spoilt = {kind.kind: drawn(statuses(kind), seed, few) for kind in KINDS}
    marks = drawn(_MARKS, seed, few)

    def target() -> tuple[str, str]:
        kind = chance.choices(list(right), [WEIGHTS.get(kind, 1) for kind in right])[0]
        return kind, chance.choice(NAMES[kind])

    def step() -> Step:
        action = chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        kind, name = target()
        if action == "delete" and kind == "Plan" and chance.random() < 0.7:
            action = "put"  # without Plans nothing goes on
        match action:
            case "put":
                obj = chance.choice((right if chance.random() < 0.7 else odd)[kind])
                return _put(obj if chance.random() < 0.9 else _born(obj, chance))
            case "mark":
                return Step(action=action, kind=kind, name=name, body=chance.choice(marks))
            case "status":
                return Step(action=action, kind=kind, name=name, body=chance.choice(spoilt[kind]))
            case "own":
                return Step(action=action, kind=kind, name=name, other=target())
        cascade = chance.choice(["Background", "Foreground", "Orphan"])
        return Step(action=action, kind=kind, name=name, cascade=cascade)

    # What others refer to comes first: else little would get further than to wait for it.
    first = [_put({**chance.choice(right["Plan"]), "metadata": {"name": name}}) for name in NAMES["Plan"]]
    return [*first, *(step() for _ in range(count - len(first)))]


def _right(kind: str) -> st.SearchStrategy[Object]:
    return st.builds(lambda name, spec: _object(kind, name, spec), st.sampled_from(NAMES[kind]), specs(kind))


def _object(kind: str, name: str, spec: Object) -> Object:
    # Most Subscriptions are of the Tenant of their own name.
    if kind == "Subscription" and name in NAMES["Tenant"]:
        spec = {**spec, "tenantRef": {"name": name}}
    return {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _born(obj: Object, chance: random.Random) -> Object:
    named = {"name": chance.choice(NAMES_OF_OTHERS)} if chance.random() < 0.3 else {}
    return {**obj, "metadata": {**obj["metadata"], **chance.choice(BORN), **named}}


def _put(obj: Object) -> Step:
    return Step(action="put", kind=obj["kind"], name=str(obj["metadata"]["name"]), body=obj)
