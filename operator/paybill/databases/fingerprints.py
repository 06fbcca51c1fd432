"""Which tenants' catalog entries changed since the last look: one number per tenant, computed inside Postgres.

A fleet is compared with what is declared every minute. To fetch what ten thousand tenants have would cost seconds of
both processes each time, so a tenant is looked at only when its number is another one. The number covers every row
that a look reads but the open sessions: rows about names are covered by oid, so that a renamed role or database of
somebody else's is news only where its row is.
"""

from typing import Final

from psycopg import sql

from paybill.databases.server import Session
from paybill.desired import sql_names as names
from paybill.desired.database_facts import ServerTraits
from paybill.desired.database_tenant import PoolDatabase

_QUERY: Final = r"""
WITH pool AS MATERIALIZED (
  SELECT DISTINCT substr(r.rolname, 4, 8) AS id
    FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles p ON p.oid = m.roleid
   WHERE p.rolname = %(pool)s AND r.rolname ~ '^pb_[0-9a-z]{{8}}_'
  UNION
  SELECT substr(nspname, 3) FROM pg_namespace WHERE nspname ~ '^t_[0-9a-z]{{8}}$'
  UNION
  SELECT substr(datname, 6) FROM pg_database WHERE %(databases)s AND datname ~ %(own)s),
mine AS MATERIALIZED (
  SELECT r.oid, pool.id, hash_record_extended(r, 0) AS print
    FROM {source} r JOIN pool ON pool.id = substr(r.rolname, 4, 8)
   WHERE r.rolname >= 'pb_' AND r.rolname < 'pb_~' AND r.rolname ~ '^pb_[0-9a-z]{{8}}_'),
spaces AS MATERIALIZED (
  SELECT n.oid, substr(n.nspname, 3) AS id,
         hash_record_extended(ROW(n.nspname, n.nspowner, n.nspacl, obj_description(n.oid, 'pg_namespace')), 1) AS print
    FROM pg_namespace n WHERE n.nspname ~ '^t_[0-9a-z]{{8}}$'),
contents AS MATERIALIZED (
  SELECT s.id, d.classid, d.objid FROM spaces s
    JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = s.oid AND d.deptype = 'n'
   WHERE d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)),
prints AS (
  SELECT id, print FROM mine
  UNION ALL SELECT id, print FROM spaces
  UNION ALL SELECT id, hash_record_extended(m, 2) FROM mine JOIN pg_auth_members m ON m.member = mine.oid
  UNION ALL SELECT id, hash_record_extended(m, 3) FROM mine JOIN pg_auth_members m ON m.roleid = mine.oid
  UNION ALL SELECT id, hash_record_extended(s, 4) FROM mine JOIN pg_db_role_setting s ON s.setrole = mine.oid
  UNION ALL SELECT id, hash_record_extended(d, 5) FROM mine
    JOIN pg_shdescription d ON d.classoid = 'pg_authid'::regclass AND d.objoid = mine.oid
  UNION ALL SELECT id, hash_record_extended(d, 6) FROM mine JOIN pg_default_acl d ON d.defaclrole = mine.oid
  UNION ALL SELECT id, hash_record_extended(d, 7) FROM mine
    JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = mine.oid
  UNION ALL SELECT id, hash_record_extended(ROW(d.oid, a.grantee, a.privilege_type, a.is_grantable), 8)
    FROM pg_database d, aclexplode(d.datacl) a JOIN mine ON mine.oid = a.grantee
  UNION ALL SELECT o.id, hash_record_extended(ROW(c.oid, c.relname, c.relowner, c.relacl), 9)
    FROM contents o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
  UNION ALL SELECT o.id, hash_record_extended(ROW(p.oid, p.proname, p.proowner, p.proacl), 10)
    FROM contents o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
  UNION ALL SELECT o.id, hash_record_extended(ROW(t.attrelid, t.attnum, t.attacl), 11)
    FROM contents o JOIN pg_attribute t ON o.classid = 'pg_class'::regclass AND t.attrelid = o.objid
     AND t.attacl IS NOT NULL)
SELECT id, (count(*) || '/' || bit_xor(print)) FROM prints GROUP BY id
"""

_SESSIONS: Final = """
SELECT substr(usename, 4, 8), usename::text, count(*)::int FROM pg_stat_activity
 WHERE usename ~ '^pb_[0-9a-z]{8}_' GROUP BY 1, 2
"""


async def fingerprints(
    session: Session, traits: ServerTraits, pool: PoolDatabase, *, databases: bool = False
) -> dict[str, str]:
    """One fingerprint per tenant that has anything in ``pool``; ``session`` is open on the pool database.

    With ``databases`` also of each that has a database of its own on the server, by what the whole server knows of it:
    what is inside that database is in none of these.

    A managed administrator may not read pg_authid: there a password that was set by hand changes no fingerprint, as no
    look would show it either.
    """
    source = sql.Identifier("pg_authid" if traits.superuser else "pg_roles")
    values = {"pool": pool.name, "databases": databases, "own": names.TENANT_DATABASE}
    cursor = await session.execute(sql.SQL(_QUERY).format(source=source), values)
    return dict(await cursor.fetchall())


async def open_sessions(session: Session) -> dict[str, dict[str, int]]:
    """Tenant id → login → number of its open sessions, of everybody who has any on this server."""
    found: dict[str, dict[str, int]] = {}
    cursor = await session.execute(_SESSIONS)
    for tenant_id, login, number in await cursor.fetchall():
        found.setdefault(tenant_id, {})[login] = number
    return found
