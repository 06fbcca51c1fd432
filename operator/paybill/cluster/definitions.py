"""Installs and upgrades the CustomResourceDefinitions: looks first, refuses what would lose data, applies, waits.

All kinds are looked at before the first is written, so that a refusal leaves the cluster as it was. The API server's
own word on each comes from a dry run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paybill import __version__
from paybill.api.base import Resource
from paybill.api.compatibility import Change
from paybill.api.crd import build
from paybill.api.failures import Blocked, Retry
from paybill.api.kinds import KINDS
from paybill.cluster.client import Cluster
from paybill.desired.kinds_upgrade import Verdict, judge, marked, takes_away, version_of
from paybill.desired.resource import Key

Outcome = Literal["Created", "Changed", "Unchanged", "Refused"]

PATIENCE = 30.0
"""Seconds until the API server must serve a kind that it has taken."""
PAUSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """One kind: what the cluster has, what it would get, and what is against that."""

    wanted: Mapping[str, Any]
    installed_version: str | None
    outcome: Outcome
    changes: tuple[Change, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The definition's name, such as tenants.paybill.dev."""
        return str(self.wanted["metadata"]["name"])


def wanted_definitions(kinds: Iterable[type[Resource]] = KINDS) -> list[dict[str, Any]]:
    """The definitions of this version, marked with it."""
    return [marked(build(kind), __version__) for kind in kinds]


async def look(cluster: Cluster, wanted: Sequence[Mapping[str, Any]] | None = None) -> list[Upgrade]:
    """What an upgrade to ``wanted`` (default: the kinds of this version) would do; writes nothing."""
    return [await _look_at(cluster, one) for one in (wanted_definitions() if wanted is None else wanted)]


async def _look_at(cluster: Cluster, wanted: Mapping[str, Any]) -> Upgrade:
    installed = await cluster.get(_key(wanted))
    version = version_of(installed)
    verdict = (
        Verdict() if installed is None else judge(installed, wanted, await _in_the_way(cluster, installed, wanted))
    )
    outcome: Outcome = "Refused"
    if not verdict.refused:
        answer = await cluster.apply(wanted, dry_run=True)
        outcome = "Created" if installed is None else "Changed"
        same = installed is not None and answer["metadata"]["generation"] == installed["metadata"]["generation"]
        if same and version_of(answer) == version:
            outcome = "Unchanged"
    return Upgrade(
        wanted=wanted,
        installed_version=version,
        outcome=outcome,
        changes=verdict.changes,
        refused=verdict.refused,
    )


async def _in_the_way(
    cluster: Cluster, installed: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The objects of a kind, where one of its fields would go; none while the API server does not serve it yet."""
    if not _established(installed) or not takes_away(installed, wanted):
        return []
    return await cluster.list(installed["spec"]["names"]["kind"])


async def carry_out(cluster: Cluster, upgrades: Sequence[Upgrade]) -> None:
    """Apply them and wait until each kind is served; raises Blocked, before any write, when one is refused."""
    refused = [f"{one.name}: {words}" for one in upgrades for words in one.refused]
    if refused:
        raise Blocked("UpgradeRefused", f"the kinds are left as they are: {'; '.join(refused)}")
    for one in upgrades:
        if one.outcome != "Unchanged":
            await cluster.apply(one.wanted)
    for one in upgrades:
        await _served(cluster, one)


async def _served(cluster: Cluster, upgrade: Upgrade) -> None:
    ends = time.monotonic() + PATIENCE
    while not await _serves(cluster, upgrade):
        if time.monotonic() > ends:
            raise Blocked("NotReady", f"{upgrade.name} is not served after {PATIENCE:.0f} s")
        await asyncio.sleep(PAUSE)


async def _serves(cluster: Cluster, upgrade: Upgrade) -> bool:
    """Established, and the objects can be asked for: the API server says the first a moment before the second."""
    found = await cluster.get(_key(upgrade.wanted))
    if found is None or not _established(found):
        return False
    try:
        await cluster.list(found["spec"]["names"]["kind"], fields="metadata.name=none-has-this")
    except Retry:
        return False
    return True


def _established(definition: Mapping[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _key(definition: Mapping[str, Any]) -> Key:
    return Key("CustomResourceDefinition", "", definition["metadata"]["name"])
