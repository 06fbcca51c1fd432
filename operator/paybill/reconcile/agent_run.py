"""One AgentRun: opened in the tenant's database once, mirrored while it goes on, closed for good.

Its id there is the object's UID, so that a process which was killed behind the opening finds it. What it may still do
is held by the database alone: after its deadline, or under another policy, every call is refused before anything here
has noticed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from paybill.agents import names, opening, runs, sound
from paybill.agents.introspection import introspect
from paybill.agents.runs import Lead, Standing
from paybill.api import conditions as c
from paybill.api.agent_policy import AgentPolicy
from paybill.api.agent_run import AgentRun, AgentRunStatus, RunUse
from paybill.api.agent_workflow import AgentWorkflow
from paybill.api.base import keyed
from paybill.api.failures import Blocked, Failure, Retry
from paybill.databases.server import Session
from paybill.desired.names import PAUSED_ANNOTATION
from paybill.desired.sql_names import schema as schema_of
from paybill.reconcile import report
from paybill.reconcile.agent_place import place_of, released
from paybill.reconcile.site import Site
from paybill.reconcile.status import Fact
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World

TOLD_EVERY: Final = timedelta(minutes=1)
"""How often a run that goes on says what it has used."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Open, mirror or end one AgentRun; returns when to look again."""
    run = world.declared.runs.get(name)
    if run is None or run.metadata.annotations.get(PAUSED_ANNOTATION) == "true":
        return None
    if run.metadata.deletion_timestamp is not None:
        await _end_deleted(world, run, cause)
        await report.let_go(world, run)
        return None
    if run.status.phase == "Ended":
        return None
    try:
        status = await _go_on(world, run, cause)
    except Failure as failure:
        await _tell(world, run, run.status.model_copy(update={"phase": run.status.phase or "Pending"}), failure)
        raise
    await _tell(world, run, status, None)
    if status.phase == "Ended" or status.deadline_time is None:
        return None
    return min(world.now() + TOLD_EVERY, status.deadline_time + timedelta(seconds=1))


async def _go_on(world: World, run: AgentRun, cause: str) -> AgentRunStatus:
    policy = world.declared.policies.get(keyed(run.metadata.namespace, run.spec.policy_ref.name))
    if policy is None:
        raise Retry("PolicyMissing", f"there is no AgentPolicy {run.spec.policy_ref.name} in this namespace")
    place = place_of(world, policy, cause)
    login, attached = names.login(place.claim.id, policy.spec.agent), place.attached
    async with attached.server.session(attached.pool.name) as session:
        found = await runs.look(session, _id(run), login)
        if found is None and run.spec.cancel:
            return run.status.model_copy(update={"phase": "Ended", "ending": "Cancelled"})
        if found is None:
            await _open(world, session, run, policy, place)
        elif found.closed is None and (ending := _ending(run, found)) is not None:
            await _close(world, session, run, place, ending)
        found = await runs.look(session, _id(run), login)
    if found is None:
        raise Retry("Conflict", f"run {run.metadata.uid} was not found after it was opened", after=1.0)
    return _status(run, found)


def _ending(run: AgentRun, found: Standing) -> str | None:
    """Why a run that is open has to end now."""
    if run.spec.cancel:
        return "Cancelled"
    if found.over:
        return "Expired"
    return "PolicyChanged" if found.policy != found.current_policy else None


async def _open(world: World, session: Session, run: AgentRun, policy: AgentPolicy, place: Site) -> None:
    """Open the run, when its agent is let in and its workflow is within the policy."""
    if not policy.status.open or policy.status.observed_generation != policy.metadata.generation:
        raise Retry("AgentShutOut", f"the login of AgentPolicy {policy.metadata.name} is not open", after=5.0)
    workflow = _workflow(world, run)
    tenant = place.claim.id
    facts = await introspect(session, place.attached.pool.name, schema_of(tenant), tenant)
    sound.check(workflow.spec, policy.spec, facts.schema_)
    opening.check_input(workflow.spec, run.spec.input)
    await report.hold(world, run)
    if policy.spec.enforcement.reads != "Gate":
        said = f"AgentPolicy {policy.metadata.name} has reads: Grant, and only gates can hold an agent to a workflow"
        raise Blocked("WorkflowNeedsGates", said)
    login, revision = names.login(tenant, policy.spec.agent), workflow.spec.revision
    lead = Lead(workflow=workflow.spec, input=run.spec.input)
    budget, grants = opening.budget(workflow.spec), opening.grants(workflow.spec)
    step = Step(
        action="run.open",
        target=f"AgentRun/{run.metadata.key}",
        act=lambda: runs.open_run(session, _id(run), login, lead, budget, grants),
        inputs={"workflow": revision, "login": login, "requestedBy": run.spec.requested_by, "input": run.spec.input},
    )
    await take(world, place.scope, [step])


def _workflow(world: World, run: AgentRun) -> AgentWorkflow:
    found = world.declared.workflows.get(keyed(run.metadata.namespace, run.spec.workflow_ref.name))
    if found is None or found.metadata.deletion_timestamp is not None:
        raise Retry("WorkflowMissing", f"there is no AgentWorkflow {run.spec.workflow_ref.name} in this namespace")
    return found


async def _close(world: World, session: Session, run: AgentRun, place: Site, ending: str) -> None:
    step = Step(
        action="run.close",
        target=f"AgentRun/{run.metadata.key}",
        act=lambda: runs.close_run(session, _id(run), ending),
        inputs={"ending": ending},
    )
    await take(world, place.scope, [step])


async def _end_deleted(world: World, run: AgentRun, cause: str) -> None:
    """Close the run of an object that goes; where its agent is gone, so is the run."""
    policy = world.declared.policies.get(keyed(run.metadata.namespace, run.spec.policy_ref.name))
    place = released(world, policy, cause) if policy is not None else None
    if policy is None or place is None:
        return
    login = names.login(place.claim.id, policy.spec.agent)
    async with place.attached.server.session(place.attached.pool.name) as session:
        found = await runs.look(session, _id(run), login)
        if found is not None and found.closed is None:
            await _close(world, session, run, place, "Deleted")


def _id(run: AgentRun) -> UUID:
    return UUID(run.metadata.uid)


def _status(run: AgentRun, found: Standing) -> AgentRunStatus:
    calls, read, written = (
        RunUse(used=used, limit=limit) for used, limit in zip(found.used, found.limits, strict=True)
    )
    return run.status.model_copy(
        update={
            "phase": "Running" if found.closed is None else "Ended",
            "ending": found.ending,
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


async def _tell(world: World, run: AgentRun, status: AgentRunStatus, failure: Failure | None) -> None:
    await report.tell(world, world.declared.runs, run, status, failure, _done(status))


def _done(status: AgentRunStatus) -> Fact:
    if status.phase == "Ended":
        said = f"it ended: {status.ending}"
        return Fact(type=c.READY, status=c.TRUE, reason="RunEnded", message=said)
    return Fact(type=c.READY, status=c.TRUE, reason="RunOpened", message=f"open until {status.deadline_time}")
