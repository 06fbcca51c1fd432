"""What one reconcile of one Tenant finds out on its way, handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass

from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.lifecycle.change import Change
from paybill.lifecycle.tenant import Course
from paybill.reconcile.contract import Standing

COUNTED_WITHIN = 0.5
"""Seconds until a Plan counts its tenants anew: once for many that settle together, soon enough for the next wave."""


@dataclass(kw_only=True)
class Pass:
    """What one reconcile of one Tenant has found out so far."""

    tenant: Tenant
    cause: str
    claim: Claim | None
    standing: Standing
    course: Course
    change: Change | None = None
    degraded: tuple[str, ...] = ()
