"""What of a pool is there already: the queries behind ``pools.py``, on shared catalogs and on the pool's own.

All run with ``search_path`` pinned to ``pg_catalog``.
"""

from typing import Final

ROLES: Final = """
SELECT r.rolname::text, COALESCE(shobj_description(r.oid, 'pg_authid'), ''),
       r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
  FROM pg_roles r WHERE r.rolname = ANY(%s)
"""

# A drop that was cut short leaves a database with a limit of -2: it can neither be opened nor altered, only dropped.
DATABASE: Final = """
SELECT pg_get_userbyid(d.datdba)::text, COALESCE(shobj_description(d.oid, 'pg_database'), ''),
       d.datallowconn AND d.datconnlimit <> -2, d.datistemplate
  FROM pg_database d WHERE d.datname = %s
"""

# In a database of a tenant's own, its agents' logins come in by grants of their policies (agents/roles.py).
DATABASE_GRANTS: Final = """
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END,
       array_agg(DISTINCT a.privilege_type), a.is_grantable
  FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a
 WHERE d.datname = %s AND a.grantee <> d.datdba AND pg_get_userbyid(a.grantee) !~ '^pb_[0-9a-z]{8}_mig_[ab]$'
   AND NOT (d.datname ~ '^pb_t_[0-9a-z]{8}$'
            AND starts_with(pg_get_userbyid(a.grantee), 'pba_' || substr(d.datname, 6) || '_a_'))
 GROUP BY a.grantee, a.is_grantable
"""

# Databases that let every login in.
OPEN_DATABASES: Final = """
SELECT DISTINCT d.datname::text
  FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a
 WHERE a.grantee = 0 AND d.datallowconn ORDER BY 1
"""

SCHEMAS: Final = """
SELECT n.nspname::text, pg_get_userbyid(n.nspowner)::text FROM pg_namespace n
 WHERE n.nspname IN ('app', 'ext', 'paybill')
"""

SCHEMA_GRANTS: Final = """
SELECT n.nspname::text, CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END,
       array_agg(DISTINCT a.privilege_type), a.is_grantable
  FROM pg_namespace n, aclexplode(n.nspacl) a
 WHERE n.nspname IN ('app', 'ext', 'paybill', 'public') AND a.grantee <> n.nspowner
 GROUP BY n.nspname, a.grantee, a.is_grantable
"""

DEFAULT_GRANTS: Final = """
SELECT COALESCE(n.nspname::text, ''), d.defaclobjtype::text,
       CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END, array_agg(DISTINCT a.privilege_type)
  FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
 WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s) AND a.grantee <> d.defaclrole
 GROUP BY 1, 2, a.grantee
UNION ALL
SELECT '', 'f', %(owner)s, ARRAY['EXECUTE'] FROM pg_default_acl d
 WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s)
   AND d.defaclobjtype = 'f' AND d.defaclnamespace = 0
"""

TENANT_FUNCTION: Final = """
SELECT p.prosrc, pg_get_userbyid(p.proowner)::text, p.provolatile::text, COALESCE(p.proconfig, '{}'),
       ARRAY(SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END
               FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'paybill' AND p.proname = 'tenant' AND p.pronargs = 0
"""

# Large objects belong to no schema and advisory locks to no tenant, so in a shared database both are for nobody.
# What gives locks back stays callable: asyncpg's pool calls pg_advisory_unlock_all() on every release.
CLOSABLE_FUNCTIONS: Final = """
SELECT p.oid::regprocedure::text FROM pg_proc p
 WHERE p.pronamespace = 'pg_catalog'::regnamespace
   AND (p.proname ~ '^(lo_.*|loread|lowrite|be_lo_.*)$' OR p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')
   AND EXISTS (SELECT 1 FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
 ORDER BY 1
"""
