"""A deleted Tenant goes, also where its own server is broken and its logins cannot be closed first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.failures import Blocked, Failure, Retry
from paybill.reconcile import deletion

ASKED = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAY, NO_LOGIN = Retry("DatabaseUnreachable", "no route"), Blocked("AdminLoginUnknown", "no password")


@pytest.mark.parametrize(
    ("failure", "level", "minutes", "goes"),
    [
        pytest.param(AWAY, "Server", 9, False, id="it may answer yet"),
        pytest.param(AWAY, "Server", 10, True, id="it has not for long"),
        pytest.param(NO_LOGIN, "Server", 10, True, id="it never had an administrator"),
        pytest.param(AWAY, "Schema", 60, False, id="a shared server outlives its tenant: its logins must be closed"),
        pytest.param(Retry("Halted", "by zoe"), "Server", 60, False, id="a halt is nothing broken"),
        pytest.param(Blocked("EpochLost", "another leads"), "Server", 60, False, id="nor is another leader"),
    ],
)
async def test_how_long_a_deletion_waits_for_logins_to_be_closed(
    monkeypatch: pytest.MonkeyPatch, failure: Failure, level: str, minutes: int, goes: bool
) -> None:
    taken: list[str] = []

    async def fence(*_: object) -> None:
        raise failure

    async def take(_world: object, _scope: object, steps: list[Any]) -> None:
        taken.extend(step.action for step in steps)

    monkeypatch.setattr(deletion, "_fence", fence)
    monkeypatch.setattr(deletion, "take", take)
    monkeypatch.setattr(deletion, "ask", lambda *_: None)
    metadata = SimpleNamespace(name="acme", deletion_timestamp=ASKED)
    tenant: Any = SimpleNamespace(metadata=metadata, spec=SimpleNamespace(deletion_policy="Delete"))
    claim: Any = SimpleNamespace(
        tenant_uid="uid",
        id="k3x9m2qd",
        cell="eu",
        level=level,
        state="claimed",
        tenant_name="acme",
        plan_name="p",
        archive=None,
    )
    world: Any = SimpleNamespace(
        moves=SimpleNamespace(of=lambda _: None),
        declared=SimpleNamespace(approvals_of=lambda _: []),
        now=lambda: ASKED + timedelta(minutes=minutes),
        queue=SimpleNamespace(add=lambda *_: None),
    )
    stopped: Failure | None = None
    try:
        await deletion._release(world, tenant, claim, "test")
    except Failure as happened:
        stopped = happened
    assert (taken, stopped) == ((["tenant.delete"], None) if goes else ([], failure))
