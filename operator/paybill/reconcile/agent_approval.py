"""One Approval of an agent's call: told to the database in which the run waits, if it is of what it waits with now.

Its UID is kept there in the transaction that lets the run go on, so a process that was killed behind that finds it. Who
is refused stays refused, whatever becomes of the run: an Approval that fitted nothing when it was looked at does not
begin to fit later, when nobody thinks of it any more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from paybill.agents import names, told
from paybill.agents.asking import Asked
from paybill.agents.told import Word
from paybill.api.agent_policy import AgentPolicy
from paybill.api.agent_run import AgentRun
from paybill.api.approval import Approval
from paybill.api.base import keyed
from paybill.api.conditions import STALLED, find_condition
from paybill.api.failures import Blocked, Retry
from paybill.databases.server import Session
from paybill.desired import agent_approval
from paybill.desired import approval as approvals
from paybill.reconcile import agent_walk
from paybill.reconcile.agent_place import place_of
from paybill.reconcile.agent_walk import run_id
from paybill.reconcile.queue import Work
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World

FINAL: Final = frozenset(
    {"ApproverIsAgent", "ApproverIsRequester", "DigestMismatch", "Expired", "NotAwaited", "RunEnded"}
)
"""Reasons for which an Approval is never looked at again."""


def refused(approval: Approval) -> bool:
    """Whether it was refused for good."""
    stalled = find_condition(approval.status.conditions, STALLED)
    about_run = approval.spec.subject.kind == "AgentRun"
    return about_run and stalled is not None and stalled.status == "True" and stalled.reason in FINAL


async def carried_out(world: World, approval: Approval, cause: str) -> datetime:
    """When the run was told of it; raises Retry while it cannot be, and Blocked when it never will be."""
    run = _run(world, approval)
    policy = world.declared.policies.get(keyed(run.metadata.namespace, run.spec.policy_ref.name))
    if policy is None:
        raise Retry("PolicyMissing", f"there is no AgentPolicy {run.spec.policy_ref.name} in this namespace")
    place = place_of(world, policy, f"Approval/{approval.metadata.name} {cause}")
    async with place.attached.server.session(place.attached.pool.name) as session:
        used = await told.when(session, run_id(run), approval.metadata.uid)
        if used is None:
            asked = await _asked(world, session, approval, run, policy, place)
            _refuse(world, approval, run, policy, asked)
            await _tell(world, session, approval, run, place, asked)
            used = await told.when(session, run_id(run), approval.metadata.uid)
    if used is None:
        raise Retry("Conflict", f"Approval {approval.metadata.name} was not found after it was told", after=1.0)
    world.queue.add(Work("AgentRun", run.metadata.key), f"Approval/{approval.metadata.name}")
    return used


def _run(world: World, approval: Approval) -> AgentRun:
    subject = approval.spec.subject
    key = keyed(subject.namespace or "", subject.name)
    run = world.declared.runs.get(key)
    if run is None or run.metadata.uid != subject.uid:
        raise Retry("NoRun", f"there is no AgentRun {key} with UID {subject.uid}")
    return run


async def _asked(
    world: World, session: Session, approval: Approval, run: AgentRun, policy: AgentPolicy, place: Site
) -> Asked:
    """What the run waits with at this moment."""
    login, key = names.login(place.claim.id, policy.spec.agent), run.metadata.key
    walk = await agent_walk.look(session, run_id(run), login, world.now())
    if walk is None:
        raise Blocked("NotAwaited", f"AgentRun {key} was not opened yet, so it waits for no approval")
    workflow = world.declared.workflows.get(keyed(run.metadata.namespace, run.spec.workflow_ref.name))
    ended = agent_walk.ending(run, walk, workflow, world.now()) if walk.open else None
    if not walk.open or ended is not None or walk.late:
        world.queue.add(Work("AgentRun", key), f"Approval/{approval.metadata.name}")
        how = ended.how if ended is not None else walk.found.ending or "Expired"
        raise Blocked("RunEnded", f"AgentRun {key} is over ({how}): the Approval is of no use")
    if walk.asked is None:
        raise Blocked("NotAwaited", f"AgentRun {key} waits for no approval now")
    return walk.asked


def _refuse(world: World, approval: Approval, run: AgentRun, policy: AgentPolicy, asked: Asked) -> None:
    """Raise Blocked unless the Approval stands, is of what waits, and is by somebody who may approve it."""
    if approvals.expired(approval, world.now()):
        said = f"it expired at {approval.spec.expires_time} and was not used: make a new one"
        raise Blocked("Expired", said)
    wanted = asked.digest(run.metadata.uid)
    if approval.spec.digest != wanted:
        name, namespace = run.metadata.name, run.metadata.namespace
        raise Blocked(
            "DigestMismatch",
            f"its digest is not that of what AgentRun {run.metadata.key} waits with, {wanted}: `paybill agents approve "
            f"{name} -n {namespace}` shows it",
        )
    others = [world.declared.policies.get(one.key) for one in world.declared.policies_of(policy.spec.tenant_ref.name)]
    agents = [agent for one in others if one is not None for agent in one.spec.subjects]
    agent_approval.refuse(approval, run.spec.requested_by, [*agents, *policy.spec.subjects])


async def _tell(world: World, session: Session, approval: Approval, run: AgentRun, place: Site, asked: Asked) -> None:
    spec, uid = approval.spec, approval.metadata.uid
    word = Word(
        run=run_id(run),
        step=asked.step,
        call=asked.call.digest,
        approval=uid,
        approver=spec.approver,
        denied=spec.decision == "Deny",
    )
    step = Step(
        action="run.deny" if word.denied else "run.approve",
        target=f"AgentRun/{run.metadata.key}",
        act=lambda: told.tell(session, word),
        inputs={"approval": uid, "approver": spec.approver, "digest": spec.digest, "call": word.call},
    )
    await take(world, place.scope, [step])
