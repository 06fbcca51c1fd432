"""AgentPolicy: what one agent may do with one tenant's data, as its owner can read it.

What is not granted is not there: a field that is not named cannot be read, filtered by, sorted by or written. The
values of rules are constants, because rows are told apart by who is logged in and by nothing that a session can set.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from paybill.api.base import AGE, AGENTS_GROUP, READY, REASON, VERSION, ApiModel, Column, NameReference, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import ONE_LINE, Duration, Name, Quantity, Time
from paybill.api.rules import checks, list_map, list_set, rule, ruled

_AGENT = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

LONGEST_WORD = 64
"""Characters of the word by which a rotation is asked for; what is beyond is not looked at."""

Operator = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "isNull", "startsWith"]
Function = Literal["count", "sum", "avg", "min", "max"]
Enforcement = Literal["Gate", "Grant"]

Identifier = Annotated[str, Field(min_length=1, max_length=63, json_schema_extra=checks(ONE_LINE))]
"""A name in the database, as the server spells it: the case counts."""
Identifiers = Annotated[tuple[Identifier, ...], Field(max_length=200, json_schema_extra=list_set())]
"""Names in the database, each once."""


def _as_text(value: Any) -> Any:
    """YAML reads an unquoted 40 or true as another type; the column says what it is."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case _:
            return value


Constant = Annotated[str, BeforeValidator(_as_text), Field(max_length=1024)]
"""A value as text; it is read as a value of the column that it is compared with."""


class Condition(ApiModel):
    """One comparison of a column with constants."""

    model_config = ruled(
        rule(
            "self.op == 'in' ? has(self.values) && !has(self.value) : self.op == 'isNull' ? !has(self.values) && "
            "!has(self.value) : has(self.value) && !has(self.values)",
            "op in takes values, op isNull takes neither, every other op takes value",
        ),
    )

    field: Identifier
    """The column."""
    op: Operator
    """How it is compared."""
    value: Constant | None = None
    """With what."""
    values: Annotated[tuple[Constant, ...], Field(min_length=1, max_length=100)] | None = None
    """With one of these; only with op `in`."""


_Conditions = Annotated[tuple[Condition, ...], Field(max_length=20)]


class RowRule(ApiModel):
    """Which rows: all of `all`, and where there is any, one of `any`."""

    model_config = ruled(
        rule("has(self.all) || has(self.any)", "a rule needs a condition in all or any: leave it out to mean every row")
    )

    all: _Conditions | None = None
    """Every one of these holds."""
    any: _Conditions | None = None
    """At least one of these holds."""


class Read(ApiModel):
    """What may be read."""

    fields: Annotated[Identifiers, Field(min_length=1)]
    """Columns that are shown."""
    filterable: Identifiers = ()
    """Columns that rows can be chosen by."""
    sortable: Identifiers = ()
    """Columns that rows can be ordered by."""
    require_eq: Identifiers = ()
    """Columns that every list and aggregate must fix to one value: nobody walks through the whole table."""
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 50
    """Rows in one answer."""


class Aggregate(ApiModel):
    """What may be counted and added up."""

    functions: Annotated[tuple[Function, ...], Field(min_length=1, max_length=5, json_schema_extra=list_set())]
    """Which functions."""
    fields: Identifiers = ()
    """Columns that sum, avg, min and max may be taken of."""
    group_by: Identifiers = ()
    """Columns that rows may be grouped by."""
    min_group_size: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Groups of fewer rows are left out of the answer, also when there is only one group."""
    max_groups: Annotated[int, Field(ge=1, le=1000)] = 100
    """Groups in one answer."""


class Constants(ApiModel):
    """A column that is given a constant."""

    field: Identifier
    """The column."""
    value: Constant
    """What it is given."""


class Create(ApiModel):
    """What a new row may be given."""

    fields: Identifiers = ()
    """Columns that the agent gives a value."""
    set: Annotated[tuple[Constants, ...], Field(max_length=50, json_schema_extra=list_map("field"))] = ()
    """Columns that are given a constant, whatever the agent says."""
    check: RowRule | None = None
    """What must be true of the new row, beside `rows`."""


class Update(ApiModel):
    """What may be changed of a row."""

    fields: Annotated[Identifiers, Field(min_length=1)]
    """Columns that may be changed."""
    check: RowRule | None = None
    """What must be true of the row afterwards, beside `rows`."""
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 1
    """Rows that one statement may change."""
    if_match: Identifier | None = None
    """The column that must be as it was read, such as a version: else the row was changed meanwhile."""


class Delete(ApiModel):
    """That rows may be deleted."""

    max_rows: Annotated[int, Field(ge=1, le=1000)] = 1
    """Rows that one statement may delete."""


class CollectionPolicy(ApiModel):
    """What may be done with one table."""

    model_config = ruled(
        rule(
            "has(self.read) || has(self.aggregate) || has(self.create) || has(self.update) || has(self.delete)",
            "a collection needs at least one of read, aggregate, create, update and delete: else leave it out",
        ),
    )

    name: Identifier
    """The table."""
    rows: RowRule | None = None
    """Which rows there are for the agent; absent: all of the tenant's."""
    read: Read | None = None
    """What may be read: operations get and list."""
    aggregate: Aggregate | None = None
    """What may be counted: operation aggregate."""
    create: Create | None = None
    """What may be made: operation create."""
    update: Update | None = None
    """What may be changed: operation update."""
    delete: Delete | None = None
    """What may be deleted: operation delete."""
    untrusted: Identifiers = ()
    """Columns with text that anybody may have written: it is marked as such wherever it is shown."""


