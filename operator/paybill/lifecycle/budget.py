"""How many suspensions and deletions a cell may see in an hour.

A mistake in the payment data, or a folder pruned by GitOps, must not stop a whole cell at once. Absent limits are the
greater of a floor and one per cent of the cell, so that they grow with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from paybill.api.cell import CellLimits


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One kind of destructive step: the action it is counted by, how people call it, and its floor per hour."""

    action: str
    what: str
    reason: str
    floor: int

    def per_hour(self, limits: CellLimits | None, tenants: int) -> int:
        """How many are allowed in any hour in a cell of ``tenants`` tenants."""
        declared = getattr(limits, f"{self.what}_per_hour") if limits is not None else None
        return declared if declared is not None else max(self.floor, tenants // 100)


SUSPENSIONS = Budget(action="tenant.suspend", what="suspensions", reason="SuspensionBudgetSpent", floor=10)
DELETIONS = Budget(action="tenant.drop", what="deletions", reason="DeletionBudgetSpent", floor=5)
