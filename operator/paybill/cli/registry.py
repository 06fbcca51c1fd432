"""The registry as a command reads it: straight from the control database, without an operator.

A recovery begins where nothing runs yet, and what was lost can only be told by what was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from paybill.api.failures import Invalid

_ROWS = (
    "SELECT id, installation, tenant_name, tenant_uid, state, cell, server, level, compute, plan_name, drop_after,"
    " drop_started_time, adopted_by, (SELECT phase FROM paybill.subscription_facts f"
    " WHERE f.subscription_uid = t.subscription_uid) AS phase FROM paybill.tenants t ORDER BY id"
)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One row of the registry; ``phase`` is that of the contract bound last."""

    id: str
    installation: str
    tenant_name: str
    tenant_uid: str
    state: str
    cell: str
    server: str
    level: str
    compute: str
    plan_name: str | None
    drop_after: datetime | None
    drop_started_time: datetime | None
    adopted_by: str | None
    phase: str | None


def read(connection: psycopg.Connection[Any], installation: str | None = None) -> tuple[str, list[Kept]]:
    """The installation and all its rows, dropped ones too; raises Invalid when it is not clear which one is meant."""
    with connection.cursor(row_factory=class_row(Kept)) as cursor:
        rows = cursor.execute(_ROWS).fetchall()
    there = sorted({row.installation for row in rows})
    if installation is None:
        if len(there) > 1:
            raise Invalid("WhichInstallation", f"the registry knows {', '.join(there)}: say which with --installation")
        if not there:
            raise Invalid("NothingToAdopt", "the registry knows no tenant at all: is it the right control database?")
        installation = there[0]
    return installation, [row for row in rows if row.installation == installation]
