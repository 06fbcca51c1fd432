"""The catalog queries behind ``observation.py``, kept apart because SQL reads best as SQL.

Bound values: ``low`` and ``high`` bracket the role names (an index range), ``ids`` and ``schemas`` name the tenants
(NULL for all), ``pool`` is a pool database. The first column of every row is the tenant's id. All run with
``search_path`` pinned to ``pg_catalog``.
"""

from collections.abc import Mapping
from typing import Final, Literal

from psycopg import sql

OBJECTS: Final[Mapping[str, Literal["TABLES", "SEQUENCES", "FUNCTIONS", "TYPES", "SCHEMAS", "LARGE OBJECTS"]]] = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "FUNCTIONS",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}
"""How ``pg_default_acl.defaclobjtype`` is said in ALTER DEFAULT PRIVILEGES."""

ROLES: Final = """
SELECT substr(r.rolname, 4, 8), r.rolname::text,
       array_remove(ARRAY[
         CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolinherit THEN 'INHERIT' END,
         CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
         CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
         CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
       r.rolconnlimit, CASE WHEN r.rolvaliduntil < 'infinity' THEN r.rolvaliduntil::text ELSE '' END,
       {password}, COALESCE(shobj_description(r.oid, 'pg_authid'), '')
  FROM {source} r
 WHERE r.rolname >= %(low)s AND r.rolname < %(high)s AND r.rolname ~ '^pb_[0-9a-z]{{8}}_'
   AND (%(ids)s::text[] IS NULL OR substr(r.rolname, 4, 8) = ANY(%(ids)s))
"""

SCHEMAS: Final = sql.SQL("""
SELECT substr(n.nspname, 3), n.nspname::text, pg_get_userbyid(n.nspowner)::text,
       COALESCE(obj_description(n.oid, 'pg_namespace'), '')
  FROM pg_namespace n
 WHERE n.nspname ~ '^t_[0-9a-z]{8}$' AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY(%(schemas)s))
""")

POOL_MEMBERS: Final = """
SELECT DISTINCT substr(r.rolname, 4, 8)
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles p ON p.oid = m.roleid
 WHERE p.rolname = %(pool)s AND r.rolname ~ '^pb_[0-9a-z]{8}_'
"""

_TENANT_ROLES: Final = """
WITH mine AS MATERIALIZED (
  SELECT r.oid, r.rolname::text AS name, substr(r.rolname, 4, 8) AS id FROM pg_roles r
   WHERE r.rolname >= %(low)s AND r.rolname < %(high)s AND r.rolname ~ '^pb_[0-9a-z]{{8}}_'
     AND (%(ids)s::text[] IS NULL OR substr(r.rolname, 4, 8) = ANY(%(ids)s)))
"""

# What a tenant's roles are members of, and who is a member of a tenant's roles.
_MEMBERSHIPS: Final = """
, near AS (
  SELECT mine.id, m.* FROM mine JOIN pg_auth_members m ON m.member = mine.oid
  UNION ALL
  SELECT mine.id, m.* FROM mine JOIN pg_auth_members m ON m.roleid = mine.oid)
SELECT DISTINCT id, pg_get_userbyid(roleid)::text, pg_get_userbyid(member)::text,
       {inherit}, {set_role}, admin_option, pg_get_userbyid(grantor)::text
  FROM near
"""

_SETTINGS: Final = """
SELECT mine.id, mine.name, COALESCE(d.datname::text, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
  FROM mine JOIN pg_db_role_setting s ON s.setrole = mine.oid
  LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
"""

# The owner's own privileges are left out: they are the owner's to give up, and harm nobody else.
_GRANTS: Final = """
, acls AS (
  SELECT substr(n.nspname, 3) AS id, 'SCHEMA' AS kind, n.nspname::text AS name,
         a.grantee, a.privilege_type, a.is_grantable
    FROM pg_namespace n, aclexplode(n.nspacl) a
   WHERE n.nspname ~ '^t_[0-9a-z]{{8}}$' AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY(%(schemas)s))
     AND a.grantee <> n.nspowner
  UNION ALL
  SELECT mine.id, 'DATABASE', d.datname::text, a.grantee, a.privilege_type, a.is_grantable
    FROM pg_database d, aclexplode(d.datacl) a JOIN mine ON mine.oid = a.grantee)
SELECT id, kind, name, CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee)::text END,
       array_agg(DISTINCT privilege_type), is_grantable
  FROM acls GROUP BY id, kind, name, grantee, is_grantable
"""

# A role's entries for itself are its own business, but one: the global entry for functions exists only when PUBLIC's
# EXECUTE was taken away, so it is shown as the owner's. Those of a schema that a restore put aside go with it.
_DEFAULTS: Final = """
SELECT mine.id, mine.name, COALESCE(n.nspname::text, ''), d.defaclobjtype::text,
       CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END, array_agg(DISTINCT a.privilege_type)
  FROM mine JOIN pg_default_acl d ON d.defaclrole = mine.oid
  LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
 WHERE a.grantee <> d.defaclrole AND COALESCE(n.nspname NOT IN ('r_' || mine.id, 'o_' || mine.id), true)
 GROUP BY 1, 2, 3, 4, a.grantee
UNION ALL
SELECT mine.id, mine.name, '', 'f', mine.name, ARRAY['EXECUTE']
  FROM mine JOIN pg_default_acl d ON d.defaclrole = mine.oid AND d.defaclobjtype = 'f' AND d.defaclnamespace = 0
"""

