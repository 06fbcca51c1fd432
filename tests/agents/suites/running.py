"""Leads an agent through a workflow as the database does: what comes next, its one call, what it answered."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from paybill.agents import leading
from paybill.agents.journal import verify
from paybill.agents.leading import story
from paybill.agents.opening import budget, grants
from paybill.agents.reading import entries, heads
from paybill.agents.replay import differences
from paybill.agents.runs import Grant, Lead, close_run, open_run
from paybill.agents.sound import check
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.desired.approval import digest
from tests.agents.conftest import administrator
from tests.agents.suites.stage import Stage

MOST = 100
"""Steps after which a run does not end."""


@dataclass
class Led:
    """A run that is over; ``asked`` counts approvals."""

    id: uuid.UUID
    ending: str = ""
    reason: str = ""
    asked: int = 0


def workflow_of(stage: Stage, name: str) -> AgentWorkflowSpec:
    workflow = AgentWorkflowSpec.model_validate(stage.suite.workflows[name])
    check(workflow, stage.policy, stage.facts.schema_)
    return workflow


async def opened(
    stage: Stage, workflow: AgentWorkflowSpec, given: dict[str, Any] | None, granted: Sequence[Grant] = ()
) -> uuid.UUID:
    """A new run, led with what it is ``given``; with nothing, it may do what is ``granted``, or all steps at once."""
    run, limits = uuid.uuid4(), replace(budget(workflow), time=timedelta(minutes=30))
    leads = Lead(workflow=workflow, input=given) if given is not None else workflow.revision
    async with administrator(stage.at, stage.database) as session:
        await open_run(session, run, stage.role, leads, limits, granted or grants(workflow))
    return run


async def lead(stage: Stage, task, agent, driver_of) -> Led:
    """Run ``task`` to its end by what the database says to the agent; a person's approval comes from elsewhere."""
    workflow = workflow_of(stage, task.workflow)
    led = Led(await opened(stage, workflow, dict(task.input)))
    driver = driver_of(stage, led.id)
    async with administrator(stage.at, stage.database) as admin:
        try:
            for _ in range(MOST):
                stands = driver.next()
                match stands["next"]:
                    case "done":
                        led.ending, led.reason = stands["ending"], stands["reason"]
                        agent.ends(driver)
                        await close_run(admin, led.id, led.ending)
                        return led
                    case "decision":
                        decide(agent, driver, workflow, stands["step"])
                    case "approval":
                        led.asked += 1
                        await decided_by_a_person(admin, led, workflow, task)
                    case _:
                        answer = driver.go_on(stands)
                        if answer.error:
                            driver.fail(stands["step"], answer.error)
                        else:
                            agent.reads(answer.rows, driver)
        finally:
            driver.close()
    raise AssertionError(f"{task.name} does not end")


def decide(agent, driver, workflow: AgentWorkflowSpec, step: str) -> None:
    """What the agent says; what is no value of the list is refused, and it says the first one that is."""
    if driver.decide(step, agent.decides(step, workflow, driver)).error:
        out = next(one.out for one in workflow.steps if one.name == step)
        assert not driver.decide(step, {name: allowed[0] for name, allowed in out.items()}).error


async def decided_by_a_person(admin, led: Led, workflow: AgentWorkflowSpec, task) -> None:
    """A person approves the one call that the task is for, which they make out by its arguments alone."""
    stands = await leading.standing(admin, led.id)
    asked = next(one for one in workflow.steps if one.name == stands["step"]).next[0].to
    uses = next(one for one in workflow.steps if one.name == asked).uses
    content = {"workflow": workflow.revision, "step": asked, "uses": uses}
    approved = task.approves is not None and stands["digest"] == digest(
        {**content, "arguments": dict(sorted(task.approves.items()))}
    )
    await leading.approve(
        admin, led.id, stands["step"], stands["digest"], approval=str(uuid.uuid4()), approver="ann", denied=not approved
    )


async def replayed(stage: Stage, led: Led) -> list[str]:
    """What is wrong when the run is played again from what is kept of it, and held against its journal."""
    async with administrator(stage.at, stage.database) as admin:
        journal = [entry async for entry in entries(admin, led.id)]
        wrong = [f"row {one.seq}: {one.message}" for one in differences(await story(admin, led.id), journal)]
        ends = [head for head in await heads(admin) if head.writer == led.id]
    wrong += [one.message for one in verify(journal, (), ends).problems]
    if journal[-1].kind != "closed" or journal[-1].digest != led.ending:
        wrong.append("the journal closes it otherwise")
    return wrong
