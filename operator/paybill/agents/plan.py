"""From a policy and the facts of a database to SQL: everything that makes the policy hold, in its order.

Pure: the same two values give the same plan, byte for byte, so a plan can be read before it is carried out, compared
with the last one, and known by its hash. Every statement can be run again; what depends on how the database was found
(a role that is missing, what was still open to PUBLIC) is not in the hash.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from psycopg.sql import SQL, Identifier, Literal

from paybill.agents import gates, names, roles
from paybill.agents.columns import grants
from paybill.agents.compatible import check
from paybill.agents.facts import Facts
from paybill.agents.hardening import LANGUAGES, hardening
from paybill.agents.hidden import told, warnings
from paybill.agents.rows import passing, row_security
from paybill.agents.triggers import triggers
from paybill.api import duration
from paybill.api.agent_policy import AgentPolicySpec, CollectionPolicy
from paybill.api.canonical import digest
from paybill.api.failures import Blocked
from paybill.databases.statement import Statement, listed
from paybill.databases.versions import WARNED_BELOW

_CREATED: Final = 1
"""Rows that one statement may make."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be run, as a superuser and in one transaction; ``policy`` and ``schema`` are the hashes it is of."""

    login: str
    policy: str
    schema: str
    books: str
    """The hash of what all agents of the database share: another version of Paybill makes it anew."""
    once: tuple[Statement, ...]
    """What the state of the database asks for first."""
    statements: tuple[Statement, ...]
    last: tuple[Statement, ...]
    """What lets the agent in."""
    warnings: tuple[str, ...] = ()
    """What the policy lets its agent find out of rows that it may not see, one half of a sentence each."""

    @functools.cached_property
    def digest(self) -> str:
        """The hash of what the policy comes to."""
        return digest({"statements": [one.sql.as_string(None) for one in (*self.statements, *self.last)]})

    @property
    def all(self) -> tuple[Statement, ...]:
        """Everything in its order."""
        return (*self.once, *self.statements, *self.last)


def plan(policy: AgentPolicySpec, facts: Facts, tenant: str) -> Plan:
    """The plan of ``policy`` for the database of ``tenant`` (its opaque id).

    Raises ``Invalid("PolicyDoesNotFit")``, ``Blocked("AgentsNotSafeHere")`` where the database holds no limit.
    """
    _safe(policy, facts)
    check(policy, facts.schema_)
    login = names.login(tenant, policy.agent)
    policy_hash = digest(policy.wire())
    return Plan(
        login=login,
        policy=policy_hash,
        schema=facts.schema_.digest,
        books=digest({"books": _texts()}),
        once=(
            *roles.missing(facts, tenant, policy.agent),
            *roles.members(facts),
            *hardening(facts),
            *_former(policy, facts),
        ),
        statements=(
            *roles.attributes(policy, facts.database, tenant),
            *_books(tenant, _agent(policy, facts, login, policy_hash)),
            *_nothing(policy, facts, tenant),
            *_tables(policy, facts, tenant),
        ),
        last=tuple(roles.opened(policy, tenant)),
        warnings=warnings(policy, facts.schema_),
    )


def _safe(policy: AgentPolicySpec, facts: Facts) -> None:
    around = facts.surroundings
    wrong = []
    major, minor = divmod(around.version, 10_000)
    floor, why = WARNED_BELOW.get(major, (0, ""))
    if minor < floor:
        wrong.append(f"Postgres {major}.{minor}: {why}; update to {major}.{floor} or newer")
    if not around.superuser:
        wrong.append("the administrator is no superuser, so what PUBLIC may do cannot be closed")
    if not around.insiders:
        wrong.append("nobody but PUBLIC may connect: grant CONNECT to the tenant's own logins before it is taken away")
    wrong += [f"PUBLIC may connect to database {name}, so an agent could too" for name in around.open_databases]
    wrong += [f"PUBLIC may call {name}, which acts with its owner's rights" for name in around.open_definers]
    wrong += [f"an agent's role holds or owns {name}, which no plan gives: take it back" for name in around.strays]
    wanted = {one.name for one in policy.collections}
    for guarded in around.guarded:
        if guarded.collection in wanted and "" in guarded.grantees:
            wrong.append(f"PUBLIC holds privileges on {guarded.collection}: an agent has them too")
    if wrong:
        raise Blocked("AgentsNotSafeHere", f"database {facts.database}: {'; '.join(wrong)}")


def _texts() -> dict[str, str]:
    """What all agents of a database share, by what it is."""
    files = {"runs, budgets and the journal": "pb.sql", "how runs are led": "leading.sql"}
    folder = resources.files("paybill.agents")
    return {says: folder.joinpath(one).read_text(encoding="utf-8") for says, one in files.items()}


def _books(tenant: str, agent: Iterator[Statement]) -> Iterator[Statement]:
    keeper = Identifier(names.keeper(tenant))
    schema = Identifier(names.SCHEMA)
    yield Statement("schema pb", SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(schema, keeper))
    yield Statement("", SQL("GRANT USAGE ON LANGUAGE {} TO {}").format(listed(LANGUAGES), keeper))
    yield Statement("", SQL("SET LOCAL ROLE {}").format(keeper))
    for says, text in _texts().items():
        yield Statement(says, SQL(text))
    yield Statement("", SQL("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {} FROM PUBLIC").format(schema))
    yield from agent
    yield Statement("", SQL("SET LOCAL ROLE NONE"))


