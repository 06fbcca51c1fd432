"""Who may not approve what an agent waits with: whoever asked for the run, and whoever is an agent.

Checked when an Approval is used and not when it is written: admission sees one object, and who asked for a run, and
who the agents of a tenant are, others say.
"""

from __future__ import annotations

from collections.abc import Iterable

from paybill.api.agent_policy import AgentSubject
from paybill.api.approval import Approval
from paybill.api.failures import Blocked


def refuse(approval: Approval, requested_by: str, agents: Iterable[AgentSubject]) -> None:
    """Raise ``Blocked`` (``ApproverIsRequester``, ``ApproverIsAgent``) unless its approver is somebody else.

    ``agents`` are those of every AgentPolicy of the tenant: one agent does not approve for another.
    """
    approver = approval.spec.approver
    if approver == requested_by:
        raise Blocked(
            "ApproverIsRequester", f"{approver} asked for this run: somebody else has to approve what it does"
        )
    if approver in {one.service_account.username for one in agents}:
        raise Blocked("ApproverIsAgent", f"{approver} is an agent of this tenant: a person has to approve what it does")
