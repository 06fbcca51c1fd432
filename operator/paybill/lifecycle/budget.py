"""How many suspensions and deletions a cell may see in an hour.

A mistake in the payment data, or a folder pruned by GitOps, must not stop a whole cell at once. Absent limits are the
greater of a floor and one per cent of the cell, so that they grow with it.
"""

from __future__ import annotations

from paybill.api.cell import CellLimits

SUSPENSIONS_FLOOR = 10
DELETIONS_FLOOR = 5


def suspensions_per_hour(limits: CellLimits | None, tenants: int) -> int:
    """Allowed suspensions in any hour for a cell of ``tenants`` tenants."""
    return _allowed(limits.suspensions_per_hour if limits else None, SUSPENSIONS_FLOOR, tenants)


def deletions_per_hour(limits: CellLimits | None, tenants: int) -> int:
    """Allowed deletions in any hour for a cell of ``tenants`` tenants."""
    return _allowed(limits.deletions_per_hour if limits else None, DELETIONS_FLOOR, tenants)


def _allowed(declared: int | None, floor: int, tenants: int) -> int:
    return declared if declared is not None else max(floor, tenants // 100)
