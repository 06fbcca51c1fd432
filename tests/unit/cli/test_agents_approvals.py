"""``paybill agents waiting`` and ``approve``: what is shown of a call that waits, and what is written about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from paybill.api.agent_run import AgentRun
from paybill.api.approval import Approval
from paybill.api.failures import Blocked, Invalid
from paybill.cli import agents_approvals as commands
from paybill.cli.lookup import utcnow

DIGEST = "sha256:" + "0f" * 32
ASKED = {
    "step": "ok", "uses": "orders.update", "digest": DIGEST, "callDigest": "sha256:" + "0a" * 32,
    "askedTime": "2026-11-29T05:00:00Z",
    "arguments": [
        {"name": "id", "value": '"7"'},
        {"name": "notes", "value": '"\\u{202e}', "characters": 9000, "untrusted": True},
    ],
}  # fmt: skip


def run(
    namespace: str = "t-k3x9m2qd", phase: str = "AwaitingApproval", requested_by: str = "ann", **status: Any
) -> Any:
    return {
        "metadata": {"name": "refund-7", "namespace": namespace, "uid": "uid-1"},
        "spec": {"policyRef": {"name": "p"}, "workflowRef": {"name": "w"}, "requestedBy": requested_by},
        "status": {"phase": phase, "approval": ASKED, **status},
    }


class Cluster:
    """Knows AgentRuns, keeps what is created, and has whatever is asked for used at once."""

    def __init__(self, *runs: Any) -> None:
        self.runs = runs
        self.created: list[dict[str, Any]] = []

    async def whoami(self) -> str:
        return "zoe"

    async def list(self, kind: str, *, namespace: str = "", fields: str = "") -> list[Any]:
        assert kind == "AgentRun"
        assert fields in ("", "metadata.name=refund-7")
        return [one for one in self.runs if namespace in ("", one["metadata"]["namespace"])]

    async def create(self, obj: dict[str, Any]) -> None:
        self.created.append(obj)

    async def get(self, key: Any) -> Any:
        (made,) = [one for one in self.created if one["metadata"]["name"] == key.name]
        return {**made, "metadata": {**made["metadata"], "uid": "a"}, "status": {"usedTime": "2026-11-29T05:01:00Z"}}


async def one(*runs: Any, namespace: str | None = None, digest: str | None = None) -> Any:
    return await commands._one(Cluster(*runs), "refund-7", namespace, digest)  # type: ignore[arg-type]


async def test_the_one_that_waits_is_found_wherever_it_is() -> None:
    found, asked = await one(run())
    assert (found.metadata.namespace, asked.digest) == ("t-k3x9m2qd", DIGEST)
    assert (await one(run(), run("t-other"), namespace="t-other", digest=DIGEST))[0].metadata.namespace == "t-other"


@pytest.mark.parametrize(
    ("runs", "digest", "failure", "reason"),
    [
        pytest.param([], None, Invalid, "NotFound", id="none"),
        pytest.param([run(), run("t-other")], None, Invalid, "WhichRun", id="two of the name"),
        pytest.param([run(phase="Running")], None, Invalid, "NotAwaited", id="one that goes on"),
        pytest.param([run(approval=None)], None, Invalid, "NotAwaited", id="one that is not asked for"),
        pytest.param([run()], "sha256:" + "1" * 64, Blocked, "DigestMismatch", id="another call waits by now"),
    ],
)
async def test_nothing_is_shown_but_what_waits(runs: Any, digest: Any, failure: Any, reason: str) -> None:
    with pytest.raises(failure) as refused:
        await one(*runs, digest=digest)
    assert refused.value.reason == reason


@pytest.mark.parametrize("decision", ["Approve", "Deny"])
async def test_the_word_is_of_exactly_what_was_shown_and_ends(decision: Any) -> None:
    cluster = Cluster(run())
    found, asked = await commands._one(cluster, "refund-7", None, None)  # type: ignore[arg-type]
    name = await commands._decide(cluster, found, asked, decision, timedelta(minutes=10), 5)  # type: ignore[arg-type]
    (made,) = cluster.created
    assert made["metadata"]["name"] == name
    assert len(name) <= 63
    spec = Approval.read({**made, "metadata": {**made["metadata"], "uid": "a"}}).spec
    assert spec.subject.wire() == {
        "kind": "AgentRun", "namespace": "t-k3x9m2qd", "name": "refund-7", "uid": "uid-1",
    }  # fmt: skip
    assert (spec.decision, spec.digest, spec.approver, spec.action) == (decision, DIGEST, "zoe", None)
    assert spec.expires_time is not None
    assert timedelta(minutes=9) < spec.expires_time - utcnow() <= timedelta(minutes=10)


def test_everything_that_is_asked_is_shown_and_what_is_strange_in_it_is_named() -> None:
    read = AgentRun.read(run(requested_by="ann\u202eeve"))
    assert read.status.approval is not None
    lines = list(commands._shown(read, read.status.approval))
    assert lines[:4] == [
        "AgentRun t-k3x9m2qd/refund-7 waits at step ok for a person to allow:",
        "  orders.update",
        '    id = "7"',
        "    notes = \"\\u{202e}   <- may be a stranger's text; cut: it has 9000 characters",
    ]
    text = "\n".join(lines)
    assert "ann\\u{202e}eve" in text
    assert DIGEST in text
    assert "2026-11-29T05:00:00Z" in text
