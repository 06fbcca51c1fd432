"""Whose turn it is to be migrated: canaries, then waves, until a budget of failures is spent.

A subject is a tenant with tables of its own, or a pool of shared tables with all of its tenants. Nothing is remembered
between calls: who has run all files is a fact, and the order is that of a hash, so the same ones are still the first
after a restart. Pools come last, because many tenants are in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paybill.lifecycle.rollout import ceiling, order

Stage = Literal["Canaries", "Waves", "Done", "Stopped"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """``version`` is that of the last file it has run. ``held``: it may not be touched now (suspended, moved, held)."""

    id: str
    version: int
    failed: bool = False
    held: bool = False
    pool: bool = False


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Who may be migrated now, and how far all are. ``failed`` are ids in order."""

    admitted: frozenset[str]
    stage: Stage
    total: int
    current: int
    held: int
    failed: tuple[str, ...]


def turn(
    subjects: Sequence[Subject],
    target: int,
    digest: str,
    *,
    canaries: int,
    max_unavailable: str,
    failure_budget: int,
) -> Turn:
    """Who may go to version ``target`` of the files with this ``digest`` now."""
    ranked = sorted(subjects, key=lambda one: (one.pool, order(digest, one.id)))
    behind = [one for one in ranked if one.version < target]
    failed = tuple(sorted(one.id for one in behind if one.failed))
    waiting = [one for one in behind if not one.failed and not one.held]
    first = [one for one in ranked if not one.held or one.version >= target][:canaries]
    proving = [one for one in first if one in waiting]
    stage: Stage
    if len(failed) > failure_budget:
        stage, admitted = "Stopped", []
    elif proving:
        stage, admitted = "Canaries", proving
    elif behind:
        stage, admitted = "Waves", waiting[: ceiling(max_unavailable, len(ranked))]
    else:
        stage, admitted = "Done", []
    return Turn(
        admitted=frozenset(one.id for one in admitted),
        stage=stage,
        total=len(ranked),
        current=len(ranked) - len(behind),
        held=sum(one.held for one in behind),
        failed=failed,
    )
