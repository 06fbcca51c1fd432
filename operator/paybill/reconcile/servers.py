"""The shared database servers of all cells: connected once, with what their catalogs say of every tenant.

The observation of a server is read in bulk (a handful of queries for many tenants together) when it is attached. Every
minute one query says whose catalog entries are others than at the last look, and only those are read again: a steady
fleet costs no query per tenant, and drift is still found. After a change of one tenant only that tenant is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from paybill.api.cell import Server as ServerSpec
from paybill.api.failures import Retry
from paybill.control.claims import Claim
from paybill.databases.fingerprints import fingerprints, open_sessions
from paybill.databases.observation import observe
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Limits, Server, Session
from paybill.databases.sights import Sights
from paybill.databases.usage import Usage
from paybill.desired.database import ObservedDatabase, PoolDatabase, TenantDatabase, pool_database_name
from paybill.desired.handover import Endpoint
from paybill.isolation.findings import findings
from paybill.isolation.watchdog import Watchdog
from paybill.postgres import PatientConnection
from paybill.reconcile.proving import Proving

AT_ONCE = 1000
"""Tenants that are read with the same queries: the answer of more would be held in memory at once."""
YIELD_EVERY = 50


@dataclass(kw_only=True)
class Attached:
    """One server of one cell, connected, with its pool database; or one tenant's own database on such a server.

    A server for databases of tenants' own has a pool database as well, its home: nobody is in it, but there the leader
    is announced for the whole server, and from there all its tenants are looked at by what the server knows of them.
    """

    cell: str
    spec: ServerSpec
    dsn: str
    server: Server
    pool: PoolDatabase
    observed: Sights = field(default_factory=Sights)
    created: dict[str, TenantDatabase] = field(default_factory=dict)
    """What was created as a whole since the last look at all, and so need not be looked at one by one."""
    ca: str | None = None
    """The certificate (PEM) of the authority that signed the server's, for the tenant's app; None: a public one."""
    reachable: bool = True
    made: bool = True
    """Whether its pool was made what it should be; not while nothing may be done."""
    databases: dict[str, Attached] = field(default_factory=dict)
    """The tenants' own databases on this server that were connected, by tenant id (own_database.py)."""
    print: str | None = None
    """Of a tenant's own database: what its server's look at all said of the tenant when it was last looked into."""
    usage: dict[str, Usage] = field(default_factory=dict)
    """What each tenant used when it was last measured (metering.py)."""
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    """Tenant id → login → open sessions at the last look at all, of everybody on this Postgres."""
    busiest: dict[str, int] = field(default_factory=dict)
    """The most sessions that a tenant was seen with since it was last measured."""
    peaks: dict[str, int] = field(default_factory=dict)
    """The most sessions that each tenant was seen with in the hour before it was last measured."""
    metered_near: datetime | None = None
    """When those of its tenants that are near the storage of their Plans were measured last."""
    metered_hour: datetime | None = None
    """The hour in which it was measured last."""
    refused: tuple[str, ...] = ()
    """What the server keeps its administrator from closing."""
    proving: Proving = field(default_factory=Proving)
    """What is known of its isolation."""
    watchdog: Watchdog = field(init=False)
    """What is remembered of its tenants' sessions (watchdog.py)."""
    strays: tuple[str, ...] = ()
    """Ids that were seen here with our mark and are in no registry (strays.py)."""
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    """Who has changed by a look at all that did not come to its end."""
    _meanwhile: set[str] = field(default_factory=set)
    """Who was looked at alone since the look at all began: what that one reads of them is older."""

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(server=self.server, database=self.pool.name)

    @property
    def endpoint(self) -> Endpoint:
        """Where a tenant's app reaches the pool database."""
        address = self.server.address()
        return Endpoint(
            host=address.get("host", "127.0.0.1"),
            port=int(address.get("port", "5432")),
            database=self.pool.name,
            sslmode=address.get("sslmode", "prefer"),
            ca=self.ca,
        )

    @property
    def is_home(self) -> bool:
        """Whether its tenants have databases of their own."""
        return self.spec.holds == "Databases" and self.pool.shared

    def print_of(self, tenant_id: str) -> str | None:
        """What the last look at all said of a tenant: another value is news."""
        return self._fingerprints.get(tenant_id)

    async def look(self, tenant_id: str) -> ObservedDatabase | None:
        """Read what one tenant has, now, and remember it."""
        found = (await observe(self.server, self.pool, [tenant_id]))[tenant_id]
        self.observed[tenant_id] = found
        self._meanwhile.add(tenant_id)
        return found

    async def seen(self, tenant_id: str) -> ObservedDatabase | None:
        """What one tenant had at the last look; what was created since then is looked at now."""
        if self.created.pop(tenant_id, None) is not None:
            return await self.look(tenant_id)
        return self.observed.get(tenant_id)

    async def look_at_all(self) -> set[str]:
        """Read what changed of any tenant; returns the ids for which that is another answer than before.

        The fingerprints are read first: what changes after them is found by the next ones.
        """
        self._meanwhile.clear()
        self.created.clear()
        async with self.server.session(self.pool.name) as session:
            self.server.notice(session)
            self.proving.findings = await findings(session, self.pool)
            prints = await fingerprints(session, self.server.traits, self.pool, databases=self.is_home)
            sessions = await open_sessions(session)
        self.observed.connected(sessions)
        if self.pool.shared:  # the server of a tenant's own database counts for it
            self._count(sessions)
        known = self._fingerprints
        stale = sorted(one for one in prints.keys() | known.keys() if prints.get(one) != known.get(one))
        for start in range(0, len(stale), AT_ONCE):
            part = stale[start : start + AT_ONCE]
            found = await observe(self.server, self.pool, part)
            for number, tenant_id in enumerate(part):
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)  # everybody else has a turn
                if self._take(tenant_id, found[tenant_id]):
                    self._changed.add(tenant_id)
                if tenant_id in prints:
                    known[tenant_id] = prints[tenant_id]
                else:
                    del known[tenant_id]
        changed, self._changed = self._changed, set()
        return changed

    def _count(self, sessions: dict[str, dict[str, int]]) -> None:
        self.sessions = sessions
        for tenant_id, logins in sessions.items():
            self.busiest[tenant_id] = max(self.busiest.get(tenant_id, 0), sum(logins.values()))

    def _take(self, tenant_id: str, found: ObservedDatabase) -> bool:
        """Keep what was read of one tenant; whether it is another answer than before."""
        if tenant_id in self._meanwhile:
            return False
        if found.absent:
            return self.observed.pop(tenant_id, None) is not None
        return self.observed.take(tenant_id, found)


