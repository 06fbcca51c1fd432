"""One AgentRun: opened in the tenant's database once, mirrored while it goes on, closed for good.

While it waits for a person its status shows with what; a person's word is told to the database by
reconcile/agent_approval.py, never by this.

Its id there is the object's UID, so that a process which was killed behind the opening finds it. What it may still do
is held by the database alone: after its deadline, or under another policy, every call is refused before anything here
has noticed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from paybill.agents import leading, names, opening, runs, sound
from paybill.agents.introspection import introspect
from paybill.agents.runs import Lead
from paybill.api.agent_policy import AgentPolicy
from paybill.api.agent_run import AgentRun, AgentRunStatus
from paybill.api.agent_workflow import AgentWorkflow
from paybill.api.base import keyed
from paybill.api.failures import Blocked, Failure, Retry
from paybill.databases.server import Session
from paybill.desired.names import PAUSED_ANNOTATION
from paybill.desired.sql_names import schema as schema_of
from paybill.reconcile import agent_run_report, agent_walk, report
from paybill.reconcile.agent_place import place_of, released
from paybill.reconcile.agent_run_report import Agent
from paybill.reconcile.agent_walk import run_id
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World

TOLD_EVERY: Final = timedelta(minutes=1)
"""How often a run that goes on says what it has used."""
ASKED_EVERY: Final = timedelta(seconds=5)
"""How often a run is looked at that may come to wait for a person, that is about to end, or whose time is over."""


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
        status, often = await _go_on(world, run, cause)
    except Failure as failure:
        await _tell(world, run, run.status.model_copy(update={"phase": run.status.phase or "Pending"}), failure)
        raise
    await _tell(world, run, status, None)
    return _again(world, status, often=often)


def _again(world: World, status: AgentRunStatus, *, often: bool) -> datetime | None:
    """When to look at a run again."""
    now, deadline = world.now(), status.deadline_time
    if status.phase == "Ended" or deadline is None:
        return None
    soon = now + (ASKED_EVERY if often else TOLD_EVERY)
    return min(soon, deadline + timedelta(seconds=1)) if deadline >= now else now + ASKED_EVERY


async def _go_on(world: World, run: AgentRun, cause: str) -> tuple[AgentRunStatus, bool]:
    """How the run stands after this pass, and whether to look at it often."""
    policy = world.declared.policies.get(keyed(run.metadata.namespace, run.spec.policy_ref.name))
    if policy is None:
        raise Retry("PolicyMissing", f"there is no AgentPolicy {run.spec.policy_ref.name} in this namespace")
    place = place_of(world, policy, cause)
    login, attached = names.login(place.claim.id, policy.spec.agent), place.attached
    async with attached.server.session(attached.pool.name) as session:
        walk = await agent_walk.look(session, run_id(run), login, world.now(), walk=not run.spec.cancel)
        if walk is None and run.spec.cancel:
            return run.status.model_copy(update={"phase": "Ended", "ending": "Cancelled"}), False
        if walk is None:
            await _open(world, session, run, policy, place)
            walk = await agent_walk.look(session, run_id(run), login, world.now())
        elif walk.late:
            await _expire(world, session, run, place)
            walk = await agent_walk.look(session, run_id(run), login, world.now())
        if walk is None:
            raise Retry("Conflict", f"run {run.metadata.uid} was not found after it was opened", after=1.0)
        ended = agent_walk.ending(run, walk, workflow_of(world, run), world.now()) if walk.open else None
        if ended is not None:
            await _close(world, session, run, place, ended.how)
            walk = await agent_walk.look(session, run_id(run), login, world.now()) or walk
        agent = Agent(login=login, policy=policy.spec)
        status = await agent_run_report.status_of(session, run, agent, walk, ended, world.now())
        return status, walk.stirs


async def _expire(world: World, session: Session, run: AgentRun, place: Site) -> None:
    """Have the database write down that the deadline passed, which an agent that calls no more does not make it do."""
    step = Step(
        action="run.expire",
        target=f"AgentRun/{run.metadata.key}",
        act=lambda: leading.standing(session, run_id(run)),
    )
    await take(world, place.scope, [step])


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
        act=lambda: runs.open_run(session, run_id(run), login, lead, budget, grants),
        inputs={"workflow": revision, "login": login, "requestedBy": run.spec.requested_by, "input": run.spec.input},
    )
    await take(world, place.scope, [step])


def _workflow(world: World, run: AgentRun) -> AgentWorkflow:
    found = workflow_of(world, run)
    if found is None or found.metadata.deletion_timestamp is not None:
        raise Retry("WorkflowMissing", f"there is no AgentWorkflow {run.spec.workflow_ref.name} in this namespace")
    return found


def workflow_of(world: World, run: AgentRun) -> AgentWorkflow | None:
    """The object that has the name of the run's workflow now; the run stays on the one that it was opened with."""
    return world.declared.workflows.get(keyed(run.metadata.namespace, run.spec.workflow_ref.name))


async def _close(world: World, session: Session, run: AgentRun, place: Site, ending: str) -> None:
    step = Step(
        action="run.close",
        target=f"AgentRun/{run.metadata.key}",
        act=lambda: runs.close_run(session, run_id(run), ending),
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
        found = await runs.look(session, run_id(run), login)
        if found is not None and found.closed is None:
            await _close(world, session, run, place, "Deleted")


async def _tell(world: World, run: AgentRun, status: AgentRunStatus, failure: Failure | None) -> None:
    await report.tell(world, world.declared.runs, run, status, failure, agent_run_report.done(run, status))
