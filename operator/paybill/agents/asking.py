"""What a run waits with for a person, out of its workflow and its events: the call, and what of it to be wary of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from paybill.agents import showing, sound
from paybill.agents.facts import Schema
from paybill.agents.interpreter import Await, Call, Next
from paybill.api.agent_policy import AgentPolicySpec
from paybill.api.agent_run import RunApproval
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.desired import approval as approvals


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call that waits; ``entered``: the how-manyth time that the run is at ``step``."""

    step: str
    entered: int
    call: Call

    @classmethod
    def of(cls, coming: Next) -> Self | None:
        """What waits for a person, if that is what comes next in a run."""
        match coming:
            case Await(of="approval", call=Call() as call):
                return cls(step=coming.step, entered=coming.entered, call=call)
            case _:
                return None

    def digest(self, run_uid: str) -> str:
        """What an Approval of it names."""
        return approvals.agents_call(run_uid, self.step, self.entered, self.call.digest)

    def shown(
        self, run_uid: str, workflow: AgentWorkflowSpec, policy: AgentPolicySpec, schema: Schema | None
    ) -> RunApproval:
        """As a person is shown it; ``schema`` is of the tables that the policy was carried out for."""
        wary = sound.untrusted(workflow, self.call.step, policy, schema)
        return RunApproval(
            step=self.step,
            uses=showing.word(self.call.uses),
            arguments=showing.arguments(self.call, wary),
            digest=self.digest(run_uid),
            call_digest=self.call.digest,
        )