# Inside: what in a tenant's schema is granted past its rw and r roles, or owned by another. A grant to a login would
# be lost with the next rotation, and would outlast the taking away of the rw role. The objects are found through
# pg_depend because pg_class has no index by schema (72,000 rows at a thousand tenants).
# Outside: what its roles own or were granted anywhere else, in any database of the server (pg_shdepend knows all), but
# for what a restore has staged or put aside (backups/restore_schema.py), where nobody else may make anything.
_STRAYS: Final = """
, spaces AS (
  SELECT n.oid, substr(n.nspname, 3) AS id FROM pg_namespace n
   WHERE n.nspname ~ '^t_[0-9a-z]{{8}}$' AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY(%(schemas)s))),
contents AS MATERIALIZED (
  SELECT spaces.id, d.classid, d.objid FROM spaces
    JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = spaces.oid AND d.deptype = 'n'
   WHERE d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)),
acl AS (
  SELECT o.id, o.classid, o.objid, a.grantee, a.privilege_type
    FROM contents o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid, aclexplode(c.relacl) a
  UNION ALL
  SELECT o.id, o.classid, o.objid, a.grantee, a.privilege_type
    FROM contents o JOIN pg_attribute t ON o.classid = 'pg_class'::regclass AND t.attrelid = o.objid
     AND t.attacl IS NOT NULL, aclexplode(t.attacl) a
  UNION ALL
  SELECT o.id, o.classid, o.objid, a.grantee, a.privilege_type
    FROM contents o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid, aclexplode(p.proacl) a),
inside AS (
  SELECT DISTINCT acl.id, acl.grantee, acl.classid, acl.objid, false AS owned
    FROM acl LEFT JOIN mine ON mine.oid = acl.grantee AND mine.id = acl.id
   WHERE CASE WHEN acl.classid = 'pg_proc'::regclass THEN acl.grantee <> 0 AND mine.oid IS NULL
              ELSE mine.oid IS NULL OR NOT (mine.name LIKE '%%\\_owner' OR mine.name LIKE '%%\\_rw'
                                            OR (mine.name LIKE '%%\\_r' AND acl.privilege_type = 'SELECT')) END
  UNION ALL
  SELECT o.id, c.relowner, o.classid, o.objid, true
    FROM contents o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
    LEFT JOIN mine ON mine.oid = c.relowner AND mine.id = o.id WHERE mine.oid IS NULL),
outside AS (
  SELECT mine.id, mine.name, s.classid, s.objid, s.dbid, s.deptype
    FROM mine JOIN pg_shdepend s ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = mine.oid
    LEFT JOIN pg_database here ON here.oid = s.dbid AND here.datname = current_database()
    LEFT JOIN pg_class c ON here.oid IS NOT NULL AND s.classid = 'pg_class'::regclass AND c.oid = s.objid
    LEFT JOIN pg_proc p ON here.oid IS NOT NULL AND s.classid = 'pg_proc'::regclass AND p.oid = s.objid
    LEFT JOIN pg_type y ON here.oid IS NOT NULL AND s.classid = 'pg_type'::regclass AND y.oid = s.objid
    LEFT JOIN pg_namespace n ON here.oid IS NOT NULL
     AND n.oid = CASE s.classid WHEN 'pg_namespace'::regclass THEN s.objid
                                ELSE COALESCE(c.relnamespace, p.pronamespace, y.typnamespace) END
   WHERE s.deptype IN ('a', 'o') AND s.classid NOT IN ('pg_default_acl'::regclass, 'pg_auth_members'::regclass)
     AND NOT (s.classid = 'pg_database'::regclass AND s.deptype = 'a')
     AND COALESCE(n.nspname NOT IN ('t_' || mine.id, 'r_' || mine.id, 'o_' || mine.id), true))
SELECT i.id, CASE i.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(i.grantee)::text END, o.type, o.identity,
       current_database()::text, true, i.owned
  FROM inside i, pg_identify_object(i.classid, i.objid, 0) o
UNION ALL
SELECT u.id, u.name, COALESCE(o.type, u.classid::regclass::text), COALESCE(o.identity, '#' || u.objid::text),
       COALESCE(d.datname::text, 'all'), false, u.deptype = 'o'
  FROM outside u LEFT JOIN pg_database d ON d.oid = u.dbid
  LEFT JOIN pg_identify_object(u.classid, u.objid, 0) o ON u.dbid = 0 OR d.datname = current_database()
"""

_SESSIONS: Final = """
SELECT mine.id, mine.name, count(*)::int FROM mine JOIN pg_stat_activity a ON a.usesysid = mine.oid GROUP BY 1, 2
"""

DETAILS: Final = tuple(
    sql.SQL((_TENANT_ROLES + query).replace("{{", "{").replace("}}", "}"))
    for query in (_SETTINGS, _GRANTS, _DEFAULTS, _STRAYS, _SESSIONS)
)
"""In this order: settings, grants, default grants, strays, sessions; memberships are read before them."""

MEMBERSHIPS: Final = _TENANT_ROLES + _MEMBERSHIPS
"""Still to be told the columns that Postgres 16 added."""
