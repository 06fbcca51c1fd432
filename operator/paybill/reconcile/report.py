"""Writes what a reconcile established onto the objects: status, finalizers, Events. Nothing when nothing changed.

The API server's answer goes into the cache of declared objects at once, so that the event of our own write is no news
and a reconcile right after it compares with what is really there.
"""

from __future__ import annotations

from typing import Any, TypeVar

from paybill.api.base import ApiModel, Resource
from paybill.api.conditions import READY, RECONCILING, STALLED, Condition, find_condition
from paybill.api.failures import Failure, Invalid, Retry
from paybill.cluster.events import News
from paybill.cluster.shelf import Shelf
from paybill.desired.names import FINALIZER
from paybill.desired.resource import exactly
from paybill.reconcile.permission import refuse_unless_acting
from paybill.reconcile.status import Fact, apply_facts, outcome
from paybill.reconcile.world import World

R = TypeVar("R", bound=Resource)


async def write_status(world: World, resource: Resource, status: ApiModel) -> bool:
    """Apply the status if it differs from the one last seen; True when it was written."""
    wire = _said(status)
    before = _said(resource.status)  # type: ignore[attr-defined]  # every kind has one
    if wire == before:
        return False
    written = {**_identity(resource), "status": wire}
    try:
        answer = await _applied(world, written, before)
        if answer["status"] != wire:
            # Somebody else wrote there too, and apply leaves that standing.
            answer = await world.cluster.merge({**written, "status": exactly(wire, answer["status"])}, "status")
    except Retry as failure:
        # Deleted in the meantime, or made anew under this name: there is nobody to tell.
        if failure.reason in {"NotFound", "Conflict"}:
            return False
        raise
    _take_up(world, resource, answer)
    _announce(world, resource, status)
    return True


async def tell(
    world: World, shelf: Shelf[R, Any], looked_at: R, status: ApiModel, failure: Failure | None, done: Fact
) -> None:
    """Say on an object how it is: ``done``, or what kept it from that; nothing when that is what it says.

    ``looked_at`` may be older than what the shelf has: the answer is to that generation, and to nobody who has only
    taken its name.
    """
    latest = shelf.get(looked_at.metadata.key)
    if latest is None or latest.metadata.uid != looked_at.metadata.uid:
        return
    generation = looked_at.metadata.generation
    before = latest.status.conditions  # type: ignore[attr-defined]  # every kind has one
    conditions = apply_facts(before, outcome(failure, done), generation, world.now())
    written = status.model_copy(update={"observed_generation": generation, "conditions": conditions})
    await write_status(world, latest, written)


def _take_up(world: World, resource: Resource, answer: dict[str, Any]) -> None:
    """Put the answer into the cache, unless it shows an edit that this pass has not looked at.

    The cache takes nothing older than what it has: the event of that edit, still on its way, would be no news any more.
    """
    told, looked_at = answer["metadata"], resource.metadata
    marks = (told.get("labels") or {}, told.get("annotations") or {})
    if told.get("generation", 0) == looked_at.generation and marks == (looked_at.labels, looked_at.annotations):
        world.declared.put(resource.kind, answer)


def _said(status: ApiModel) -> dict[str, Any]:
    """The status without empty lists and mappings: an apply that empties one leaves null, which the schema refuses."""
    return {name: value for name, value in status.wire().items() if value not in ([], {})}


async def _applied(world: World, written: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The answer to the apply, or what stands there when the API server refuses it for what others wrote beside it.

    A list that others have filled has no room for our entries; a mapping that others have touched is left as null.
    """
    try:
        return await world.cluster.apply_status(written)
    except Invalid:
        if not before:
            raise
        return {"status": before}


async def hold(world: World, resource: Resource) -> bool:
    """Put our finalizer on an object behind which something outside exists; True when it was not there."""
    if FINALIZER in resource.metadata.finalizers or resource.metadata.deletion_timestamp is not None:
        return False
    refuse_unless_acting(world, "finalizer.put")
    obj = _identity(resource)
    obj["metadata"]["finalizers"] = [FINALIZER]
    try:
        answer = await world.cluster.apply(obj)
    except Invalid as failure:
        if "being deleted" not in failure.message:
            raise
        raise Retry("Conflict", f"{resource.kind} {resource.metadata.name} is being deleted", after=0.05) from failure
    _take_up(world, resource, answer)
    return True


async def let_go(world: World, resource: Resource) -> None:
    """Take our finalizer off, whoever put it there."""
    if FINALIZER not in resource.metadata.finalizers:
        return
    refuse_unless_acting(world, "finalizer.remove")
    try:
        answer = (await world.cluster.apply(_identity(resource)))["metadata"]
        if FINALIZER in (answer.get("finalizers") or ()):
            answer = (await _take_off(world, resource, answer))["metadata"]
    except Retry as failure:
        if failure.reason not in {"NotFound", "Conflict"}:
            raise
        return
    if "deletionTimestamp" in answer and not answer.get("finalizers"):
        # It went with that. The watch says so a moment later, and a look before that would do it all again.
        world.declared.remove(resource.kind, resource.metadata.key, resource.metadata.uid)


async def _take_off(world: World, resource: Resource, metadata: dict[str, Any]) -> dict[str, Any]:
    """An object restored from a backup has it from whoever restored it, and apply takes away only what is ours."""
    obj = _identity(resource)
    obj["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    obj["metadata"]["finalizers"] = [one for one in metadata["finalizers"] if one != FINALIZER]
    return await world.cluster.merge(obj)


def _identity(resource: Resource) -> dict[str, Any]:
    """With the UID: an apply to a name that was deleted and made anew must not reach the new object."""
    told = resource.metadata
    where = {"namespace": told.namespace} if told.namespace else {}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": told.name, "uid": told.uid, **where},
    }


def _announce(world: World, resource: Resource, status: ApiModel) -> None:
    """One Event per transition: another phase, or another reason to be Ready or Stalled."""
    before, after = _turn(resource.status), _turn(status)  # type: ignore[attr-defined]
    if before == after:
        return
    conditions: tuple[Condition, ...] = status.conditions  # type: ignore[attr-defined]
    reconciling = find_condition(conditions, RECONCILING)
    if reconciling is not None and reconciling.status == "True":
        return
    stalled, ready = find_condition(conditions, STALLED), find_condition(conditions, READY)
    warning = stalled is not None and stalled.status == "True"
    # That one is as it should be from the start is no news, but for a Tenant: its Event is the whole contract's.
    if before[1] is None and resource.kind != "Tenant" and not warning:
        return
    said = stalled if warning else ready
    if said is not None:
        message = said.message or said.reason
        world.events.post(News(about=resource, reason=said.reason, message=message, warning=warning))


def _turn(status: Any) -> tuple[Any, ...]:
    conditions = status.conditions
    found = (find_condition(conditions, READY), find_condition(conditions, STALLED))
    return getattr(status, "phase", None), *((one.status, one.reason) if one else None for one in found)
