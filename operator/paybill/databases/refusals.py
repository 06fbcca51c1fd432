"""What a server keeps its administrator from closing, in the words that conditions and checks carry.

A cloud's administrator may not revoke what the cloud's own superuser granted to PUBLIC. Nothing of any tenant is
behind it, but whoever sells isolation should know that it is there.
"""

from collections.abc import Iterable
from typing import Final

from paybill.databases import pool_queries as queries
from paybill.databases.server import Session

OPEN_FUNCTIONS: Final = "large objects and advisory locks stay open to PUBLIC: the administrator may not revoke them"


def open_databases(names: Iterable[str]) -> tuple[str, ...]:
    """One sentence for each database that lets every login in."""
    return tuple(f"database {name} lets every login connect (PUBLIC holds privileges on it)" for name in names)


async def refusals(session: Session) -> tuple[str, ...]:
    """What is open on the server, and in the pool database that ``session`` is on, and could not be closed."""
    cursor = await session.execute(queries.OPEN_DATABASES)
    found = open_databases(name for (name,) in await cursor.fetchall())
    cursor = await session.execute(queries.CLOSABLE_FUNCTIONS)
    return (*found, OPEN_FUNCTIONS) if await cursor.fetchone() is not None else found
