"""A Postgres server as the operator holds it: an administrator's sessions, few at a time, each one pinned.

A tenant can make objects that a careless superuser session would run for them (CVE-2026-55769 in a peer; attacks 41
and 42 of the research). So every session fixes ``search_path`` in the startup packet, before anything runs, and only
touches catalogs. Sessions are kept for reuse and given up on the first sign of trouble, which is how a restart of the
server is survived: the work in hand fails with ``Retry``, the next attempt opens a new session.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from paybill.api.failures import Blocked, Invalid
from paybill.databases import authorities, places
from paybill.databases.failures import as_failure
from paybill.databases.places import Places
from paybill.databases.versions import gate
from paybill.desired.database_facts import SUPERUSER_SETTINGS, ServerTraits
from paybill.postgres import PatientConnection

logger = logging.getLogger(__name__)

Session: TypeAlias = places.Session

_PINNED: Final = (
    "-c search_path=pg_catalog,pg_temp -c statement_timeout={statement} -c lock_timeout={lock}"
    " -c idle_in_transaction_session_timeout=10000 -c default_transaction_isolation=read\\ committed"
    " -c default_transaction_read_only=off -c row_security=on -c DateStyle=ISO -c TimeZone=UTC"
)
_PROBE: Final = """
SELECT current_setting('server_version_num')::int, current_user::text, r.rolsuper,
       r.rolcreaterole AND r.rolcreatedb,
       ARRAY(SELECT s FROM unnest(%s::text[]) s WHERE has_parameter_privilege(s, 'SET'))
  FROM pg_roles r WHERE r.rolname = current_user
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a server is treated. Times in ms, ``connect`` and ``idle`` in s.

    ``in_flight`` is the number of sessions at work; one that is not is kept for ``idle``.
    """

    in_flight: int = 4
    statement: int = 30_000
    lock: int = 5_000
    connect: int = 5
    idle: float = places.IDLE


class Server:
    """One server, reached as its administrator; made by ``Server.connect``."""

    def __init__(
        self,
        conninfo: str,
        *,
        name: str,
        installation: str,
        traits: ServerTraits,
        limits: Limits,
        connection: type[Session] = PatientConnection,
        accepted: Collection[str] = (),
    ) -> None:
        self.name = name
        self.installation = installation
        self.traits = traits
        self._accepted = accepted
        self.warnings = gate(traits.version, accepted)
        self.epoch: int | None = None
        """The leader's epoch that was announced here (databases/leader.py)."""
        self.connection = connection
        self.ours: set[int] = set()
        """The process ids of sessions that this process has open as a tenant's login."""
        self.dropping = asyncio.Lock()
        """One whole database goes at a time: its files wait for a checkpoint, and it takes two of the places."""
        self._conninfo = conninfo
        self._places = Places(name, limits.in_flight, self._open, limits.idle)

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        name: str,
        installation: str,
        limits: Limits | None = None,
        connection: type[Session] = PatientConnection,
        accepted: Collection[str] = (),
    ) -> Self:
        """Open a first session and learn what the server and the administrator are.

        ``dsn`` is a libpq connection string to a maintenance database, ``connection`` what sessions are made of,
        ``accepted`` releases that would be refused (databases/versions.py).
        Raises ``Retry("DatabaseUnreachable")``, ``Blocked("DatabaseAccessDenied" | "ServerVersionRefused" |
        "AdministratorTooWeak")``, ``Invalid("BadDsn")``.
        """
        limits = limits or Limits()
        conninfo = _pinned(dsn, name, limits)
        if conninfo_to_dict(conninfo).get("sslrootcert") == "system":
            authorities.show_the_systems()
        with as_failure(name):
            first = await _open(conninfo, connection)
            try:
                traits = await _probe(first, name)
                server = cls(
                    conninfo,
                    name=name,
                    installation=installation,
                    traits=traits,
                    limits=limits,
                    connection=connection,
                    accepted=accepted,
                )
            except BaseException:
                await first.close()
                raise
        await server._places.keep(server.maintenance, first)
        logger.info("server %s: Postgres %s, profile %s", name, traits.version, traits.profile)
        return server

    @property
    def maintenance(self) -> str:
        """The database that the connection string names."""
        return str(conninfo_to_dict(self._conninfo).get("dbname") or "postgres")

    @asynccontextmanager
    async def session(self, database: str | None = None) -> AsyncIterator[Session]:
        """An administrator's session in autocommit on ``database`` (the maintenance database when ``None``).

        Waits for one of the server's places, for a short time: Retry("DatabaseBusy"). Database errors inside become
        Paybill's failures; a session that is not idle at the end is closed, so no transaction ever leaks into the next
        use.
        """
        async with self._places.session(database or self.maintenance) as session:
            yield session

    def address(self) -> dict[str, str]:
        """Where logins reach the server: libpq's ``host`` and ``port``, nothing of the administrator's."""
        parts = conninfo_to_dict(self._conninfo)
        return {key: str(parts[key]) for key in ("host", "hostaddr", "port", "sslmode", "sslrootcert") if key in parts}

    def conninfo(self, database: str, user: str, password: str, **parameters: str | int) -> str:
        """How ``user`` reaches ``database``: nothing of the administrator's; ``parameters`` are libpq's."""
        login: dict[str, str | int] = {"dbname": database, "user": user, "password": password, "connect_timeout": 5}
        return make_conninfo("", **self.address(), **(login | parameters))

    @asynccontextmanager
    async def login(self, database: str, user: str, password: str, **parameters: str | int) -> AsyncIterator[Session]:
        """A session of a login that is no administrator, in autocommit; database errors become Paybill's failures."""
        conninfo = self.conninfo(database, user, password, **parameters)
        with as_failure(self.name):
            async with await self.connection.connect(conninfo, autocommit=True) as session:
                self.ours.add(pid := session.info.backend_pid)
                try:
                    yield session
                finally:
                    self.ours.discard(pid)

    async def forget(self, database: str) -> None:
        """Close the idle sessions on a database, which is about to go."""
        await self._places.forget(database)

    def notice(self, session: Session) -> None:
        """Take up the version that ``session`` was greeted with: a server may be updated, or put back, under us.

        Raises ``Blocked("ServerVersionRefused")`` for one on which tenants would not be isolated.
        """
        version = session.info.server_version
        if version != self.traits.version:
            self.warnings = gate(version, self._accepted)
            logger.warning("server %s: now Postgres %s, was %s", self.name, version, self.traits.version)
            self.traits = replace(self.traits, version=version)

    async def close(self) -> None:
        """Close the idle sessions; one that is at work closes when its work ends."""
        await self._places.close()

    async def _open(self, database: str) -> Session:
        return await _open(make_conninfo(self._conninfo, dbname=database), self.connection)


