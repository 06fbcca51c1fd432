"""Leads an agent through a workflow as its controller would: what comes next, its one call, what it answered."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from paybill.agents.interpreter import Await, Call, Done, Event, Run, following, parted
from paybill.agents.reading import entries
from paybill.agents.runs import FREE, Budget, Grant, close_run, end_step, grant, open_run
from paybill.agents.sound import check
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.desired.approval import digest
from paybill.gateway.toolbox import WRITES
from tests.agents.conftest import administrator
from tests.agents.suites.stage import Stage

MOST = 100
"""Steps after which a run does not end."""


@dataclass
class Led:
    """A run that is over: ``calls`` are those that were made, with their keys; ``asked`` counts approvals."""

    id: uuid.UUID
    run: Run
    ending: str = ""
    reason: str = ""
    asked: int = 0
    events: list[Event] = field(default_factory=list)
    told: list[tuple[str, str, str, str]] = field(default_factory=list)
    """What the journal must say: kind, step, operation, key or digest."""


def workflow_of(stage: Stage, name: str) -> AgentWorkflowSpec:
    workflow = AgentWorkflowSpec.model_validate(stage.suite.workflows[name])
    check(workflow, stage.policy, stage.facts.schema_)
    return workflow


def grants_of(workflow: AgentWorkflowSpec) -> list[Grant]:
    operations = [(step, step.uses) for step in workflow.steps if step.uses not in ("decide", "approve")]
    operations += [(step, step.compensate.uses) for step in workflow.steps if step.compensate is not None]
    return [
        Grant(step=step.name, collection=uses.rpartition(".")[0], operation=uses.rpartition(".")[2],
              calls=step.max_calls, rows=step.max_rows)
        for step, uses in operations
    ]  # fmt: skip


def freely(workflow: AgentWorkflowSpec) -> list[Grant]:
    """What all steps may do together, in any order."""
    together: dict[tuple[str, str], Grant] = {}
    for one in grants_of(workflow):
        known = together.get((one.collection, one.operation))
        calls, rows = (one.calls, one.rows) if known is None else (known.calls + one.calls, max(known.rows, one.rows))
        together[one.collection, one.operation] = replace(one, step=FREE, calls=calls, rows=rows)
    return list(together.values())


async def opened(
    stage: Stage, workflow: AgentWorkflowSpec, grants: list[Grant], known: uuid.UUID | None = None
) -> uuid.UUID:
    run, limits = known or uuid.uuid4(), workflow.limits
    budget = Budget(
        calls=limits.max_steps, rows_read=limits.rows_read, rows_written=limits.rows_written, time=timedelta(minutes=30)
    )
    async with administrator(stage.at, stage.database) as session:
        await open_run(session, run, stage.role, workflow.revision, budget, grants)
    return run


READ = {"Integer": int, "Boolean": lambda value: str(value).lower() == "true"}


def read(column, value: Any) -> Any:
    """Constants of a workflow are text: the column says what they are."""
    return READ[column.kind](value) if column is not None and column.kind in READ else value


def spoken(stage: Stage, uses: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call, as the operation takes them."""
    collection, _, operation = uses.rpartition(".")
    table = stage.facts.schema_.by_name[collection]
    typed = {name: read(table.by_name.get(name), value) for name, value in arguments.items()}
    if (match := arguments.get("ifMatch")) is not None:
        typed["ifMatch"] = int(match)
    key = {name: typed.pop(name) for name in table.primary_key if name in typed}
    match operation:
        case "get" | "delete":
            return {"key": key}
        case "create":
            return {"values": {**key, **typed}}
        case "update":
            matched = {"ifMatch": typed.pop("ifMatch")} if "ifMatch" in typed else {}
            return {"key": key, "values": typed, **matched}
        case "aggregate":
            said = {name: typed.pop(name) for name in ("function", "field", "groupBy") if name in typed}
            return {**said, "where": [{"field": name, "op": "eq", "value": value} for name, value in typed.items()]}
        case _:
            chosen = {**key, **typed}
            return {"where": [{"field": name, "op": "eq", "value": value} for name, value in chosen.items()]}


def first(rows: tuple[Any, ...]) -> dict[str, Any]:
    found = rows[0][0] if rows else None
    return found if isinstance(found, dict) else {}


