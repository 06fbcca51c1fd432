"""Whether a database still is as an agent's plan left it, and what happens when it is not: the login is closed.

The catalogs are read as text and hashed in parts, after the plan was carried out and at every look. Nothing is put
right here: a grant too many, a policy that somebody added or a trigger that was disabled means that the limits did not
hold for a while, and that is for a person to see. Making the plan anew opens the login again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.agents import names
from paybill.agents.introspection import introspect
from paybill.api.canonical import digest
from paybill.api.failures import Blocked
from paybill.databases.failures import as_failure
from paybill.databases.server import Session
from paybill.databases.sessions import end_sessions
from paybill.desired.database_facts import ServerTraits

_ROLES: Final = """
SELECT r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls,
       r.rolcanlogin AND r.rolname <> %(login)s, r.rolconnlimit, COALESCE(r.rolvaliduntil::text, ''),
       ARRAY(SELECT pg_get_userbyid(m.roleid)::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1),
       ARRAY(SELECT pg_get_userbyid(m.member)::text FROM pg_auth_members m WHERE m.roleid = r.oid ORDER BY 1)
  FROM pg_roles r WHERE r.rolname = ANY(%(roles)s) ORDER BY 1
"""
_SETTINGS: Final = """
SELECT r.rolname::text, s.setdatabase, s.setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
 WHERE r.rolname = ANY(%(fixed)s) ORDER BY 1, 2
"""
_GRANTS: Final = """
SELECT c.relname::text, COALESCE(a.attname::text, ''),
       CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END, g.privilege_type, g.is_grantable
  FROM pg_class c
  CROSS JOIN LATERAL (SELECT NULL::pg_attribute AS a, (x).* FROM aclexplode(c.relacl) x
                      UNION ALL
                      SELECT t, (x).* FROM pg_attribute t, aclexplode(t.attacl) x WHERE t.attrelid = c.oid) g
  LEFT JOIN LATERAL (SELECT (g.a).attname) a ON true
 WHERE c.relnamespace = ANY(ARRAY[%(schema)s, 'pb', %(gates)s]::text[]::regnamespace[])
   AND g.grantee <> c.relowner AND (g.grantee = 0 OR pg_get_userbyid(g.grantee) = ANY(%(roles)s))
UNION ALL
SELECT n.nspname::text, '', CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END,
       g.privilege_type, g.is_grantable
  FROM pg_namespace n, aclexplode(n.nspacl) g
 WHERE g.grantee = 0 AND n.nspname !~ '^(pg_|information_schema)'
    OR g.grantee <> n.nspowner AND pg_get_userbyid(g.grantee) = ANY(%(roles)s)
UNION ALL
SELECT p.oid::regprocedure::text, '', pg_get_userbyid(g.grantee)::text, g.privilege_type, g.is_grantable
  FROM pg_proc p, aclexplode(p.proacl) g
 WHERE p.pronamespace = %(schema)s::regnamespace AND pg_get_userbyid(g.grantee) = ANY(%(roles)s)
UNION ALL
SELECT a.parname, '', pg_get_userbyid(g.grantee)::text, g.privilege_type, g.is_grantable
  FROM pg_parameter_acl a, aclexplode(a.paracl) g WHERE pg_get_userbyid(g.grantee) = ANY(%(roles)s)
UNION ALL
SELECT d.datname::text, '', CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END,
       g.privilege_type, g.is_grantable
  FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) g
 WHERE d.datname = current_database() AND (g.grantee = 0 OR pg_get_userbyid(g.grantee) = ANY(%(roles)s))
ORDER BY 1, 2, 3, 4
"""
_ROWS: Final = """
SELECT c.relname::text, c.relrowsecurity, p.polname::text, p.polcmd::text, p.polpermissive,
       ARRAY(SELECT CASE r WHEN 0 THEN '' ELSE pg_get_userbyid(r)::text END FROM unnest(p.polroles) r ORDER BY 1),
       COALESCE(pg_get_expr(p.polqual, p.polrelid), ''), COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), '')
  FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid AND EXISTS (
       SELECT FROM unnest(p.polroles) r WHERE r = 0 OR pg_get_userbyid(r) = ANY(%(roles)s))
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(tables)s) ORDER BY 1, 3
"""
_TRIGGERS: Final = """
SELECT c.relname::text, t.tgname::text, t.tgenabled::text, pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(tables)s) AND t.tgname LIKE 'pba\\_%%'
 ORDER BY 1, 2
