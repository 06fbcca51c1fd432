"""When a tenant's infrastructure is compared with what was applied, and what follows from a difference. Pure.

The moment is an anchor plus a span: the last look, or the last change, plus what the Cell says, plus a share of it that
depends on the tenant, so that a thousand tenants that were made on one day are not all looked at in one minute.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Literal

Policy = Literal["Ignore", "Report", "Remediate"]

SPREAD = 0.25
"""The greatest share of the span that a tenant's look comes later."""


def next_look(
    tenant_id: str, policy: Policy, every: timedelta, applied: datetime | None, checked: datetime | None
) -> datetime | None:
    """When to look next; None where nobody wants to know, or nothing was applied."""
    if policy == "Ignore" or applied is None:
        return None
    anchor = applied if checked is None else max(applied, checked)
    share = int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:4], "big") / 2**32
    return anchor + every * (1 + SPREAD * share)


def remediates(policy: Policy, *, drifted: bool) -> bool:
    """Whether what was applied is to be applied again."""
    return policy == "Remediate" and drifted