class AgentLimits(ApiModel):
    """What the agent may use at most, over all of its runs."""

    calls_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Calls in a minute of the clock."""
    connections: Annotated[int, Field(ge=1, le=100)] = 3
    """Sessions at the same time."""
    statement_timeout: Duration = "2s"
    """How long one statement may take; the watchdog ends a session that overrides it."""
    rows_read_per_day: Annotated[int, Field(ge=1, le=1_000_000_000)] = 5000
    """Rows in answers on one day, UTC; what was read in a transaction that was rolled back counts too."""
    rows_written_per_day: Annotated[int, Field(ge=0, le=1_000_000_000)] = 100
    """Rows made, changed and deleted on one day, UTC."""
    open_runs: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Runs that are open at the same time: one more waits until another is over."""
    temp_files: Quantity = "64Mi"
    """Temporary files that one session may hold."""


class ServiceAccountReference(ApiModel):
    """A ServiceAccount."""

    namespace: Name
    """Its namespace."""
    name: Name
    """Its name."""

    @property
    def username(self) -> str:
        """Its name as the API server knows a user."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class AgentSubject(ApiModel):
    """Who is the agent."""

    service_account: ServiceAccountReference
    """The ServiceAccount whose tokens are taken."""


class EnforcementSpec(ApiModel):
    """Where limits are held."""

    reads: Enforcement = "Gate"
    """Gate: the agent's login may call functions and nothing else, rows read are counted in the database. Grant: the
    login may read its columns itself, which is cheaper; rows read are then counted by the gateway alone."""


class AgentPolicySpec(ApiModel):
    """What one agent may do with one tenant's data."""

    model_config = ruled(
        rule(
            "self.tenantRef == oldSelf.tenantRef && self.agent == oldSelf.agent",
            "tenantRef and agent cannot be changed: make a new AgentPolicy",
        ),
    )

    tenant_ref: NameReference
    """The Tenant whose data it is."""
    agent: Annotated[
        str,
        Field(
            min_length=1,
            max_length=40,
            pattern=_AGENT,
            json_schema_extra=checks(rule(f"self.matches('{_AGENT}')", "must be a DNS label of at most 40 characters")),
        ),
    ]
    """The agent's name: it is in the name of its login."""
    subjects: Annotated[tuple[AgentSubject, ...], Field(max_length=20)] = ()
    """Whose tokens the gateway takes for this agent."""
    collections: Annotated[
        tuple[CollectionPolicy, ...], Field(min_length=1, max_length=100, json_schema_extra=list_map("name"))
    ]
    """What may be done with which table."""
    limits: AgentLimits = Field(default_factory=AgentLimits)
    """What it may use at most."""
    enforcement: EnforcementSpec = Field(default_factory=EnforcementSpec)
    """Where limits are held."""
    expires_time: Time | None = None
    """When the login ends; absent: with the policy."""
    suspend: bool = False
    """Whether the login is closed."""


class FilesReference(ApiModel):
    """The Secret with what the gateway of the tenant's agents is given."""

    name: str
    """The Secret's name, in the operator's namespace: who may read Secrets in the tenant's own cannot read it."""


class AgentEndpoint(ApiModel):
    """Where an agent calls its gateway, where the operator runs gateways."""

    url: str
    """The URL of MCP, inside the cluster."""
    audience: str
    """What the tokens of its subjects must be made for."""


class AgentPolicyStatus(ApiModel):
    """What the database was told."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    policy_hash: str | None = None
    """The hash of the policy that was compiled."""
    schema_hash: str | None = None
    """The hash of the schema that it was compiled against."""
    plan_hash: str | None = None
    """The hash of what it comes to in the database."""
    login: str | None = None
    """What the agent logs in as."""
    binding: FilesReference | None = None
    """The Secret with its login, while it is let in."""
    endpoint: AgentEndpoint | None = None
    """Its gateway, while it is let in and the operator runs gateways."""
    rotated: Annotated[str, Field(max_length=LONGEST_WORD)] | None = None
    """The word of the annotation `paybill.dev/rotate` by which its password was made anew last."""
    open: bool = False
    """Whether the login may log in now."""
    warnings: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=50)] = ()
    """What the policy lets its agent find out of rows that it may not see."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled."""


class AgentPolicy(Resource):
    """What one agent may do with one tenant's data."""

    group: ClassVar[str] = AGENTS_GROUP
    api_version: ClassVar[str] = f"{AGENTS_GROUP}/{VERSION}"
    kind: ClassVar[str] = "AgentPolicy"
    plural: ClassVar[str] = "agentpolicies"
    singular: ClassVar[str] = "agentpolicy"
    short_names: ClassVar[tuple[str, ...]] = ("ap",)
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.tenantRef.name", ".spec.agent")
    scope: ClassVar[str] = "Namespaced"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Agent", path=".spec.agent"),
        Column(name="Tenant", path=".spec.tenantRef.name"),
        Column(name="Open", path=".status.open", type="boolean"),
        READY,
        REASON,
        AGE,
    )

    spec: AgentPolicySpec
    """What one agent may do with one tenant's data."""
    status: AgentPolicyStatus = Field(default_factory=AgentPolicyStatus)
    """What the database was told."""
