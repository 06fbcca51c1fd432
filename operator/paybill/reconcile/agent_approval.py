"""One Approval of an agent's call.

Who is refused stays refused, whatever becomes of the run: an Approval that fitted nothing when it was looked at does
not begin to fit later, when nobody thinks of it any more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from paybill.api.agent_run import AgentRun
from paybill.api.approval import Approval
from paybill.api.base import keyed
from paybill.api.conditions import STALLED, find_condition
from paybill.api.failures import Blocked, Retry
from paybill.reconcile.world import World

FINAL: Final = frozenset({"NotAwaited", "RunEnded"})
"""Reasons for which an Approval is never looked at again."""


def refused(approval: Approval) -> bool:
    """Whether it was refused for good."""
    stalled = find_condition(approval.status.conditions, STALLED)
    about_run = approval.spec.subject.kind == "AgentRun"
    return about_run and stalled is not None and stalled.status == "True" and stalled.reason in FINAL


async def carried_out(world: World, approval: Approval) -> datetime:
    """When the run was told of it; raises Retry or Blocked while, or since, it cannot be."""
    run = _run(world, approval)
    if run.status.phase == "Ended":
        raise Blocked("RunEnded", f"AgentRun {run.metadata.key} ended ({run.status.ending}): the Approval is of no use")
    raise Blocked("NotAwaited", f"AgentRun {run.metadata.key} does not wait for an approval")


def _run(world: World, approval: Approval) -> AgentRun:
    subject = approval.spec.subject
    key = keyed(subject.namespace or "", subject.name)
    run = world.declared.runs.get(key)
    if run is None or run.metadata.uid != subject.uid:
        raise Retry("NoRun", f"there is no AgentRun {key} with UID {subject.uid}")
    return run
