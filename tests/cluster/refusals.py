"""Requests that a policy refuses, as tables: who asks, what for, and the words of the refusal.

Each is sent as a dry run, so that it goes through all of admission and changes nothing: it can be sent again with the
policy out of force, and must succeed then.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.api import Api, Object, accepted, path
from tests.cluster.waiting import until

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; ``where`` and ``body`` carry the names of the scene in braces."""

    id: str
    who: str
    method: str
    where: str
    says: str = ""
    body: Any = None
    kind: str = JSON
    query: Mapping[str, str] = field(default_factory=dict)

    async def send(self, api: Api, scene: Mapping[str, str]) -> tuple[int, Object]:
        """Send it as a dry run; the API server's answer."""
        given = {"dryRun": "All"} | dict(self.query)
        if self.kind == APPLY:
            given |= {"fieldManager": "test", "force": "true"}
        body = filled(self.body, scene)
        where = str(filled(self.where, scene))
        return await api.call(
            self.method, where, body, self.kind, **{name: str(filled(value, scene)) for name, value in given.items()}
        )


def filled(value: Any, scene: Mapping[str, str]) -> Any:
    """The value with the scene's names for the words in angle brackets."""
    match value:
        case str():
            for name, word in scene.items():
                value = value.replace(f"<{name}>", word)
            return value
        case Mapping():
            return {str(filled(name, scene)): filled(one, scene) for name, one in value.items()}
        case list():
            return [filled(one, scene) for one in value]
        case _:
            return value


def create(id: str, who: str, obj: Object, says: str = "") -> Request:  # noqa: A002 - the word of pytest
    """POST of an object."""
    where = path(obj["kind"], obj["metadata"].get("namespace", ""))
    return Request(id=id, who=who, method="POST", where=where, body=obj, says=says)


def patch(
    id: str,  # noqa: A002
    who: str,
    kind: str,
    name: str,
    change: Object,
    says: str = "",
    *,
    namespace: str = "",
    sub: str = "",
) -> Request:
    """A merge patch of an object or of a subresource of it."""
    where = path(kind, namespace, name) + (f"/{sub}" if sub else "")
    return Request(id=id, who=who, method="PATCH", where=where, body=change, kind=MERGE, says=says)


def delete(id: str, who: str, kind: str, name: str, says: str = "", *, namespace: str = "") -> Request:  # noqa: A002
    """DELETE of one object."""
    return Request(id=id, who=who, method="DELETE", where=path(kind, namespace, name), says=says)


@contextlib.asynccontextmanager
async def without(admin: Api, policy: str, probe: Any) -> AsyncIterator[None]:
    """A policy out of force: its binding is gone, and ``probe`` (the status of a request it refused) shows it."""
    _, binding = await admin.call("GET", f"{BINDINGS}/{policy}")
    await admin.call("DELETE", f"{BINDINGS}/{policy}")
    try:
        await until(lambda: _is(probe, refused=False), otherwise=f"{policy} is still in force")
        yield
    finally:
        kept = {"apiVersion": binding["apiVersion"], "kind": binding["kind"], "spec": binding["spec"]}
        await admin.call("POST", BINDINGS, {**kept, "metadata": {"name": policy}})
        await until(lambda: _is(probe, refused=True), otherwise=f"{policy} is not in force again")


@contextlib.asynccontextmanager
async def weakened(admin: Api, policy: str, number: int, passes: Any) -> AsyncIterator[None]:
    """A policy in which one check lets everything through; ``passes``: whether a request that it refused passes."""
    where = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{policy}"
    _, found = await admin.call("GET", where)
    checks = found["spec"]["validations"]
    others = [{"expression": "true"} if place == number else one for place, one in enumerate(checks)]
    await _spec(admin, where, {**found["spec"], "validations": others})
    try:
        yield
    finally:
        await _spec(admin, where, found["spec"])
        await until(lambda: _not(passes), otherwise=f"{policy} is not whole again")


async def _spec(admin: Api, where: str, spec: Object) -> None:
    patch = [{"op": "replace", "path": "/spec", "value": spec}]
    accepted(*await admin.call("PATCH", where, patch, "application/json-patch+json"))


async def _not(passes: Any) -> bool:
    return not await passes()


async def _is(probe: Any, *, refused: bool) -> bool:
    return bool((await probe() >= 300) is refused)
