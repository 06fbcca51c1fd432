"""Which tenants may move to a new revision of their Plan now.

An edited Plan reaches its tenants in waves: at any time at most ``maxUnavailable`` of them are on the new revision
without being Ready. Nothing is remembered between calls, so a restart changes nothing; the order is that of a hash,
so neither the oldest nor the first by name is always the canary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Member:
    """One tenant of a Plan: its id, the revision it is on, whether it is Ready, whether it failed for good."""

    id: str
    revision: str
    ready: bool
    failed: bool = False
    pinned: bool = False


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The answer: who may move now, and how far the rollout is."""

    admitted: frozenset[str]
    updated: int
    total: int
    paused: bool


def ceiling(max_unavailable: str, total: int) -> int:
    """``"5%"`` or ``"3"`` of ``total`` tenants, at least one."""
    if max_unavailable.endswith("%"):
        return max(1, total * int(max_unavailable[:-1]) // 100)
    return max(1, int(max_unavailable))


def plan_wave(members: Sequence[Member], target: str, *, max_unavailable: str, pause_on_failure: bool) -> Wave:
    """The tenants admitted to ``target`` now."""
    followers = [one for one in members if not one.pinned]
    updated = [one for one in followers if one.revision == target]
    waiting = sorted((one for one in followers if one.revision != target), key=lambda one: _order(target, one.id))
    moving = sum(1 for one in updated if not one.ready)
    paused = pause_on_failure and any(one.failed for one in updated)
    room = 0 if paused else max(0, ceiling(max_unavailable, len(followers)) - moving)
    return Wave(
        admitted=frozenset(one.id for one in waiting[:room]),
        updated=len(updated),
        total=len(followers),
        paused=paused and bool(waiting),
    )


def _order(target: str, member: str) -> str:
    return hashlib.sha256(f"{target}/{member}".encode()).hexdigest()
