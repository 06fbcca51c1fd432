"""The password of an agent's login: in a Secret for its gateway, and as a SCRAM verifier in Postgres, nowhere else.

It is made once and kept. When the Secret is gone, or is not the login's any more, there is a new one: the Secret is
written first, so that a crash before the database has heard of it makes another one instead of losing it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paybill.databases.credentials import new_password, scram_verifier, verifies
from paybill.desired import handover
from paybill.desired.resource import key_of
from paybill.reconcile import objects
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World


@dataclass(frozen=True, kw_only=True)
class Handed:
    """The Secret's name, and the verifier that the login is still to be given; None when it has it."""

    secret: str
    verifier: str | None


async def hand_over(world: World, site: Site, agent: str, login: str, shown: str | None) -> Handed:
    """Have the login's Secret say where and as whom to log in; ``shown`` is the verifier that the login has now.

    Raises ``Blocked("NameConflict")`` when a Secret of that name is not this tenant's.
    """
    wanted = handover.agent_binding(site.identity, site.namespace, agent, {})
    key = key_of(wanted)
    found = await world.cluster.get(key)
    if found is not None:
        objects.refuse_foreign(key, found, wanted)
    told = _clear(found)
    password = told.get("password", "")
    fits = bool(password) and shown is not None and verifies(password, shown)
    if not fits:
        password = new_password()
    data = handover.binding_data(site.attached.endpoint, login, password) | {"agent": agent}
    if told != data:
        secret = handover.agent_binding(site.identity, site.namespace, agent, data)
        # A hash of a password would be something to guess against: the names of the fields do.
        inputs = {"key": str(key), "fields": sorted(data)}
        await take(world, site.scope, [_apply(world, secret, str(key), inputs)])
    return Handed(secret=key.name, verifier=None if fits else scram_verifier(password))


def _apply(world: World, secret: dict[str, Any], target: str, inputs: Mapping[str, Any]) -> Step:
    return Step(action="secret.apply", target=target, act=lambda: world.cluster.apply(secret), inputs=inputs)


def _clear(secret: Mapping[str, Any] | None) -> dict[str, str]:
    data = (secret or {}).get("data") or {}
    return {name: base64.b64decode(value).decode(errors="replace") for name, value in data.items()}


async def take_back(world: World, site: Site, agent: str) -> None:
    """Delete the Secret of an agent that is gone; one that is not ours stays."""
    wanted = handover.agent_binding(site.identity, site.namespace, agent, {})
    key = key_of(wanted)
    found = await world.cluster.get(key)
    if found is None:
        return
    theirs: Mapping[str, str] = found["metadata"].get("labels") or {}
    if any(theirs.get(name) != value for name, value in wanted["metadata"]["labels"].items()):
        return
    uid, version = found["metadata"]["uid"], found["metadata"]["resourceVersion"]
    step = Step(
        action="secret.delete",
        target=str(key),
        act=lambda: world.cluster.delete(key, uid=uid, resource_version=version),
        destructive=True,
    )
    await take(world, site.scope, [step])
