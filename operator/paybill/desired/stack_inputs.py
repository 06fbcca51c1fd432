"""What a tenant's infrastructure follows from, given its place and its Plan. Pure.

Pooled tenants of a Cell whose engine makes cloud infrastructure get what is theirs alone; with a database level Server
a server of their own is part of it.
"""

from __future__ import annotations

import math
from typing import cast

from paybill.api import quantity
from paybill.api.cell import Cell
from paybill.api.limits import Compute, DatabaseLevel, IsolationModel
from paybill.api.plan import PlanSpec
from paybill.api.tenant import DeletionPolicy
from paybill.desired import names
from paybill.desired.stack import DatabaseInputs, StackInputs

DEFAULT_CONNECTIONS = 20
DEFAULT_STORAGE_GIB = 20
GIB = 1024**3
MODELS: dict[str, IsolationModel] = {"Rows": "Pooled", "Schema": "Pooled", "Database": "Bridge", "Server": "Silo"}


def has_infrastructure(cell: Cell | None, level: str) -> bool:
    """Whether a tenant of this level in this cell has infrastructure of its own."""
    engine = cell.spec.engine if cell is not None else None
    return level == "Server" or (engine is not None and engine.type != "Embedded")


def build(
    identity: names.Identity, origin_uid: str, cell: Cell, compute: str, level: str, plan: PlanSpec,
    policy: DeletionPolicy, plan_name: str = "",
) -> StackInputs:  # fmt: skip
    """The inputs of one tenant's stack."""
    shared = compute == "Shared"
    return StackInputs(
        provider=cell.spec.provider,
        model=MODELS[level],
        compute=cast("Compute", compute),
        level=cast("DatabaseLevel", level),
        tenant_id=identity.id,
        tenant_uid=origin_uid,
        installation=identity.installation,
        cell=cell.metadata.name,
        plan=plan_name,
        tier=plan.tier or "",
        region=cell.spec.region or "",
        namespace=names.pool_namespace(cell.metadata.name) if shared else names.namespace(identity.id),
        database=database(plan) if level == "Server" else None,
        retain=policy != "Delete",
        foundation=dict(cell.spec.engine.foundation) if cell.spec.engine is not None else {},
    )


def database(plan: PlanSpec) -> DatabaseInputs:
    """The server that the Plan's limits call for."""
    limits = plan.limits.database
    storage = math.ceil(quantity.whole(limits.storage) / GIB) if limits.storage else DEFAULT_STORAGE_GIB
    return DatabaseInputs(connections=limits.connections or DEFAULT_CONNECTIONS, storage_gib=max(1, storage))
