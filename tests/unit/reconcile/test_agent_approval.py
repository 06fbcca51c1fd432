"""Which Approvals of an agent's call are never looked at again, and which wait for what passes by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from paybill.api.approval import Approval
from paybill.reconcile.agent_approval import refused

RUN = {"kind": "AgentRun", "namespace": "t-k3x9m2qd", "name": "refund-7", "uid": "uid-1"}
TENANT = {"kind": "Tenant", "name": "acme", "uid": "uid-1"}


def approval(reason: str, *, status: str = "True", kind: str = "Stalled", subject: Any = RUN) -> Approval:
    said = {
        "type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": 1,
        "lastTransitionTime": datetime(2026, 11, 29, tzinfo=UTC),
    }  # fmt: skip
    spec = {"subject": subject, "digest": "sha256:" + "0" * 64, "approver": "bob"}
    return Approval.model_validate(
        {"metadata": {"name": "a", "uid": "u"}, "spec": spec, "status": {"conditions": [said]}}
    )


@pytest.mark.parametrize(
    "reason", ["ApproverIsAgent", "ApproverIsRequester", "DigestMismatch", "Expired", "NotAwaited", "RunEnded"]
)
def test_attack_24_what_was_refused_once_stays_refused(reason: str) -> None:
    assert refused(approval(reason))
    assert not refused(approval(reason, status="False"))
    assert not refused(approval(reason, kind="Reconciling"))
    assert not refused(approval(reason, subject=TENANT)), "what a Tenant waits for may come to fit"


@pytest.mark.parametrize("reason", ["DatabaseError", "IsolationTooLow", "WrongNamespace", "JournalDiverges"])
def test_what_somebody_can_put_right_is_looked_at_again(reason: str) -> None:
    assert not refused(approval(reason))


def test_a_new_one_is_looked_at() -> None:
    one = approval("NotAwaited")
    assert not refused(one.model_copy(update={"status": one.status.model_copy(update={"conditions": ()})}))
