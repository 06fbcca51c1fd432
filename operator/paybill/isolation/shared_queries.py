"""What of a pool's shared objects breaks a rule: one query per kind of object, each answering (rule, object).

Only what tenants can reach is of interest: a table without any grant to them, such as a ledger of migrations, may be as
it likes. ``groups`` are the roles through which a pool's tenants reach what they share. All run with ``search_path``
pinned to ``pg_catalog``, so every name in the answers of the server is qualified.
"""

from typing import Final

_REACHED: Final = """
WITH groups AS (SELECT oid FROM pg_roles WHERE rolname = ANY(%(groups)s)),
reached AS MATERIALIZED (
  SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, t.attnum AS tenant
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
   WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
     AND EXISTS (SELECT 1 FROM groups g
                  WHERE has_table_privilege(g.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                     OR has_any_column_privilege(g.oid, c.oid, 'SELECT, INSERT, UPDATE')))
"""

# How Postgres writes the one comparison that a fence may make; a column of type varchar is cast, which changes nothing.
FENCE: Final = r"^\(\(?tenant_id\)?(::text)? = (\( SELECT paybill\.tenant\(\) AS tenant\)|paybill\.tenant\(\))\)$"

_TABLES: Final = """
, fenced AS (
  SELECT polrelid FROM pg_policy
   WHERE NOT polpermissive AND polcmd = '*' AND polroles = '{0}'
     AND pg_get_expr(polqual, polrelid) ~ %(fence)s
     AND COALESCE(pg_get_expr(polwithcheck, polrelid), pg_get_expr(polqual, polrelid)) ~ %(fence)s)
SELECT 'RowSecurityOff', 'table app.' || relname FROM reached
 WHERE relkind IN ('r', 'p') AND tenant IS NOT NULL AND NOT relrowsecurity
UNION ALL
SELECT 'RowSecurityNotForced', 'table app.' || relname FROM reached
 WHERE relkind IN ('r', 'p') AND tenant IS NOT NULL AND NOT relforcerowsecurity
UNION ALL
SELECT 'FenceMissing', 'table app.' || relname FROM reached
 WHERE relkind IN ('r', 'p') AND tenant IS NOT NULL AND oid NOT IN (SELECT polrelid FROM fenced)
UNION ALL
SELECT 'TenantColumnMissing', 'table app.' || relname FROM reached
 WHERE relkind IN ('r', 'p', 'f') AND tenant IS NULL
   AND EXISTS (SELECT 1 FROM groups g WHERE has_table_privilege(g.oid, reached.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                  OR has_any_column_privilege(g.oid, reached.oid, 'INSERT, UPDATE'))
"""

_KEYS: Final = """
SELECT 'UniqueNotPerTenant', 'index ' || i.indexrelid::regclass::text || ' of table app.' || r.relname
  FROM reached r JOIN pg_index i ON i.indrelid = r.oid
 WHERE r.tenant IS NOT NULL AND (i.indisunique OR i.indisexclusion)
   AND NOT r.tenant = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])
UNION ALL
SELECT 'ForeignKeyNotPerTenant', 'constraint ' || k.conname || ' of table app.' || r.relname
  FROM reached r JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype = 'f' AND k.conparentid = 0
  JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attname = 'tenant_id' AND NOT t.attisdropped
 WHERE r.tenant IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM unnest(k.conkey, k.confkey) AS pair (ours, theirs)
                    WHERE pair.ours = r.tenant AND pair.theirs = t.attnum)
"""

# A view over a view is taken for one over tables of tenants: what it reads is not followed any further.
_VIEWS: Final = """
, reads AS (
  SELECT DISTINCT w.ev_class AS view FROM pg_rewrite w
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class c ON c.oid = d.refobjid AND c.oid <> w.ev_class
   WHERE c.relkind IN ('v', 'm') OR EXISTS (SELECT 1 FROM pg_attribute t WHERE t.attrelid = c.oid
                                              AND t.attname = 'tenant_id' AND NOT t.attisdropped))
SELECT 'ViewNotInvoker', 'view app.' || relname FROM reached
 WHERE relkind = 'v' AND oid IN (SELECT view FROM reads)
   AND NOT COALESCE(reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)
UNION ALL
SELECT 'MaterializedView', 'materialized view app.' || relname FROM reached
 WHERE relkind = 'm' AND oid IN (SELECT view FROM reads)
"""

_FUNCTIONS: Final = """
SELECT DISTINCT 'DefinerPathOpen', 'function ' || p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_roles g ON g.rolname = ANY(%(groups)s) AND has_function_privilege(g.oid, p.oid, 'EXECUTE')
   AND has_schema_privilege(g.oid, n.oid, 'USAGE')
 WHERE n.nspname IN ('app', 'ext', 'paybill', 'public') AND p.prosecdef
   AND NOT EXISTS (SELECT 1 FROM unnest(p.proconfig) setting WHERE setting LIKE 'search\\_path=%%')
"""

# What extensions bring is for whoever may use schema ext, and stays as it comes.
_PUBLIC: Final = """
SELECT 'PublicGrant', a.privilege_type || ' on database ' || d.datname
  FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a
 WHERE d.datname = current_database() AND a.grantee = 0
UNION ALL
SELECT 'PublicGrant', a.privilege_type || ' on schema ' || n.nspname
  FROM pg_namespace n, aclexplode(n.nspacl) a
 WHERE n.nspname IN ('app', 'ext', 'paybill', 'public') AND a.grantee = 0
UNION ALL
SELECT DISTINCT 'PublicGrant', a.privilege_type || ' on ' || c.oid::regclass::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
 WHERE n.nspname IN ('app', 'paybill', 'public') AND a.grantee = 0
   AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                      AND e.deptype = 'e')
UNION ALL
SELECT DISTINCT 'PublicGrant', a.privilege_type || ' on column ' || t.attname || ' of ' || c.oid::regclass::text
  FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
       aclexplode(t.attacl) a
 WHERE n.nspname IN ('app', 'paybill') AND t.attacl IS NOT NULL AND a.grantee = 0
UNION ALL
SELECT 'PublicGrant', 'EXECUTE on function ' || p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
       aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a
 WHERE n.nspname IN ('app', 'paybill') AND a.grantee = 0
   AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid
                      AND e.deptype = 'e')
"""

ALL: Final = (*(_REACHED + query for query in (_TABLES, _KEYS, _VIEWS)), _FUNCTIONS, _PUBLIC)
