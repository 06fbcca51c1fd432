"""Brings a set of Kubernetes objects to what is desired: nothing for what agrees, one audited apply for the rest.

An object of the right name that is not ours is never taken over. What the store of our labelled objects does not hold
may still exist, so it is looked up once before it is made; inside a namespace that we have just made nothing can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from paybill.api.failures import Blocked, Retry
from paybill.desired import names
from paybill.desired.resource import Key, Object, agrees, key_of, surplus
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World


def missing(world: World, desired: Iterable[Object]) -> list[Object]:
    """Those of the desired objects that do not stand as they should, by the store."""
    return [obj for obj in desired if not _stands(world, obj)]


def _stands(world: World, obj: Object) -> bool:
    row = world.children.get(key_of(obj))
    return row is not None and agrees({**obj, "apiVersion": None}, {**row.parsed(), "apiVersion": None})


async def ensure(world: World, scope: Scope, desired: Sequence[Object], *, fresh: bool = False) -> int:
    """Apply what is missing, side by side; returns how many were. ``fresh``: the namespace was made a moment ago."""
    lacking = missing(world, desired)
    for obj in lacking:
        key = key_of(obj)
        row = world.children.get(key)
        if row is not None:
            _refuse_dying(key, row.parsed())
            refuse_foreign(key, row.parsed(), obj)
        elif not fresh:
            found = await world.cluster.get(key)
            if found is not None:
                _refuse_dying(key, found)
                refuse_foreign(key, found, obj)
    await take(world.audit, scope, [_step(world, obj) for obj in lacking])
    return len(lacking)


def refuse_foreign(key: Key, found: Object, desired: Object) -> None:
    """Raise Blocked('NameConflict') when the object that exists does not carry the marks we would give it."""
    marks = (names.INSTALLATION_LABEL, names.TENANT_LABEL, names.CELL_LABEL)
    theirs = found["metadata"].get("labels") or {}
    ours = desired["metadata"]["labels"]
    if all(theirs.get(mark) == ours.get(mark) for mark in marks):
        return
    # A lost mark on an object that we applied is drift; field ownership tells it from a stranger's object.
    if all(theirs.get(mark) in (None, ours.get(mark)) for mark in marks) and _applied_by_us(found):
        return
    raise Blocked(
        "NameConflict",
        f"{key} exists and is not this tenant's: Paybill takes over nothing; rename or remove it, then it goes on",
    )


def _applied_by_us(found: Object) -> bool:
    entries = found["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == names.MANAGER and entry.get("operation") == "Apply" for entry in entries)


def _refuse_dying(key: Key, found: Object) -> None:
    if found["metadata"].get("deletionTimestamp"):
        raise Retry("BeingDeleted", f"{key} is being deleted; it is made again when it is gone", after=1.0)


def _step(world: World, obj: Object) -> Step:
    key = key_of(obj)

    async def apply() -> dict[str, Any]:
        answer = await world.cluster.apply(obj)
        if extra := surplus(obj, answer):
            answer = await world.cluster.remove(key, extra)
        world.children.put(answer)
        return answer

    return Step(action=f"{key.kind[0].lower()}{key.kind[1:]}.apply", target=str(key), act=apply, inputs=obj)
