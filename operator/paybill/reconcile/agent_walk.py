"""How one run stands: what its tenant's database says of it, what comes next in its workflow, and whether it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from paybill.agents import leading, runs
from paybill.agents.asking import Asked
from paybill.agents.interpreter import Call, Done, Next, following
from paybill.agents.leading import Story
from paybill.agents.runs import Standing
from paybill.api.agent_run import AgentRun
from paybill.api.agent_workflow import AgentWorkflow
from paybill.databases.server import Session

REPEAT_WITHIN: Final = timedelta(seconds=30)
"""How long after the last call of a run it may be repeated, because its answer may have been lost."""
UNDO_WITHIN: Final = timedelta(minutes=10)
"""How long after the deadline of a run its agent may still undo what it did."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A run; ``story`` and ``coming`` are of one that is open and led through its workflow."""

    found: Standing
    story: Story | None = None
    coming: Next | None = None

    @property
    def open(self) -> bool:
        """Whether it was not closed yet."""
        return self.found.closed is None

    @property
    def asked(self) -> Asked | None:
        """What waits for a person."""
        return Asked.of(self.coming) if self.coming is not None else None

    @property
    def stirs(self) -> bool:
        """Whether it has to be looked at often: its workflow may come to wait for a person, or it is about to end."""
        asks = self.story is not None and any(step.uses == "approve" for step in self.story.workflow.steps)
        return asks or isinstance(self.coming, Done)

    @property
    def late(self) -> bool:
        """Whether its deadline passed and its journal does not say so yet."""
        undoes = isinstance(self.coming, Call) and self.coming.compensates
        return self.found.over and self.coming is not None and not isinstance(self.coming, Done) and not undoes


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ends, and where its workflow says so at which step and for what."""

    how: str
    step: str | None = None
    reason: str | None = None


def run_id(run: AgentRun) -> UUID:
    """A run's id in the database is the UID of its object."""
    return UUID(run.metadata.uid)


async def look(session: Session, run: UUID, login: str, now: datetime, *, walk: bool = True) -> Walk | None:
    """How the run of the agent with this login stands; None when it was never opened.

    Without ``walk`` its story is not read: whoever ends it anyway need not be able to.
    Raises ``Invalid("JournalDiverges")`` when the database has come to something else than the workflow does.
    """
    found = await runs.look(session, run, login)
    if found is None or not found.led or found.closed is not None or not walk:
        return Walk(found=found) if found is not None else None
    story = await leading.story(session, run)
    return Walk(found=found, story=story, coming=following(story.run, story.events, now))


def _repeatable(walk: Walk, now: datetime) -> bool:
    """Whether the agent of a run that is done may still ask for the answer to its last call."""
    found = walk.found
    if found.over or found.policy != found.current_policy or found.schema_changed:
        return False
    last = walk.story.events[-1].kind if walk.story is not None and walk.story.events else ""
    return last in ("call", "compensation") and now < found.newest + REPEAT_WITHIN


def ending(run: AgentRun, walk: Walk, workflow: AgentWorkflow | None, now: datetime) -> Ended | None:
    """Why a run that is open has to end now; ``workflow`` is the object that has its name now."""
    found = walk.found
    if isinstance(walk.coming, Done) and not _repeatable(walk, now):
        return Ended(how=walk.coming.ending, step=walk.coming.step, reason=walk.coming.reason or None)
    if run.spec.cancel:
        return Ended(how="Cancelled")
    if found.policy != found.current_policy:
        return Ended(how="PolicyChanged")
    if found.schema_changed:
        return Ended(how="SchemaChanged")
    if walk.asked is not None and workflow is not None and workflow.spec.revision != found.workflow:
        return Ended(how="WorkflowChanged", step=walk.asked.step)
    if not found.over or walk.late:
        return None
    if walk.story is None or not isinstance(walk.coming, Call):
        return Ended(how="Expired")
    expired = any(event.kind == "expired" for event in walk.story.events)
    left = Ended(how="Expired" if expired else "Failed", step=walk.coming.step, reason="NotUndone")
    return left if now >= found.deadline + UNDO_WITHIN else None