def _agent(policy: AgentPolicySpec, facts: Facts, login: str, policy_hash: str) -> Iterator[Statement]:
    limits = policy.limits
    values: Sequence[object] = (
        login,
        policy_hash,
        facts.schema_.digest,
        "",
        limits.calls_per_minute,
        limits.rows_read_per_day,
        limits.rows_written_per_day,
        duration.parse(limits.statement_timeout),
        names.counter(policy.agent),
        limits.open_runs,
    )
    columns = (
        "role", "policy_hash", "schema_hash", "plan_hash", "calls_per_minute", "rows_read_per_day",
        "rows_written_per_day", "statement_timeout", "reads", "open_runs",
    )  # fmt: skip
    counter = Identifier(names.SCHEMA, names.counter(policy.agent))
    yield Statement("count what it reads", SQL("CREATE SEQUENCE IF NOT EXISTS {}").format(counter))
    yield Statement(
        "its limits",
        SQL("INSERT INTO pb.agent ({}) VALUES ({}) ON CONFLICT (role) DO UPDATE SET {}").format(
            SQL(", ").join(map(Identifier, columns)),
            SQL(", ").join(map(Literal, values)),
            SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in columns[1:]),
        ),
    )
    yield Statement("", SQL("DELETE FROM pb.permission WHERE role = {}").format(Literal(login)))
    for one in policy.collections:
        for operation, most in _permissions(one):
            row = SQL(", ").join(map(Literal, (login, one.name, operation, most)))
            said = f"permission to {operation} {one.name}, {most} rows at once"
            yield Statement(said, SQL("INSERT INTO pb.permission VALUES ({})").format(row))


def _permissions(policy: CollectionPolicy) -> Iterator[tuple[str, int]]:
    if policy.read is not None:
        yield from (("get", 1), ("list", policy.read.max_rows))
    if policy.aggregate is not None:
        yield "aggregate", policy.aggregate.max_groups
    if policy.create is not None:
        yield "create", _CREATED
    if policy.update is not None:
        yield "update", policy.update.max_rows
    if policy.delete is not None:
        yield "delete", policy.delete.max_rows


def _nothing(policy: AgentPolicySpec, facts: Facts, tenant: str) -> Iterator[Statement]:
    """Take everything back first, so that what the policy no longer says is gone."""
    roles_ = SQL(", ").join(map(Identifier, (names.login(tenant, policy.agent), names.gate(tenant, policy.agent))))
    for schema in (facts.schema_.name, names.SCHEMA):
        for what in ("TABLES", "SEQUENCES", "ROUTINES"):
            every = SQL("REVOKE ALL ON ALL {} IN SCHEMA {} FROM {}")
            yield Statement("", every.format(SQL(what), Identifier(schema), roles_))
        taken = SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(Identifier(schema), roles_)
        yield Statement(f"take back what it holds in {schema}", taken)
    gates_ = Identifier(names.gates(policy.agent))
    yield Statement("", SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(gates_))


def _former(policy: AgentPolicySpec, facts: Facts) -> Iterator[Statement]:
    """Row policies of this agent on tables that its policy no longer names."""
    wanted = {one.name for one in policy.collections}
    mine = {names.policy(policy.agent, what) for what in ("open", "fence", "create", "update")}
    for guarded in facts.surroundings.guarded:
        for name in sorted(mine & set(guarded.policies)) if guarded.collection not in wanted else ():
            table = Identifier(facts.schema_.name, guarded.collection)
            yield Statement(
                f"drop policy {name} on {guarded.collection}",
                SQL("DROP POLICY {} ON {}").format(Identifier(name), table),
            )
    for guarded in facts.surroundings.guarded:
        if guarded.collection in wanted:
            yield from passing(guarded, Identifier(facts.schema_.name, guarded.collection))


def _tables(policy: AgentPolicySpec, facts: Facts, tenant: str) -> Iterator[Statement]:
    agent, schema = policy.agent, facts.schema_.name
    login, owner, gate_schema = names.login(tenant, agent), names.gate(tenant, agent), names.gates(agent)
    gated = policy.enforcement.reads == "Gate"
    holder = owner if gated else login
    yield Statement(
        f"let {holder} into schema {schema}",
        SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema), Identifier(holder)),
    )
    if gated:
        yield from _gate_schema(gate_schema, names.keeper(tenant), owner, login)
    for one in policy.collections:
        collection = facts.schema_.by_name[one.name]
        table = Identifier(schema, one.name)
        yield from grants(one, collection, table, schema, holder)
        yield from row_security(one, collection, schema, agent=agent, holder=holder)
        yield from triggers(one, collection, table)
        if gated:
            telling = frozenset(what for what in gates.WRITES if told(policy, one, what, facts.schema_))
            gate = gates.Gate(one, collection, table, gate_schema, owner, login, telling)
            yield from gates.gates(gate)


def _gate_schema(schema: str, keeper: str, owner: str, login: str) -> Iterator[Statement]:
    made = SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(Identifier(schema), Identifier(keeper))
    yield Statement(f"schema {schema} with its gates", made)
    yield Statement("", SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema), Identifier(login)))
    for who, functions in ((owner, _USED), (login, _SAID)):
        yield Statement("", SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(names.SCHEMA), Identifier(who)))
        for function in functions:
            yield Statement("", SQL("GRANT EXECUTE ON FUNCTION pb.{} TO {}").format(SQL(function), Identifier(who)))


_USED: Final = (
    "saw(text, text, bigint, jsonb, jsonb, jsonb)", "digest(text)", "clauses(jsonb, jsonb, text[])",
    "key(jsonb, jsonb)", "sorting(jsonb, text[], text)", "assignments(jsonb, jsonb)",
    "answered(text, text, jsonb, jsonb)", "remember(text, jsonb)", "may_tell(text, text)",
)  # fmt: skip
"""What the gates call."""
_SAID: Final = ("standing(uuid)", "decide(uuid, text, jsonb)", "fail(uuid, text, text)")
"""What the login itself may say of its run. That a person approved is not among it."""
