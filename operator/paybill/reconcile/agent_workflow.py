"""One AgentWorkflow: whether it can be walked at all, and the revision by which runs know it.

Nothing outside is made of it. What its steps may do is asked when a run is opened, of the policy and the tables there
are then.
"""

from __future__ import annotations

from datetime import datetime

from paybill.agents import sound
from paybill.api import conditions as c
from paybill.api.agent_workflow import AgentWorkflow
from paybill.api.failures import Failure
from paybill.desired.names import PAUSED_ANNOTATION
from paybill.reconcile import report
from paybill.reconcile.status import Fact
from paybill.reconcile.world import World


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Say what an AgentWorkflow is; nothing of it ever has to be looked at again."""
    workflow = world.declared.workflows.get(name)
    if workflow is None or workflow.metadata.annotations.get(PAUSED_ANNOTATION) == "true":
        return None
    if workflow.metadata.deletion_timestamp is not None:
        await report.let_go(world, workflow)  # we never hold one, but nobody else would ever take our finalizer off
        return None
    failure: Failure | None = None
    try:
        sound.walkable(workflow.spec)
    except Failure as unsound:
        failure = unsound
    await _tell(world, workflow, failure)
    if failure is not None:
        raise failure
    return None


async def _tell(world: World, workflow: AgentWorkflow, failure: Failure | None) -> None:
    done = Fact(type=c.READY, status=c.TRUE, reason="Sound", message=f"{len(workflow.spec.steps)} steps")
    status = workflow.status.model_copy(update={"revision": workflow.spec.revision})
    await report.tell(world, world.declared.workflows, workflow, status, failure, done)
