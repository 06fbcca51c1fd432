"""Brings a set of Kubernetes objects to what is desired: nothing for what agrees, one audited apply for the rest.

An object of the right name that is not ours is never taken over. What the store of our labelled objects does not hold
may still exist, so it is looked up once before it is made; inside a namespace that we have just made nothing can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paybill.api.failures import Blocked, Retry
from paybill.desired import names
from paybill.desired.resource import Key, Object, agrees, exactly, key_of
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

MARKS = (names.INSTALLATION_LABEL, names.TENANT_LABEL, names.CELL_LABEL)


def missing(world: World, desired: Iterable[Object]) -> list[Object]:
    """Those of the desired objects that do not stand as they should, by the store."""
    return [obj for obj in desired if not _stands(world, obj)]


def _stands(world: World, obj: Object) -> bool:
    row = world.children.get(key_of(obj))
    return row is not None and agrees({**obj, "apiVersion": None}, {**row.parsed(), "apiVersion": None})


async def ensure(
    world: World, scope: Scope, desired: Sequence[Object], *, fresh: bool = False, destructive: bool = False
) -> int:
    """Apply what is missing, side by side; returns how many were.

    ``fresh``: the namespace was made a moment ago. ``destructive``: what is applied takes something away.
    """
    lacking = missing(world, desired)
    for obj in lacking:
        key = key_of(obj)
        row = world.children.get(key)
        found = row.parsed() if row is not None else None
        # Who applied an object is not in the store: it is asked for only where the marks alone do not tell.
        if not fresh and (found is None or not _marked(found, obj)):
            found = await world.cluster.get(key)
        if found is not None:
            _refuse_dying(key, found)
            refuse_foreign(key, found, obj)
    if lacking:
        world.cluster.breaker.check()  # no intents in the audit log for what would not even be sent
    await take(world, scope, [_step(world, obj, destructive=destructive) for obj in lacking])
    return len(lacking)


def refuse_foreign(key: Key, found: Object, desired: Object) -> None:
    """Raise Blocked('NameConflict') when the object that exists does not carry the marks we would give it."""
    if _marked(found, desired):
        return
    # A lost mark on an object that we applied is drift; field ownership tells it from a stranger's object.
    if _marked(found, desired, lost=True) and _applied_by_us(found):
        return
    raise Blocked(
        "NameConflict",
        f"{key} exists and is not this tenant's: Paybill takes over nothing; rename or remove it, then it goes on",
    )


def _marked(found: Object, desired: Object, *, lost: bool = False) -> bool:
    """Whether an object carries our marks; ``lost``: whether it carries at least no other ones."""
    theirs, ours = found["metadata"].get("labels") or {}, desired["metadata"]["labels"]
    return all(theirs.get(mark) == ours.get(mark) or (lost and mark not in theirs) for mark in MARKS)


def is_of(found: Object, identity: names.Identity) -> bool:
    """Whether an object has every label that we give to what is this tenant's."""
    theirs = found["metadata"].get("labels") or {}
    return all(theirs.get(name) == value for name, value in names.labels(identity).items())


def _applied_by_us(found: Object) -> bool:
    entries = found["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == names.MANAGER and entry.get("operation") == "Apply" for entry in entries)


def _refuse_dying(key: Key, found: Object) -> None:
    if found["metadata"].get("deletionTimestamp"):
        raise Retry("BeingDeleted", f"{key} is being deleted; it is made again when it is gone", after=1.0)


def _patch(obj: Object, found: Object) -> dict[str, Any]:
    """What apply left standing is taken away; labels and annotations of others stay."""
    whole = {
        name: exactly(value, found[name]) if isinstance(value, Mapping) and found.get(name) else value
        for name, value in obj.items()
        if name != "metadata"
    }
    return {**whole, "metadata": obj["metadata"]}


def _step(world: World, obj: Object, *, destructive: bool) -> Step:
    key = key_of(obj)

    async def apply() -> dict[str, Any]:
        row = world.children.get(key)
        # The role of a RoleBinding cannot be changed: one that was made again with another role has to go first.
        if row is not None and "roleRef" in obj and not agrees({"roleRef": obj["roleRef"]}, row.parsed()):
            await world.cluster.delete(key, uid=row.uid, resource_version=row.version)
        answer = await world.cluster.apply(obj)
        if not agrees(obj, answer):
            answer = await world.cluster.merge(_patch(obj, answer))
        world.children.put(answer)
        return answer

    action = f"{key.kind[0].lower()}{key.kind[1:]}.apply"
    return Step(action=action, target=str(key), act=apply, inputs=obj, destructive=destructive)
