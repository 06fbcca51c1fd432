"""A Tenant with its contract, as a reconcile has them in hand when it writes its statuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.lifecycle.subscription import Contract, decide, settle
from paybill.lifecycle.tenant import Course, course
from paybill.reconcile.contract import Standing
from tests.unit.lifecycle.contracts import START, at

CLAIM = Claim(
    id="k3x9m2qd", installation="paybill", tenant_name="acme", tenant_uid="uid-acme", state="claimed", cell="eu-west-1",
    server="pool-1", compute="Namespace", level="Schema", pool_database="pb_pool_1", plan_name="growth",
    plan_revision="0123456789", subscription_name="acme-growth", subscription_uid="uid-sub", binding_uid="uid-secret",
    binding_version="7", ready_time=START, delete_requested_time=None, drop_after=None, deletion_policy=None,
    created_time=START, updated_time=START, version=3,
    origin_uid="uid-acme", drop_started_time=None, adopted_time=None, adopted_by=None, continues_uid=None,
)  # fmt: skip
FRESH = replace(CLAIM, ready_time=None, binding_uid=None, binding_version=None)
SHARED = replace(CLAIM, compute="Shared")


def tenant(*, generation: int = 4, status: dict[str, Any] | None = None, **metadata: Any) -> Tenant:
    """The Tenant acme."""
    head = {"name": "acme", "uid": "uid-acme", "generation": generation, **metadata}
    return Tenant.model_validate({"metadata": head, "spec": {}, "status": status or {}})


def subscription(*, generation: int = 2, status: dict[str, Any] | None = None) -> Subscription:
    """Its Subscription."""
    return Subscription.model_validate({
        "metadata": {"name": "acme-growth", "uid": "uid-sub", "generation": generation},
        "spec": {"tenantRef": {"name": "acme"}, "planRef": {"name": "growth"}},
        "status": status or {},
    })  # fmt: skip


def standing(contract: Contract, days: float, **known: Any) -> Standing:
    """Where a contract stands so many days after its start."""
    now = at(days)
    verdict = decide(contract, now)
    return Standing(
        **{
            "phase": verdict.phase, "because": verdict.because, "verdict": verdict, "subscription": subscription(),
            "times": settle(contract.times, verdict.phase, now), "plan_name": "growth", "holds": contract.holds,
        } | known
    )  # fmt: skip


def course_of(found: Standing, *, exists: bool = True) -> Course:
    """What that calls for."""
    return course(found.phase, found.because, exists=exists, holds=found.holds)


def whole_seconds(time: datetime) -> datetime:
    return time.replace(microsecond=0)
