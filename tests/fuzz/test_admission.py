"""Whatever the API server accepts, Paybill can work with: it reads it, and what it makes of it is accepted as well.

An object that is stored and then not understood would never be reconciled, and one that leads to a refused child
would stall a tenant for a reason that its author cannot see. So what is refused is refused at the door.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from paybill.api.base import Resource
from paybill.api.failures import Failure
from paybill.api.kinds import KINDS
from paybill.api.plan import Plan
from paybill.api.tenant import Tenant
from paybill.desired import handover, names, network, quota, rbac, revision
from paybill.lifecycle.entitlements import resolve
from paybill.local.bootstrap import Installed
from tests.cases.model import Object
from tests.cluster.api import Api, path
from tests.fuzz.drawing import VARIABLE, apart, numbers
from tests.fuzz.shapes import named

EVERYTHING = pytest.mark.parametrize(
    ("seed", "count"),
    [
        *((seed, 40) for seed in numbers(1)),
        *(pytest.param(seed, 400, marks=pytest.mark.exhaustive) for seed in numbers(2)),
    ],
)
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
IDENTITY = names.Identity(id="k3x9m2qd", tenant_name="acme", tenant_uid="3f1c", installation="fuzz")
NAMESPACE = names.namespace(IDENTITY.id)


@EVERYTHING
@EACH_KIND
async def test_what_is_accepted_is_read_and_what_follows_from_it_is_accepted(
    kind: type[Resource], seed: int, count: int, api: Api, installed: Installed
) -> None:
    await _tenant_namespace(api)
    wrong, taken, refused = [], 0, Counter[str]()
    for number, obj in enumerate(apart("values", seed, count)["objects"][kind.kind]):
        free = named(kind.kind, "free", obj["spec"])  # whether a name is taken already says nothing of what is in it
        status, answer = await api.call("POST", path(kind.kind), free, dryRun="All")
        trouble = f"HTTP {status}: {answer}" if status >= 500 else ""
        if status < 300:
            taken += 1
            trouble = await _trouble(api, kind, answer)
        else:
            refused[str(answer.get("message"))[:300]] += 1
        if trouble:
            wrong.append(f"{number}: {trouble[:600]}\n  {json.dumps(obj['spec'])[:1000]}")
    assert not wrong, _said(wrong, seed)
    assert taken > count / 4, f"nothing is learned from what is refused: {refused.most_common(9)}"


@EVERYTHING
@EACH_KIND
async def test_a_status_written_by_hand_is_read(
    kind: type[Resource], seed: int, count: int, api: Api, installed: Installed
) -> None:
    base = await _stored(api, kind, apart("values", seed, count)["specs"][kind.kind])
    wrong, taken = [], 0
    for number, status in enumerate(apart("values", seed, count)["statuses"][kind.kind]):
        where = path(kind.kind, name=base["metadata"]["name"]) + "/status"
        code, answer = await api.call("PATCH", where, {"status": status}, "application/merge-patch+json", dryRun="All")
        trouble = f"HTTP {code}: {answer}" if code >= 500 else ""
        if code < 300:
            taken += 1
            trouble = _unread(kind, answer)
        if trouble:
            wrong.append(f"{number}: {trouble[:600]}\n  {json.dumps(status)[:1000]}")
    assert not wrong, _said(wrong, seed)
    assert taken > count / 4


def _said(wrong: list[str], seed: int) -> str:
    return (
        f"{len(wrong)} objects; again: {VARIABLE}={seed} python -m pytest tests/fuzz/test_admission.py\n"
        + "\n".join(wrong[:12])
    )


async def _stored(api: Api, kind: type[Resource], candidates: list[Object]) -> Object:
    """Any right object of the kind: without an operator nothing happens to it."""
    for spec in candidates:
        status, answer = await api.call("POST", path(kind.kind), named(kind.kind, "stored", spec))
        if status == 409 or status < 300:
            return named(kind.kind, "stored", spec)
    raise AssertionError(f"no {kind.kind} is accepted: {answer}")


def _unread(kind: type[Resource], answer: Object) -> str:
    try:
        read = kind.read(answer)
        again = kind.read(read.wire())
    except Failure as failure:
        return f"accepted, not read: {failure}"
    return "" if again == read else f"read, written and read again it differs: {again!r}"


async def _trouble(api: Api, kind: type[Resource], answer: Object) -> str:
    """What is wrong with an accepted object; empty when it is as good as it looks."""
    if unread := _unread(kind, answer):
        return unread
    try:
        children = list(_children(kind.read(answer)))
    except Failure as failure:
        return f"accepted, not built: {failure}"
    for child in children:
        where = path(child["kind"], child["metadata"]["namespace"])
        status, said = await api.call("POST", where, child, dryRun="All")
        if status >= 300:
            return f"accepted, its {child['kind']} is not: HTTP {status}: {said.get('message', said)}"
    return ""


def _children(resource: Resource) -> Iterator[dict[str, Any]]:
    """What follows from an object as it is, for some tenant."""
    match resource:
        case Plan(spec=spec):
            yield revision.build(resource, resource.revision(), NAMESPACE, IDENTITY.installation)
            yield handover.entitlements(IDENTITY, NAMESPACE, "Active", "Full", resolve(spec.features))
            yield network.build(IDENTITY, spec.network, [("10.0.0.1", 5432)])
            for pods in quota.Pods:
                yield quota.build(IDENTITY, spec.limits.quota, pods)
        case Tenant(spec=spec) if spec.owners:
            yield rbac.owners(IDENTITY, spec.owners)


async def _tenant_namespace(api: Api) -> None:
    await api.call(
        "POST", path("Namespace"), {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}}
    )
