"""What a tenant's database knows of one agent, and how the agent is shut out of it, for a while or for good."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.agents import names
from paybill.agents.facts import Schema
from paybill.agents.runs import close_run
from paybill.databases.server import Session
from paybill.databases.sessions import end_sessions
from paybill.databases.statement import listed
from paybill.desired.database_facts import ServerTraits
from paybill.desired.sql_names import agents_pattern


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the last plan of an agent left: the hashes of its policy, of itself, of each part of the state."""

    policy: str
    plan: str
    state: Mapping[str, str]
    tables: Schema | None
    books: str | None


_KNOWN: Final = """
SELECT policy_hash, plan_hash, state_hash, to_jsonb(a) ->> 'tables', to_jsonb(a) ->> 'books' FROM pb.agent a
 WHERE role = %s
"""
_OPEN: Final = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE %s AND rolcanlogin ORDER BY 1"
_ROLES: Final = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1"
_RUNS: Final = "SELECT id FROM pb.run WHERE role = %s AND closed_time IS NULL ORDER BY id"
_FORGET: Final = "UPDATE pb.agent SET policy_hash = '', plan_hash = '', state_hash = '', tables = NULL WHERE role = %s"
_POLICIES: Final = """
SELECT c.relnamespace::regnamespace::text, c.relname::text, p.polname::text
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
  JOIN pg_roles r ON p.polroles = ARRAY[r.oid] WHERE r.rolname = ANY(%s) ORDER BY 1, 2, 3
"""


async def known(session: Session, login: str) -> Known | None:
    """What was carried out for ``login``; None when nothing ever was. ``session`` is on the tenant's database."""
    there = await (await session.execute("SELECT to_regclass('pb.agent') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return None
    row = await (await session.execute(_KNOWN, [login])).fetchone()
    if row is None:
        return None
    policy, plan, state, tables, books = row
    schema = Schema.model_validate_json(tables) if tables is not None else None
    return Known(policy=policy, plan=plan, state=json.loads(state) if state else {}, tables=schema, books=books)


async def verifier(session: Session, login: str) -> str | None:
    """The SCRAM verifier of a login, as a superuser sees it; None when there is no login or it has no password."""
    row = await (await session.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [login])).fetchone()
    return row[0] if row is not None else None


async def open_logins(session: Session, tenant: str) -> tuple[str, ...]:
    """The logins of a tenant's agents that may log in, whether a policy names them or not."""
    rows = await (await session.execute(_OPEN, [agents_pattern(tenant, "a_")])).fetchall()
    return tuple(login for (login,) in rows)


async def shut(session: Session, traits: ServerTraits, logins: Collection[str]) -> None:
    """Close logins and end their sessions; raises ``Retry("SessionsStillOpen")``."""
    for login in logins:
        await session.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(login)))
    await end_sessions(session, traits, logins)


async def remove(session: Session, traits: ServerTraits, tenant: str, agent: str) -> bool:
    """Take an agent out for good: its sessions, runs, gates, row policies and roles; False when nothing was there.

    Its journal stays, and so does the row that its runs hang on. May be called again after it was cut off.
    """
    login, gate = names.login(tenant, agent), names.gate(tenant, agent)
    roles = [name for (name,) in await (await session.execute(_ROLES, [[gate, login]])).fetchall()]
    if not roles:
        return False
    await shut(session, traits, [one for one in roles if one == login])
    async with session.transaction():
        if (await known(session, login)) is not None:
            for (run,) in await (await session.execute(_RUNS, [login])).fetchall():
                await close_run(session, run, "AgentRemoved")
            await session.execute("DELETE FROM pb.permission WHERE role = %s", [login])
            await session.execute(_FORGET, [login])
        for schema, table, policy in await (await session.execute(_POLICIES, [roles])).fetchall():
            on = SQL("{}.{}").format(SQL(schema), Identifier(table))
            await session.execute(SQL("DROP POLICY {} ON {}").format(Identifier(policy), on))
        await session.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(names.gates(agent))))
        await session.execute(SQL("DROP OWNED BY {}").format(listed(roles)))
        await session.execute(SQL("DROP ROLE {}").format(listed(roles)))
    return True
