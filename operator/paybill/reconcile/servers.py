"""The shared database servers of all cells: connected once, with what their catalogs say of every tenant.

The observation of a server is read in bulk (a handful of queries for all tenants together) when it is attached, and
again every minute, so that a steady fleet costs no query per tenant and drift is still found. After a change of one
tenant only that tenant is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from paybill.api.cell import Server as ServerSpec
from paybill.api.failures import Invalid, Retry
from paybill.databases.observation import observe
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.desired.database import ObservedDatabase, PoolDatabase, TenantDatabase, pool_database_name
from paybill.desired.handover import Endpoint


@dataclass(kw_only=True)
class Attached:
    """One server of one cell, connected, with its pool database."""

    cell: str
    spec: ServerSpec
    dsn: str
    server: Server
    pool: PoolDatabase
    observed: dict[str, ObservedDatabase] = field(default_factory=dict)
    created: dict[str, TenantDatabase] = field(default_factory=dict)
    """What was created as a whole since the last look at all, and so need not be looked at one by one."""
    reachable: bool = True

    @property
    def endpoint(self) -> Endpoint:
        """Where a tenant's app reaches the pool database."""
        address = self.server.address()
        return Endpoint(
            host=address.get("host", "127.0.0.1"),
            port=int(address.get("port", "5432")),
            database=self.pool.name,
            sslmode=address.get("sslmode", "prefer"),
        )

    async def look(self, tenant_id: str) -> ObservedDatabase | None:
        """Read what one tenant has, now, and remember it."""
        self.observed.update(await observe(self.server, self.pool, [tenant_id]))
        return self.observed.get(tenant_id)

    async def seen(self, tenant_id: str) -> ObservedDatabase | None:
        """What one tenant had at the last look; what was created since then is looked at now."""
        if self.created.pop(tenant_id, None) is not None:
            return await self.look(tenant_id)
        return self.observed.get(tenant_id)

    async def look_at_all(self) -> set[str]:
        """Read what every tenant has; returns the ids for which that is another answer than before."""
        before = self.observed
        self.created.clear()
        self.observed = await observe(self.server, self.pool, None)
        after = self.observed
        return {one for one in before.keys() | after.keys() if self._lasting(before, one) != self._lasting(after, one)}

    @staticmethod
    def _lasting(observed: Mapping[str, ObservedDatabase], tenant_id: str) -> ObservedDatabase | None:
        """What was observed without the sessions: those come and go with every app that connects."""
        found = observed.get(tenant_id)
        return replace(found, sessions={}) if found is not None else None


class Servers:
    """The attached servers by (cell, name)."""

    def __init__(self, installation: str) -> None:
        self._installation = installation
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
            raise Retry("ServerNotConnected", f"server {name} of Cell {cell} is not connected yet", after=0.5)
        return found

    async def attach(self, cell: str, spec: ServerSpec, dsn: str) -> Attached:
        """Connect a server and make its pool database what it should be; again when its address changed."""
        known = self._attached.get((cell, spec.name))
        if known is not None and known.dsn == dsn and known.spec.holds == spec.holds:
            known.spec = spec
            return known
        if spec.holds == "Databases":
            raise Invalid("NotSupportedYet", f"server {spec.name} of Cell {cell} holds Databases: not supported yet")
        server = await Server.connect(dsn, name=f"{cell}/{spec.name}", installation=self._installation)
        pool = PoolDatabase(
            server=spec.name,
            cell=cell,
            name=pool_database_name(cell, spec.name),
            holds=spec.holds,
            installation=self._installation,
        )
        await ensure_pool(server, pool)
        attached = Attached(cell=cell, spec=spec, dsn=dsn, server=server, pool=pool)
        await attached.look_at_all()
        if known is not None:
            await known.server.close()
        self._attached[cell, spec.name] = attached
        return attached

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
