"""A tenant's place, as every step of its reconcile needs it: identity, claim, namespace, server, database."""

from __future__ import annotations

from dataclasses import dataclass

from paybill.api import duration, quantity
from paybill.api.failures import Blocked
from paybill.api.plan import PlanSpec
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.databases.credentials import refusal
from paybill.desired import names, sql_names
from paybill.desired.database import TenantDatabase
from paybill.lifecycle import rotation
from paybill.lifecycle.phases import Access
from paybill.reconcile.servers import Attached
from paybill.reconcile.steps import Scope
from paybill.reconcile.world import World

DEFAULT_CONNECTIONS = 20
AGENT_LEVELS = ("Database", "Server")
"""Where agents can be let in: behind the row security of shared tables they see nothing, and in a schema beside others
what a server leaves open to everybody is everybody's."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One tenant's place."""

    tenant: Tenant
    claim: Claim
    identity: names.Identity
    scope: Scope
    attached: Attached
    report_grants: bool = False
    """Whether its Cell leaves privileges too many alone, and only says that they are there."""
    agents: tuple[str, ...] = ()
    """The agents that its AgentPolicies name."""
    moving: bool = False
    """Whether its roles are the business of a move now (reconcile/move.py)."""

    @property
    def shared(self) -> bool:
        """Whether its compute is the cell's pool namespace."""
        return self.claim.compute == "Shared"

    @property
    def namespace(self) -> str:
        """Where its Secret and ConfigMap are, and its pods unless compute is Shared."""
        return names.pool_namespace(self.claim.cell) if self.shared else names.namespace(self.claim.id)

    @property
    def logins(self) -> rotation.Logins:
        """Which slots of its logins are in use."""
        return rotation.read(self.claim.credentials)

    @property
    def filled(self) -> tuple[str, ...]:
        """The login names whose slots are being filled, which are proved to work before anybody is handed them."""
        return tuple(
            sql_names.role(self.claim.id, f"{kind}_{self.logins.of(kind).handed}") for kind in self.logins.filling
        )

    async def refusal(self, login: str, password: str) -> str | None:
        """Why one of its logins does not work, in the server's words; None when it does."""
        address = self.attached.server.address()
        return await refusal(address, self.attached.pool.name, login, password)

    def database(self, plan: PlanSpec, access: Access) -> TenantDatabase:
        """What it should have in Postgres."""
        limits = plan.limits.database
        timeout = limits.statement_timeout
        return TenantDatabase(
            id=self.claim.id,
            uid=self.claim.origin_uid,
            installation=self.identity.installation,
            level="Rows" if self.claim.level == "Rows" else "Schema",
            database=self.attached.pool.name,
            access=access.value,
            connections=limits.connections or DEFAULT_CONNECTIONS,
            statement_timeout_ms=round(duration.parse(timeout).total_seconds() * 1000) if timeout else None,
            temp_files_kb=quantity.whole(limits.temp_files) // 1024 if limits.temp_files else None,
            logins=self.logins.suffixes,
            leaving=self.logins.leaving,
            report_grants=self.report_grants,
            agents=self.agents,
        )


def identity_of(claim: Claim) -> names.Identity:
    """Whose marks the objects of a claim carry."""
    return names.Identity(
        id=claim.id, tenant_name=claim.tenant_name, tenant_uid=claim.tenant_uid, installation=claim.installation
    )


def refuse_removed(world: World, claim: Claim) -> None:
    """Raise Blocked when the tenant's shared server was taken out of its Cell."""
    cell = world.declared.cells.get(claim.cell)
    own = claim.level == "Server"
    if not own and cell is not None and all(server.name != claim.server for server in cell.spec.servers):
        raise Blocked(
            "ServerRemoved",
            f"Cell {claim.cell} no longer lists server {claim.server}, but this Tenant's data is on it: put it back; "
            "nothing is changed until then",
        )


def of(world: World, tenant: Tenant, claim: Claim, cause: str) -> Site:
    """The place of a tenant; raises Blocked when its server was taken out of the Cell, Retry while it is away."""
    refuse_removed(world, claim)
    cell = world.declared.cells.get(claim.cell)
    return Site(
        tenant=tenant,
        claim=claim,
        identity=identity_of(claim),
        scope=Scope(cause=cause, tenant_id=claim.id, cell=claim.cell),
        attached=world.servers.of(claim),
        report_grants=cell is not None and cell.spec.isolation.grants == "Report",
        agents=agents_of(world, tenant, claim),
    )


def agents_of(world: World, tenant: Tenant, claim: Claim) -> tuple[str, ...]:
    """The agents that AgentPolicies let into a tenant's database, if its level can hold any."""
    if claim.level not in AGENT_LEVELS:
        return ()
    return tuple(sorted({one.agent for one in world.declared.policies_of(tenant.metadata.name)}))
