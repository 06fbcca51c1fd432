"""How many tenants sit on each server: counted under one lock per installation, so that two claims cannot overfill one.

The database counts by itself (triggers on paybill.tenants): a tenant counts for its server from the claim until its
drop, and a released or deleted one still occupies it.
"""

from collections.abc import Mapping

from paybill.control.database import Connection

_LOCK = "SELECT paybill.place_lock(%s)"
_COUNTS = "SELECT cell, server, tenants FROM paybill.placements WHERE installation = %s AND tenants > 0"


async def locked_counts(connection: Connection, installation: str) -> Mapping[tuple[str, str], int]:
    """Tenants per (cell, server), which nobody else of this installation can change until the transaction ends."""
    await connection.execute(_LOCK, (installation,))
    rows = await (await connection.execute(_COUNTS, (installation,))).fetchall()
    return {(cell, server): tenants for cell, server, tenants in rows}
