"""What the command line makes of the moments that a Subscription reports."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from paybill.api.plan import PlanSpec
from paybill.api.subscription import Subscription
from paybill.lifecycle.terms import reported_times

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
