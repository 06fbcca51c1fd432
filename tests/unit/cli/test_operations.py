"""What ``paybill approve`` writes: an Approval that holds, also where an older one of these changes no longer does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from paybill.api.tenant import Tenant
from paybill.cli.lookup import utcnow
from paybill.cli.operations import _write_approval
from paybill.desired.resource import Key

DIGEST = "sha256:" + "0f" * 32
ACME = Tenant.model_validate({"metadata": {"name": "acme", "uid": "u1"}, "spec": {"displayName": "Acme"}})
NAME = f"acme-{DIGEST[7:19]}"


class Cluster:
    """Knows at most one Approval, and keeps what is created."""

    def __init__(self, before: dict[str, Any] | None) -> None:
        self.before = before
        self.created: list[dict[str, Any]] = []

    async def whoami(self) -> str:
        return "zoe"

    async def get(self, key: Key) -> dict[str, Any] | None:
        return self.before if key.name == NAME else None

    async def create(self, obj: dict[str, Any]) -> None:
        self.created.append(obj)


def approval(*, hours: float, uid: str = "u1") -> dict[str, Any]:
    until = (utcnow() + timedelta(hours=hours)).isoformat()
    subject = {"kind": "Tenant", "name": "acme", "uid": uid}
    return {"metadata": {"name": NAME, "uid": "a"}, "spec": {"subject": subject, "digest": DIGEST, "approver": "zoe",
            "expiresTime": until}}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "writes"),
    [
        pytest.param(None, True, id="none"),
        pytest.param(approval(hours=1), False, id="one that holds"),
        pytest.param(approval(hours=-1), True, id="one that is over"),
        pytest.param(approval(hours=1, uid="u0"), True, id="one of a Tenant that is gone"),
    ],
)
async def test_the_word_that_was_given_holds_afterwards(before: dict[str, Any] | None, writes: bool) -> None:
    cluster = Cluster(before)
    name = await _write_approval(cluster, ACME, DIGEST, None)  # type: ignore[arg-type]
    assert [one["metadata"]["name"] for one in cluster.created] == ([name] if writes else [])
    assert name.startswith(NAME)
    assert (name == NAME) is (before is None or not writes)
