"""The catalog queries behind ``introspection.py``: one set, run in one snapshot with ``search_path`` pinned.

``format_type`` puts a schema in front of every type that is not Postgres' own, so what it says may stand in a cast.
"""

from typing import Final

SERVER: Final = """
SELECT current_setting('server_version_num')::int, current_setting('is_superuser') = 'on',
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname LIKE %(mine)s ORDER BY rolname),
       ARRAY(SELECT DISTINCT pg_get_userbyid(a.grantee)::text FROM pg_database d, aclexplode(d.datacl) a
              WHERE d.datname = current_database() AND a.privilege_type = 'CONNECT'
                AND a.grantee NOT IN (0, d.datdba)
                AND pg_get_userbyid(a.grantee) NOT LIKE %(agents)s ORDER BY 1)
"""

MEMBERSHIPS: Final = """
SELECT DISTINCT pg_get_userbyid(roleid)::text, pg_get_userbyid(member)::text FROM pg_auth_members
 WHERE pg_get_userbyid(roleid) LIKE %(mine)s OR pg_get_userbyid(member) LIKE %(mine)s ORDER BY 1, 2
"""

COLUMNS: Final = """
SELECT c.relname::text, c.relkind::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
       b.typname::text, b.typtype::text, b.typnamespace = 'pg_catalog'::regnamespace,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       NOT (a.attnotnull OR t.typnotnull),
       a.atthasdef OR a.attidentity <> '' OR COALESCE(t.typdefault, '') <> '',
       a.attgenerated <> '' OR a.attidentity = 'a',
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder),
       COALESCE((SELECT s.relname::text FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                  WHERE d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.classid = 'pg_class'::regclass
                    AND d.deptype = 'a' AND s.relnamespace = c.relnamespace LIMIT 1), '')
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
 ORDER BY c.relname, a.attnum
"""

KEYS: Final = """
SELECT c.relname::text, i.indisprimary,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (n, place)
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.n
              WHERE k.place <= i.indnkeyatts ORDER BY k.place)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND i.indisunique AND i.indisvalid AND NOT c.relispartition
 ORDER BY 1, 2 DESC, 3
"""

REFERENCES: Final = """
SELECT c.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY k (n, place)
               JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.n ORDER BY k.place),
       CASE WHEN f.relnamespace = c.relnamespace THEN f.relname::text
            ELSE format('%%I.%%I', f.relnamespace::regnamespace::text, f.relname) END,
       ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k (n, place)
               JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.n ORDER BY k.place),
       o.confdeltype::text, o.confupdtype::text
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_class f ON f.oid = o.confrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND o.contype = 'f' AND o.conparentid = 0 AND NOT c.relispartition
 ORDER BY 1, 2, 3, 4
"""

GUARDED: Final = """
SELECT c.relname::text, pg_get_userbyid(c.relowner)::text, c.relrowsecurity,
       ARRAY(SELECT DISTINCT CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END
               FROM (SELECT (aclexplode(c.relacl)).grantee
                     UNION SELECT (aclexplode(a.attacl)).grantee FROM pg_attribute a WHERE a.attrelid = c.oid) g
              WHERE g.grantee <> c.relowner
                AND (g.grantee = 0 OR pg_get_userbyid(g.grantee) NOT LIKE %(agents)s) ORDER BY 1),
       ARRAY(SELECT p.polname::text FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname)
  FROM pg_class c
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
 ORDER BY 1
"""

OPEN_DATABASES: Final = """
SELECT d.datname::text FROM pg_database d
 WHERE d.datallowconn AND d.datname <> current_database() AND has_database_privilege('public', d.oid, 'CONNECT')
 ORDER BY 1
"""

OPEN_SCHEMAS: Final = """
SELECT nspname::text FROM pg_namespace
 WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND has_schema_privilege('public', oid, 'USAGE')
 ORDER BY 1
"""

OPEN_FUNCTIONS: Final = """
SELECT p.oid::regprocedure::text FROM pg_proc p
 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
   AND (p.proname ~ %(closed)s) AND has_function_privilege('public', p.oid, 'EXECUTE')
 ORDER BY 1
"""

OPEN_CATALOGS: Final = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relname = ANY(%(closed)s)
   AND has_table_privilege('public', c.oid, 'SELECT')
 ORDER BY 1
"""

OPEN_DEFINERS: Final = """
SELECT format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pb')
   AND has_function_privilege('public', p.oid, 'EXECUTE')
   AND (n.nspname = %(schema)s OR has_schema_privilege('public', n.oid, 'USAGE'))
 ORDER BY 1
"""

# What was granted to a role, or is its own, is noted for it with every kind of object there is. Memberships have
# their own query; languages and databases are the plan's, and a tenant that moved was let into another one before.
STRAYS: Final = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0)
  FROM pg_shdepend d
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_namespace s ON d.classid = 'pg_namespace'::regclass AND s.oid = d.objid
  LEFT JOIN pg_namespace n ON n.oid = COALESCE(c.relnamespace, p.pronamespace, s.oid)
 WHERE d.refclassid = 'pg_authid'::regclass AND pg_get_userbyid(d.refobjid) LIKE %(mine)s
   AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND d.classid NOT IN ('pg_auth_members'::regclass, 'pg_language'::regclass, 'pg_database'::regclass)
   AND d.deptype IN ('a', 'o')
   AND NOT COALESCE(n.nspname = 'pb' OR n.nspname LIKE 'pba\\_%%' OR n.nspname = %(schema)s AND d.deptype = 'a', false)
 ORDER BY 1
"""