async def lead(stage: Stage, task, agent, driver_of) -> Led:
    """Run ``task`` to its end; each step may do something only while it is the one that comes next."""
    workflow = workflow_of(stage, task.workflow)
    led = Led(uuid.uuid4(), Run(workflow, dict(task.input), datetime.now(UTC)))
    driver = driver_of(stage, led.id)
    await opened(stage, workflow, freely(workflow) if driver.free else [], led.id)
    async with administrator(stage.at, stage.database) as admin:
        try:
            for _ in range(MOST):
                match following(led.run, led.events, datetime.now(UTC)):
                    case Done() as done:
                        led.ending, led.reason = done.ending, done.reason
                        await close_run(admin, led.id, done.ending)
                        return led
                    case Await(of="decision", step=step):
                        said = agent.decides(step, workflow, driver)
                        led.events.append(Event(kind="decision", step=step, values=said))
                        await told(admin, led, "decision", step, digest(dict(said)))
                    case Await(step=step, digest=wanted):
                        led.asked += 1
                        error = "" if approved(led, workflow, step, wanted, task) else "Denied"
                        led.events.append(Event(kind="approval", step=step, digest=wanted, error=error))
                        await told(admin, led, "approval", step, wanted)
                    case Call() as call:
                        await made(stage, admin, led, call, agent, driver)
                    case other:
                        raise AssertionError(other)
        finally:
            driver.close()
    raise AssertionError(f"{task.name} does not end")


async def told(admin, led: Led, kind: str, step: str, said: str) -> None:
    """What is no call is written down by the controller."""
    await admin.execute("SELECT pb.append(%s, %s, %s, NULL, NULL, NULL, %s, NULL)", [led.id, kind, step, said])
    led.told.append((kind, step, "", said))


def approved(led: Led, workflow: AgentWorkflowSpec, step: str, wanted: str, task) -> bool:
    """A person approves the one call that the task is for, which they make out by its arguments alone."""
    asked = next(one for one in workflow.steps if one.name == step).next[0].to
    uses = next(one for one in workflow.steps if one.name == asked).uses
    if task.approves is None:
        return False
    content = {
        "workflow": workflow.revision, "step": asked, "uses": uses, "arguments": dict(sorted(task.approves.items())),
    }  # fmt: skip
    return digest(content) == wanted


async def made(stage: Stage, admin, led: Led, call: Call, agent, driver) -> None:
    collection, _, operation = call.uses.rpartition(".")
    step = next(one for one in led.run.workflow.steps if one.name == call.step)
    limits = {"calls": step.max_calls, "rows": step.max_rows}
    if not driver.free:
        await grant(admin, led.id, [Grant(step=call.step, collection=collection, operation=operation, **limits)])
    answer = driver.say(call.uses, spoken(stage, call.uses, dict(call.arguments)), call.step, call.key)
    await end_step(admin, led.id, call.step)
    kind = "compensation" if call.compensates else "call"
    values = first(answer.rows)
    led.events.append(Event(kind=kind, step=call.step, digest=call.digest, values=values, error=answer.error))
    if not answer.error:
        key = call.key if operation in WRITES or not driver.free else None
        led.told.append(("call", driver.named(call.step), call.uses, key))
        agent.reads(answer.rows, driver)


async def replayed(stage: Stage, led: Led) -> list[str]:
    """What is wrong when the run is played again from its events, and held against its journal; nothing is done."""
    wrong = []
    if (place := parted(led.run, led.events, datetime.now(UTC) + timedelta(days=1))) is not None:
        wrong.append(f"it parts at event {place}")
    async with administrator(stage.at, stage.database) as admin:
        found = [entry async for entry in entries(admin, led.id)]
    said = [
        (one.kind, one.step, f"{one.collection}.{one.operation}", one.key) if one.kind == "call"
        else (one.kind, one.step, "", one.digest)
        for one in found if one.kind not in ("opened", "closed")
    ]  # fmt: skip
    if said != led.told:
        wrong.append(f"the journal says {said}, and the run was {led.told}")
    if found[0].digest != led.run.workflow.revision or found[-1].digest != led.ending:
        wrong.append("the journal opens or closes it otherwise")
    return wrong