"""
_FUNCTIONS: Final = """
SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text, p.prosecdef, p.proconfig, md5(p.prosrc),
       ARRAY(SELECT CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END
               FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) g
              WHERE g.grantee = 0 OR pg_get_userbyid(g.grantee) = ANY(%(roles)s) ORDER BY 1)
  FROM pg_proc p WHERE p.pronamespace = ANY(ARRAY['pb', %(gates)s]::text[]::regnamespace[]) ORDER BY 1
"""
_OPEN: Final = """
SELECT 'language', lanname::text FROM pg_language
 WHERE lanname IN ('sql', 'plpgsql') AND has_language_privilege('public', oid, 'USAGE') ORDER BY 2
"""
_LIMITS: Final = """
SELECT a.policy_hash, a.calls_per_minute, a.rows_read_per_day, a.rows_written_per_day, a.statement_timeout::text,
       a.reads, ARRAY(SELECT format('%%s %%s %%s', p.collection, p.operation, p.max_rows)
                        FROM pb.permission p WHERE p.role = a.role ORDER BY 1)
  FROM pb.agent a WHERE a.role = %(login)s
"""
_PARTS: Final[Mapping[str, str]] = {
    "roles": _ROLES, "settings": _SETTINGS, "grants": _GRANTS, "row policies": _ROWS, "triggers": _TRIGGERS,
    "functions": _FUNCTIONS, "languages": _OPEN, "limits": _LIMITS,
}  # fmt: skip

State = Mapping[str, str]
"""A hash by the name of what it is of."""


async def scan(session: Session, tenant: str, agent: str, schema: str, database: str) -> State:
    """How the database is, as far as the agent's limits rest on it."""
    login, gate = names.login(tenant, agent), names.gate(tenant, agent)
    roles = [names.keeper(tenant), gate, login]
    gates = f'"{names.gates(agent)}"'
    found = await (await session.execute("SELECT to_regnamespace(%s)", [gates])).fetchone()
    tables = await session.execute("SELECT DISTINCT collection FROM pb.permission WHERE role = %s", [login])
    values = {
        "roles": roles,
        "fixed": roles[:2],
        "login": login,
        "schema": schema,
        "gates": gates if found is not None and found[0] is not None else "pb",
        "tables": [name for (name,) in await tables.fetchall()],
    }
    state = {}
    for part, query in _PARTS.items():
        rows = await (await session.execute(query.encode(), values)).fetchall()
        state[part] = digest({"rows": json.loads(json.dumps(rows, default=str))})
    facts = await introspect(session, database, schema, tenant)
    state["tables"] = facts.schema_.digest
    around = facts.surroundings
    open_ = [
        *around.open_databases,
        *around.open_functions,
        *around.open_catalogs,
        *around.open_definers,
        *around.open_schemas,
    ]
    state["what PUBLIC may do"] = digest({"open": open_})
    state["what its roles hold elsewhere"] = digest({"strays": [*around.strays]})
    return state


async def drifted(session: Session, tenant: str, agent: str, schema: str, database: str) -> tuple[str, ...]:
    """What is not as the plan left it, by name; all of it when no plan was carried out."""
    login = names.login(tenant, agent)
    with as_failure(database):
        row = await (await session.execute("SELECT state_hash FROM pb.agent WHERE role = %s", [login])).fetchone()
        recorded: State = json.loads(row[0]) if row is not None and row[0] else {}
        state = await scan(session, tenant, agent, schema, database)
    return tuple(part for part, found in state.items() if recorded.get(part) != found)


async def hold(session: Session, traits: ServerTraits, tenant: str, agent: str, schema: str, database: str) -> None:
    """Close the login where anything drifted; raises ``Blocked("AgentDrifted")`` with what did."""
    parts = await drifted(session, tenant, agent, schema, database)
    if parts:
        await close(session, traits, tenant, agent)
        raise Blocked(
            "AgentDrifted",
            f"agent {agent} in database {database}: {', '.join(parts)} are not as its plan left them; its login is"
            " closed until the plan is carried out again",
        )


async def close(session: Session, traits: ServerTraits, tenant: str, agent: str) -> None:
    """Close the login and end its sessions: a suspension, or what drifted."""
    login = names.login(tenant, agent)
    await session.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(login)))
    await end_sessions(session, traits, [login])
