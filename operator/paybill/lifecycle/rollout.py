"""Which tenants may move to a new revision of their Plan now.

An edited Plan reaches its tenants in waves: at any time at most ``maxUnavailable`` of them are in change, that is on
the new revision without being Ready. One that failed is in change no more: it either stops the rollout for those that
wait or, where the Plan says so, does not. Nothing is remembered between calls, so a restart changes nothing; the order
is that of a hash, so neither the oldest nor the first by name is always the canary.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Member:
    """One tenant of a Plan: its id, the revision it is on, whether it is Ready, whether it failed for good.

    ``pinned``: its Subscription names a revision, so the Plan's edits are not for it. ``held``: it may not change now
    (debt, a hold, paused), so it must not keep a place in the wave from those that may.
    """

    id: str
    revision: str
    ready: bool
    failed: bool = False
    pinned: bool = False
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The answer: who may move now, and how far the rollout is."""

    admitted: frozenset[str]
    updated: int
    total: int
    paused: bool


PAUSED = "paused"


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a person wants of a rollout: the revision that tenants are to be on, and whether any more may move."""

    target: str
    paused: bool = False


def orders(said: str | None, revision: str, kept: Collection[str]) -> Orders:
    """What an annotation says of a Plan whose content is ``revision``; ``kept`` are the revisions there are.

    A rollback names what it goes back from, so that the next edit of the Plan ends it. What makes no sense (any more)
    says nothing.
    """
    if said == PAUSED:
        return Orders(target=revision, paused=True)
    bad, _, good = (said or "").partition("/")
    return Orders(target=good if bad == revision and good in kept else revision)


def ceiling(max_unavailable: str, total: int) -> int:
    """``"5%"`` (rounded up) or ``"3"`` of ``total`` tenants, at least one."""
    if max_unavailable.endswith("%"):
        return max(1, -(-total * int(max_unavailable[:-1]) // 100))
    return max(1, int(max_unavailable))


def plan_wave(
    members: Sequence[Member], target: str, *, max_unavailable: str, pause_on_failure: bool, stopped: bool = False
) -> Wave:
    """The tenants admitted to ``target`` now; none when a person ``stopped`` it."""
    followers = [one for one in members if not one.pinned]
    updated = [one for one in followers if one.revision == target]
    waiting = [one for one in followers if one.revision != target]
    moving = sum(1 for one in updated if not one.ready and not one.failed)
    paused = stopped or (pause_on_failure and any(one.failed for one in updated))
    room = 0 if paused else max(0, ceiling(max_unavailable, len(followers)) - moving)
    movable = (one.id for one in waiting if not one.held)
    first = heapq.nsmallest(room, movable, key=lambda member: order(target, member)) if room else ()
    return Wave(
        admitted=frozenset(first),
        updated=len(updated),
        total=len(followers),
        paused=paused and bool(waiting),
    )


@functools.lru_cache(maxsize=65_536)
def order(target: str, member: str) -> str:
    """The place of a member in the order for a target: another one for each target."""
    return hashlib.sha256(f"{target}/{member}".encode()).hexdigest()