Announce = Callable[[Server, PoolDatabase], Awaitable[None]]
"""Makes our epoch the newest of a pool database; raises Blocked with a reason of FENCED when it cannot be."""

BEHIND = "EpochBehind"
FENCED = frozenset({"EpochLost", BEHIND})
"""Reasons after which a process must not act any more with the epoch it has."""


class Servers:
    """The attached servers by (cell, name)."""

    def __init__(
        self,
        installation: str,
        announce: Announce,
        connection: type[Session] = PatientConnection,
        *,
        accepted: Collection[str] = (),
    ) -> None:
        self._installation = installation
        self._accepted = accepted
        self._announce = announce
        self._connection = connection
        self._attached: dict[tuple[str, str], Attached] = {}

    def __iter__(self) -> Iterator[Attached]:
        return iter(list(self._attached.values()))

    def find(self, cell: str, name: str) -> Attached | None:
        """The server if it is attached."""
        return self._attached.get((cell, name))

    def get(self, cell: str, name: str) -> Attached:
        """The server; raises Retry when it is not attached yet or does not answer."""
        found = self._attached.get((cell, name))
        if found is None:
            # Its Cell looks for it every other second and wakes its tenants.
            raise Retry("ServerNotConnected", f"server {name} of Cell {cell} is not connected yet")
        return found

    async def attach(
        self,
        cell: str,
        spec: ServerSpec,
        dsn: str,
        *,
        make: bool = True,
        ca: str | None = None,
        limits: Limits | None = None,
    ) -> Attached:
        """Connect a server and make its pool database what it should be; again when its address changed.

        Without ``make`` the pool is taken as it is, until the first call with it.
        """
        known = self._attached.get((cell, spec.name))
        if known is not None and known.dsn == dsn and known.spec.holds == spec.holds:
            known.spec = spec
            if make and not known.made:
                known.refused = (await ensure_pool(known.server, known.pool)).degraded
                known.made = True
            return known
        server = await Server.connect(
            dsn,
            name=f"{cell}/{spec.name}",
            installation=self._installation,
            limits=limits,
            connection=self._connection,
            accepted=self._accepted,
        )
        pool = PoolDatabase(
            server=spec.name,
            cell=cell,
            name=pool_database_name(cell, spec.name),
            holds="Rows" if spec.holds == "Rows" else "Schemas",
            installation=self._installation,
        )
        attached = Attached(cell=cell, spec=spec, dsn=dsn, server=server, pool=pool, made=make, ca=ca)
        try:
            if make:
                attached.refused = (await ensure_pool(server, pool)).degraded
            await self._announce(server, pool)
            await attached.look_at_all()
        except BaseException:
            await server.close()
            raise
        if known is not None:
            await known.server.close()
        self._attached[cell, spec.name] = attached
        return attached

    async def attach_database(self, home: Attached, tenant_id: str, pool: PoolDatabase, *, made: bool) -> Attached:
        """Take up a tenant's own database on the server ``home``, which exists; ``made``: what it should be."""
        attached = Attached(
            cell=home.cell, spec=home.spec, dsn=home.dsn, server=home.server, pool=pool, made=made, ca=home.ca
        )
        attached.print = home.print_of(tenant_id)
        await self._announce(home.server, pool)
        await attached.look(tenant_id)
        home.databases[tenant_id] = attached
        return attached

    def of(self, claim: Claim) -> Attached:
        """The database that a claim's tenant is in: its own, or its server's pool; raises Retry while it is away."""
        found = self.get(claim.cell, claim.server)
        if claim.level != "Database":
            return found
        if claim.id not in found.databases:
            said = f"database {claim.pool_database} of Cell {claim.cell} is not connected yet"
            raise Retry("ServerNotConnected", said)
        return found.databases[claim.id]

    async def detach(self, cell: str, name: str) -> None:
        """Close a server that is in no Cell's spec and holds no tenant any more."""
        attached = self._attached.pop((cell, name), None)
        if attached is not None:
            await attached.server.close()

    async def close(self) -> None:
        """Close every connection."""
        for attached in self:
            await attached.server.close()
        self._attached.clear()