def _pinned(dsn: str, name: str, limits: Limits) -> str:
    options = _PINNED.format(statement=limits.statement, lock=limits.lock)
    try:
        return make_conninfo(
            dsn,
            options=options,
            application_name="paybill",
            connect_timeout=limits.connect,
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
    except psycopg.ProgrammingError:
        # libpq's message may quote the part it could not read, and that part may be the password.
        raise Invalid("BadDsn", f"server {name}: its connection string cannot be read") from None


async def _open(conninfo: str, connection: type[Session]) -> Session:
    session = await connection.connect(conninfo, autocommit=True, prepare_threshold=2)
    try:
        if session.info.server_version >= 160000:
            # With it set, Postgres would make the administrator a lasting member of each role it creates.
            await session.execute("SET createrole_self_grant = ''")
    except BaseException:
        await session.close()
        raise
    return session


async def _probe(session: Session, name: str) -> ServerTraits:
    cursor = await session.execute(_PROBE, [list(SUPERUSER_SETTINGS)])
    row = await cursor.fetchone()
    if row is None:
        raise Blocked("AdministratorTooWeak", f"server {name}: its administrator has no role of its own")
    version, admin, superuser, creates, settable = row
    if not (superuser or creates):
        raise Blocked(
            "AdministratorTooWeak", f"server {name}: {admin} needs CREATEROLE and CREATEDB (or to be a superuser)"
        )
    return ServerTraits(version=version, admin=admin, superuser=superuser, settable=frozenset(settable))
