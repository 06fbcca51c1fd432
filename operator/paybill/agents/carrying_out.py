"""Carries a plan out: all of it in one transaction, or nothing, and nothing at all when it was done before."""

from __future__ import annotations

import json
from collections.abc import Mapping

from psycopg.sql import SQL, Identifier, Literal

from paybill.agents.drift import State, drifted, scan
from paybill.agents.facts import Facts
from paybill.agents.plan import Plan, plan
from paybill.api.agent_policy import AgentPolicySpec
from paybill.api.failures import Retry
from paybill.databases.failures import as_failure
from paybill.databases.server import Session


async def carry_out(
    session: Session,
    policy: AgentPolicySpec,
    tenant: str,
    facts: Facts,
    *,
    verifier: str | None = None,
    accepted: State | None = None,
) -> tuple[str, ...]:
    """Make the database what ``policy`` says; returns what was done, nothing when it was so already.

    ``session`` is a superuser's, in autocommit, on the database of ``facts``; ``verifier`` the SCRAM verifier of the
    login's password. ``accepted`` is how the database was when somebody last looked whether it had drifted: what became
    of it since would be taken for ours. Raises what ``plan`` does, and ``Retry("SchemaDrifted")`` when it is another by
    now, or the tables are no longer those that the plan is for: whoever looks again sees what they have become.
    """
    wanted = plan(policy, facts, tenant)
    schema = facts.schema_.name
    with as_failure(facts.database):
        if await _applied(session, wanted) and not await drifted(session, tenant, policy.agent, schema, facts.database):
            if verifier is not None:
                await _set_password(session, wanted.login, verifier)
            return ()
        async with session.transaction():
            await session.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            # Two processes would make the same roles; and a migration waits, or we see its tables.
            await session.execute("SELECT pg_advisory_xact_lock(hashtextextended('paybill agents', 0))")
            if accepted is not None:
                found = await scan(session, tenant, policy.agent, schema, facts.database)
                _refuse_another(accepted, found, facts.database)
            for statement in wanted.all:
                await session.execute(statement.sql)
            if verifier is not None:
                await _set_password(session, wanted.login, verifier)
            state = await scan(session, tenant, policy.agent, schema, facts.database)
            _refuse_another({"tables": wanted.schema}, state, facts.database)
            await _record(session, wanted, state, facts)
    return tuple(statement.says for statement in wanted.all if statement.says)


def _refuse_another(known: State, found: State, database: str) -> None:
    parts = [part for part, before in known.items() if found.get(part) != before]
    if parts:
        said = f"database {database}: its {', '.join(parts)} changed while an agent's plan was carried out"
        raise Retry("SchemaDrifted", said, after=0.2)


async def _set_password(session: Session, login: str, verifier: str) -> None:
    await session.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(login), Literal(verifier)))


async def _applied(session: Session, wanted: Plan) -> bool:
    there = await (await session.execute("SELECT to_regclass('pb.agent') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return False
    # A login that was closed since is opened again only by carrying the plan out.
    query = "SELECT a.plan_hash, r.rolcanlogin FROM pb.agent a JOIN pg_roles r ON r.rolname = a.role WHERE a.role = %s"
    row = await (await session.execute(query, [wanted.login])).fetchone()
    return row is not None and tuple(row) == (wanted.digest, bool(wanted.last))


async def _record(session: Session, wanted: Plan, state: Mapping[str, str], facts: Facts) -> None:
    await session.execute(
        "UPDATE pb.agent SET plan_hash = %s, state_hash = %s, tables = %s, books = %s WHERE role = %s",
        [wanted.digest, json.dumps(state), facts.schema_.model_dump_json(), wanted.books, wanted.login],
    )
