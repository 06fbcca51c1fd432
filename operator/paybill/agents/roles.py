"""The roles of one agent: who logs in, who owns the gates, and who keeps the journal.

A login of its own for each agent is what makes everything else hold: where agents share a login and take a role in
each session, whoever has the login takes any of the roles (measured: `SET ROLE` inside the transaction was enough).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from psycopg.sql import SQL, Identifier, Literal

from paybill.agents import names
from paybill.agents.facts import Facts
from paybill.api import quantity
from paybill.api.agent_policy import AgentPolicySpec
from paybill.databases.statement import Statement


def missing(facts: Facts, tenant: str, agent: str) -> Iterator[Statement]:
    """Make the roles that are not there, closed."""
    for role in (names.keeper(tenant), names.gate(tenant, agent), names.login(tenant, agent)):
        if role not in facts.surroundings.roles:
            yield Statement(f"create role {role}", SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(Identifier(role)))


def members(facts: Facts) -> Iterator[Statement]:
    """End every membership: nobody acts as an agent's role, and an agent as nobody else."""
    for role, member in facts.surroundings.memberships:
        end = SQL("REVOKE {} FROM {} CASCADE").format(Identifier(role), Identifier(member))
        yield Statement(f"end the membership of {member} in {role}", end)


def attributes(policy: AgentPolicySpec, database: str, tenant: str) -> Iterator[Statement]:
    """What the roles are, but for whether the login may log in: that comes last."""
    powers = SQL("NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS NOINHERIT")
    login = Identifier(names.login(tenant, policy.agent))
    for role in (names.keeper(tenant), names.gate(tenant, policy.agent)):
        yield Statement(f"role {role}", SQL("ALTER ROLE {} NOLOGIN {}").format(Identifier(role), powers))
    until = "infinity" if policy.expires_time is None else policy.expires_time.astimezone(UTC).isoformat()
    yield Statement(
        f"role {names.login(tenant, policy.agent)}",
        SQL("ALTER ROLE {} NOLOGIN {} CONNECTION LIMIT {} VALID UNTIL {}").format(
            login, powers, Literal(policy.limits.connections), Literal(until)
        ),
    )
    kilobytes = int(quantity.parse(policy.limits.temp_files)) // 1024
    yield Statement(
        "limit its temporary files",
        SQL("ALTER ROLE {} SET temp_file_limit = {}").format(login, Literal(f"{kilobytes}kB")),
    )
    for role in (names.keeper(tenant), names.gate(tenant, policy.agent), names.login(tenant, policy.agent)):
        taken = SQL("REVOKE ALL ON DATABASE {} FROM {}").format(Identifier(database), Identifier(role))
        yield Statement("", taken)
    connect = SQL("GRANT CONNECT ON DATABASE {} TO {}").format(Identifier(database), login)
    yield Statement(f"let it into {database}", connect)


def opened(policy: AgentPolicySpec, tenant: str) -> Iterator[Statement]:
    """Let the login log in, unless the policy says that it may not."""
    if not policy.suspend:
        login = names.login(tenant, policy.agent)
        yield Statement(f"open role {login}", SQL("ALTER ROLE {} LOGIN").format(Identifier(login)))
