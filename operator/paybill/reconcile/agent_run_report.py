"""What an AgentRun says of the run: what it has used, what it waits with for a person, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from paybill.agents import leading, standing
from paybill.agents.runs import Standing
from paybill.api import conditions as c
from paybill.api.agent_policy import AgentPolicySpec
from paybill.api.agent_run import AgentRun, AgentRunStatus, RunApproval, RunUse
from paybill.databases.server import Session
from paybill.reconcile.agent_walk import Ended, Walk, run_id
from paybill.reconcile.status import Fact

WALKED: Final = ("Succeeded", "Failed", "Denied", "Expired")
"""Endings that the workflow itself came to."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Whose run it is."""

    login: str
    policy: AgentPolicySpec


async def status_of(
    session: Session, run: AgentRun, agent: Agent, walk: Walk, ended: Ended | None, now: datetime
) -> AgentRunStatus:
    """What the status of a run says after this pass; ``ended``: why this pass closed it."""
    found = walk.found
    shown = await _shown(session, run, agent, walk, now) if walk.open else None
    if not walk.open and ended is None:
        ended = await _end_of(session, run, found)
    calls, read, written = (
        RunUse(used=used, limit=limit) for used, limit in zip(found.used, found.limits, strict=True)
    )
    return run.status.model_copy(
        update={
            "phase": "Ended" if found.closed is not None else "Running" if shown is None else "AwaitingApproval",
            "approval": shown,
            "ending": found.ending,
            "ending_step": ended.step if ended is not None else None,
            "ending_reason": ended.reason if ended is not None else None,
            "run": run.metadata.uid,
            "workflow_hash": found.workflow,
            "policy_hash": found.policy,
            "opened_time": found.opened,
            "deadline_time": found.deadline,
            "closed_time": found.closed,
            "calls": calls,
            "rows_read": read,
            "rows_written": written,
            "journal_head": str(found.head),
        }
    )


async def _end_of(session: Session, run: AgentRun, found: Standing) -> Ended | None:
    """At which step a run came to its end, and for what, that was closed by a pass which did not live to say so."""
    said = await leading.standing(session, run_id(run)) if found.led and found.ending in WALKED else None
    if said is None:
        return None
    return Ended(how=str(found.ending), step=said.get("step"), reason=said.get("reason") or None)


async def _shown(session: Session, run: AgentRun, agent: Agent, walk: Walk, now: datetime) -> RunApproval | None:
    """What the run waits with, as a person is shown it."""
    asked, story, before = walk.asked, walk.story, run.status.approval
    if asked is None or story is None:
        return None
    if before is not None and before.digest == asked.digest(run.metadata.uid):
        return before
    known = await standing.known(session, agent.login)
    tables = known.tables if known is not None else None
    return asked.shown(run.metadata.uid, story.workflow, agent.policy, tables).model_copy(update={"asked_time": now})


def done(run: AgentRun, status: AgentRunStatus) -> Fact:
    """How the run is, as its conditions and its Event say it."""
    if status.phase == "Ended":
        at = f" at step {status.ending_step}" if status.ending_step is not None else ""
        because = f": {status.ending_reason}" if status.ending_reason is not None else ""
        return Fact(type=c.READY, status=c.TRUE, reason="RunEnded", message=f"it ended: {status.ending}{at}{because}")
    if status.approval is not None:
        name, namespace = run.metadata.name, run.metadata.namespace
        said = (
            f"it waits at step {status.approval.step} for a person to allow {status.approval.uses}: `paybill agents "
            f"approve {name} -n {namespace}` shows it (digest {status.approval.digest})"
        )
        return Fact(type=c.READY, status=c.TRUE, reason="AwaitingApproval", message=said)
    return Fact(type=c.READY, status=c.TRUE, reason="RunOpened", message=f"open until {status.deadline_time}")
