"""What a cell's pool and a tenant should be in a shared Postgres, as declared: the inputs of every builder beside this.

The two levels differ only in what the roles reach: a schema of their own, or shared tables behind row security.
"""

from dataclasses import dataclass
from typing import Final, Literal

from paybill.api.failures import Invalid
from paybill.desired import sql_names as names

Access = Literal["Full", "ReadOnly", "None"]

SHARED: Final = "pool"
"""The subject in the mark of a database that many tenants share."""


@dataclass(frozen=True)
class PoolDatabase:
    """A database that tenants are in: many that share it, or the only one whose own it is.

    It holds rows or schemas, never both. ``subject`` is what its mark names: the uid of the only tenant, or ``pool``.
    """

    server: str
    cell: str
    name: str
    holds: Literal["Rows", "Schemas"]
    installation: str
    subject: str = SHARED

    @property
    def mark(self) -> str:
        """The comment that the database, its group role and what of ours is in it carry."""
        return names.mark(self.installation, self.subject)

    @property
    def shared(self) -> bool:
        """Whether tenants that know nothing of each other are in it."""
        return self.subject == SHARED


@dataclass(frozen=True)
class TenantDatabase:
    """What one tenant should have. ``database`` is the pool's name; times in ms, sizes in kB, ``None`` is no limit.

    ``access``: ``ReadOnly`` takes the app logins out of the writing role and closes the migration login, ``None``
    closes all logins; passwords stay, so ``Full`` brings the same credentials back. ``logins`` lists the slots in
    use; any other slot is closed and loses its password. ``leaving`` are those among them that stay open for who is in
    them: their passwords are as they are, and nobody is handed them.
    """

    id: str
    uid: str
    installation: str
    level: Literal["Rows", "Schema"]
    database: str
    access: Access
    connections: int
    statement_timeout_ms: int | None = None
    temp_files_kb: int | None = None
    idle_in_transaction_ms: int | None = 60_000
    logins: tuple[str, ...] = ("app_a", "ro_a", "mig_a")
    leaving: tuple[str, ...] = ()
    report_grants: bool = False
    """Privileges beyond what is declared are told and left, instead of taken back."""
    agents: tuple[str, ...] = ()
    """The agents that were let in: what their roles hold in its schema is their policies' business."""

    def __post_init__(self) -> None:
        names.tenant_id(self.id)
        names.mark(self.installation, self.uid)
        if self.connections < 1:
            raise Invalid("BadLimit", f"tenant {self.id}: {self.connections} connections; at least 1 is needed")
        for suffix in self.logins:
            if names.login_kind(suffix) in names.JOB_KINDS:
                raise Invalid("BadRoleName", f"tenant {self.id}: the login of a job is opened by it only")

    @property
    def agent_roles(self) -> frozenset[str]:
        """The roles of the agents that were let in."""
        return frozenset(role for agent in self.agents for role in names.agent_roles(self.id, agent))

    @property
    def mark(self) -> str:
        """The comment that its roles and its schema carry."""
        return names.mark(self.installation, self.uid)

    @property
    def schema(self) -> str:
        """Where its tables are: its own schema, or the shared ``app``."""
        return names.ROWS_SCHEMA if self.level == "Rows" else names.schema(self.id)

    @property
    def login_names(self) -> tuple[str, ...]:
        """The logins in use, as role names."""
        return tuple(names.role(self.id, suffix) for suffix in self.suffixes)

    @property
    def handed_names(self) -> tuple[str, ...]:
        """The logins whose passwords are handed out, as role names."""
        return tuple(names.role(self.id, suffix) for suffix in self.suffixes if suffix not in self.leaving)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The logins in use, as suffixes; at level Rows there is no migration login, the tables are shared."""
        return tuple(s for s in self.logins if self.level != "Rows" or names.login_kind(s) != "mig")

    @property
    def closed_logins(self) -> frozenset[str]:
        """The login names that must have no session: by access, or because their slot is not in use."""
        every = {f"{kind}_{slot}" for kind in names.LOGIN_KINDS if kind not in names.JOB_KINDS for slot in names.SLOTS}
        closed = every - set(self.suffixes)
        if self.access != "Full":
            closed |= {s for s in every if self.access == "None" or names.login_kind(s) == "mig"}
        return frozenset(names.role(self.id, suffix) for suffix in closed)
