"""The leader's epoch on a tenants' server, so that SQL of an operator that was replaced is refused where it arrives.

The control database fences its own rows; a tenant's data is on another server, and a process may be frozen between
asking the one and writing to the other. So each new leader writes its epoch into every pool database before it does
anything there, and whatever changes a tenant holds that row in its own transaction: either the change commits before
the next leader can announce itself, or it fails.
"""

from typing import Final

from psycopg.sql import SQL, Literal

from paybill.databases.failures import EPOCH_LOST
from paybill.databases.server import Server, Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

_TABLE: Final = SQL("paybill.leader")
_CREATE: Final = (
    SQL(
        "CREATE TABLE IF NOT EXISTS {} (epoch bigint NOT NULL CHECK (epoch > 0),"
        " one boolean PRIMARY KEY DEFAULT true CHECK (one))"
    ).format(_TABLE),
    SQL("ALTER TABLE {} OWNER TO {}").format(_TABLE, SQL(names.ADMIN)),
    SQL("REVOKE ALL ON TABLE {} FROM PUBLIC").format(_TABLE),
)
_ANNOUNCE: Final = (
    "INSERT INTO paybill.leader AS l (epoch) VALUES (%(epoch)s)"
    " ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch WHERE l.epoch < excluded.epoch"
)
_NEWEST: Final = "SELECT epoch FROM paybill.leader"


async def announce(server: Server, pool: PoolDatabase, epoch: int) -> int:
    """Make ``epoch`` the newest of ``pool``, unless a newer one is there; returns the newest.

    When it is ours, ``server.epoch`` is set and everything that changes a tenant of this server asserts it. A newer one
    may also stem from before the control database was restored from a backup: the caller has to outgrow it.
    """
    async with server.session(pool.name) as session:
        cursor = await session.execute("SELECT to_regclass('paybill.leader') IS NULL")
        row = await cursor.fetchone()
        if row is not None and row[0]:
            await run(session, [Statement("", part) for part in _CREATE])
        await session.execute(_ANNOUNCE, {"epoch": epoch})
        cursor = await session.execute(_NEWEST)
        found = await cursor.fetchone()
    newest = int(found[0]) if found is not None else 0
    if newest == epoch:
        server.epoch = epoch
    return newest


def asserting(epoch: int | None) -> tuple[Statement, ...]:
    """The statement that holds ``epoch`` as the newest until its transaction ends; none when none was announced."""
    if epoch is None:
        return ()
    body = SQL(
        "BEGIN PERFORM FROM paybill.leader WHERE epoch = {epoch} FOR SHARE; IF NOT FOUND THEN"
        " RAISE EXCEPTION 'a newer leader than epoch %', {epoch} USING ERRCODE = {code}; END IF; END"
    ).format(epoch=Literal(epoch), code=Literal(EPOCH_LOST))
    return (Statement("", SQL("DO {}").format(Literal(body.as_string()))),)


async def hold(server: Server, session: Session) -> None:
    """Hold this leader's epoch in the open transaction of ``session``; raises ``Blocked("EpochLost")``."""
    for statement in asserting(server.epoch):
        await session.execute(statement.sql)
