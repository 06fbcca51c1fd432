"""What the command line makes of the moments that a Subscription reports."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from paybill.api.plan import PlanSpec
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.lifecycle.subscription import EffectTimes
from paybill.lifecycle.terms import reported_times, terms

TRIAL = PlanSpec.model_validate({"isolation": {"model": "Pooled"}, "trialDays": 14})


@pytest.mark.parametrize(
    ("trial_end", "ready"),
    [
        ("2026-01-15T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("0001-01-05T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_trial_began_its_days_before_its_end_or_when_the_calendar_did(trial_end: str, ready: datetime) -> None:
    spec = {"tenantRef": {"name": "acme"}, "planRef": {"name": "growth"}}
    status = {"anchors": {"trialEndTime": trial_end}}
    found = Subscription.model_validate({"metadata": {"name": "acme"}, "spec": spec, "status": status})
    assert reported_times(found, TRIAL).ready == ready


@pytest.mark.parametrize(
    ("said", "began", "start"),
    [
        ("2026-01-01T00:00:00Z", 2, 1),
        (None, 2, 2),
        (None, None, 3),
    ],
    ids=["what the spec says", "what was remembered", "when the object was made"],
)
def test_a_contract_starts(said: str | None, began: int | None, start: int) -> None:
    spec = {"tenantRef": {"name": "acme"}, "planRef": {"name": "growth"}} | ({"startTime": said} if said else {})
    metadata = {"name": "acme", "creationTimestamp": "2026-01-03T00:00:00Z"}
    contract = terms(
        Subscription.model_validate({"metadata": metadata, "spec": spec}),
        TRIAL,
        Tenant.model_validate({"metadata": {"name": "acme"}, "spec": {}}),
        snapshot=None,
        times=EffectTimes(),
        now=datetime(2026, 2, 1, tzinfo=UTC),
        began=datetime(2026, 1, began, tzinfo=UTC) if began else None,
    )
    assert contract.start == datetime(2026, 1, start, tzinfo=UTC)
