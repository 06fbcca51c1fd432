"""When a final backup may go by its date: never while nothing else is left, and not before its days are over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.policies import Payment
from paybill.api.tenant_backup import TenantBackup
from paybill.control.facts import Facts
from paybill.reconcile import backup_schedule, final_backup

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NAME = "k3x9m2qd-archive-20260301000000"
FACTS = Facts(subscription_uid="s", tenant_uid="t", phase="Active")
CLAIM: dict[str, Any] = {
    "id": "k3x9m2qd", "state": "claimed", "archive": None, "ready_time": NOW - 2 * DAY, "subscription_uid": "s",
    "plan_name": "p", "plan_revision": "r",
}  # fmt: skip


def backup(name: str = NAME, label: str = "k3x9m2qd", **spec: Any) -> TenantBackup:
    return TenantBackup.model_validate(
        {
            "metadata": {"name": name, "uid": "b", "labels": {"paybill.dev/tenant": label}},
            "spec": {"tenantRef": {"name": "acme"}, "reason": "Final", **spec},
            "status": {"tenantId": "k3x9m2qd", "verifiedTime": (NOW - 30 * DAY).isoformat()},
        }
    )


def world(claim: dict[str, Any] | None = None, facts: Facts | None = FACTS) -> Any:
    found = SimpleNamespace(**(claim or CLAIM))
    content = SimpleNamespace(payment=Payment(archive_days=10))
    return SimpleNamespace(
        registry=SimpleNamespace(by_id=lambda _: found),
        facts=SimpleNamespace(get=lambda _: facts),
        revisions=SimpleNamespace(get=lambda *_: content),
        now=lambda: NOW,
    )


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The last days that were given."""
    days: list[datetime] = []

    async def let_expire(_world: Any, _claim: Any, _backup: Any, expires: datetime, _cause: str) -> None:
        days.append(expires)

    monkeypatch.setattr(backup_schedule, "let_expire", let_expire)
    return days


async def test_who_is_served_again_keeps_it_for_the_archives_days_from_then_on(given: list[datetime]) -> None:
    assert await final_backup.spared(world(), backup(), "test") == NOW + 8 * DAY
    assert given == [NOW + 8 * DAY]


async def test_one_that_was_proved_for_an_archive_that_never_came_has_its_days_from_the_proof(
    given: list[datetime],
) -> None:
    claim = CLAIM | {"ready_time": NOW - 300 * DAY}
    assert await final_backup.spared(world(claim), backup(), "test") == NOW - 20 * DAY
    assert given == [NOW - 20 * DAY]


AGAIN = NOW + final_backup.SPARE_AGAIN


@pytest.mark.parametrize(
    ("claim", "facts", "one", "again"),
    [
        pytest.param({"archive": NAME}, FACTS, backup(), None, id="it is all that there is: who comes back asks"),
        pytest.param({}, FACTS, backup(name="mine"), None, id="somebody's own"),
        pytest.param({}, FACTS, backup(label="other123"), None, id="no mark of ours"),
        pytest.param({}, FACTS, backup(reason="Manual"), None, id="not the last one"),
        pytest.param({"ready_time": None}, FACTS, backup(), AGAIN, id="not there yet"),
        pytest.param({"state": "deleted"}, FACTS, backup(), AGAIN, id="it is deleted"),
        pytest.param({}, None, backup(), AGAIN, id="nobody knows of its contract"),
        pytest.param({}, replace(FACTS, ended_time=NOW), backup(), AGAIN, id="its contract is over"),
        pytest.param({}, replace(FACTS, archived_time=NOW), backup(), AGAIN, id="archived again"),
    ],
)
async def test_otherwise_it_gets_no_last_day(
    given: list[datetime], claim: dict[str, Any], facts: Facts | None, one: TenantBackup, again: datetime | None
) -> None:
    assert await final_backup.spared(world(CLAIM | claim, facts), one, "test") == again
    assert given == []


ENDS = {"expireTime": (NOW - DAY).isoformat()}


@pytest.mark.parametrize(
    ("claim", "expires"),
    [
        pytest.param({"archive": NAME}, None, id="an archived tenant has nothing else"),
        pytest.param({"archive": NAME, "state": "released"}, None, id="nor one that may be adopted"),
        pytest.param({"archive": NAME, "state": "deleted"}, NOW - DAY, id="its tenant is deleted"),
        pytest.param({"archive": "another"}, NOW - DAY, id="another one is the archive"),
        pytest.param({}, NOW - DAY, id="it is not archived"),
    ],
)
def test_a_date_ends_what_somebody_has_beside_it(claim: dict[str, Any], expires: datetime | None) -> None:
    assert final_backup.expiry(world(CLAIM | claim), backup(**ENDS)) == expires
