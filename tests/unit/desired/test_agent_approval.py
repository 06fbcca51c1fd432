"""Who may not approve what an agent waits with, and what the digest of such an Approval tells apart."""

from __future__ import annotations

import pytest

from paybill.api.agent_policy import AgentSubject
from paybill.api.approval import Approval
from paybill.api.failures import Blocked
from paybill.desired import agent_approval
from paybill.desired import approval as approvals

BOT = AgentSubject.model_validate({"serviceAccount": {"namespace": "acme", "name": "bot"}})
SUBJECT = {"kind": "AgentRun", "namespace": "t-k3x9m2qd", "name": "refund-7", "uid": "uid-1"}


def by(approver: str, decision: str = "Approve") -> Approval:
    spec = {"subject": SUBJECT, "digest": "sha256:" + "0" * 64, "approver": approver, "decision": decision}
    return Approval.model_validate({"metadata": {"name": "a", "uid": "u"}, "spec": spec})


def test_attack_24_somebody_else_may() -> None:
    agent_approval.refuse(by("ann"), "bob", [BOT])


@pytest.mark.parametrize("decision", ["Approve", "Deny"])
@pytest.mark.parametrize(
    ("approver", "reason"),
    [("ann", "ApproverIsRequester"), ("system:serviceaccount:acme:bot", "ApproverIsAgent")],
)
def test_attack_24_who_asked_and_who_is_the_agent_may_not(approver: str, reason: str, decision: str) -> None:
    with pytest.raises(Blocked) as refused:
        agent_approval.refuse(by(approver, decision), "ann", [BOT])
    assert refused.value.reason == reason
    agent_approval.refuse(by(approver, decision), "bob", [])


def test_an_account_of_that_name_elsewhere_is_nobodys_agent() -> None:
    agent_approval.refuse(by("system:serviceaccount:globex:bot"), "ann", [BOT])


def test_attack_24_whatever_is_different_has_another_digest() -> None:
    one = ("uid-1", "ok", 1, "sha256:1")
    others = [("uid-2", *one[1:]), (one[0], "no", *one[2:]), (*one[:2], 2, one[3]), (*one[:3], "sha256:2")]
    assert len({approvals.agents_call(*each) for each in (one, *others)}) == 5
    assert approvals.agents_call(*one) != approvals.adoption("k3x9m2qd", "uid-1")
