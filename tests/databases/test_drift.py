"""Whatever is changed behind Paybill's back is named, and mended by the same call that made the tenant."""

import psycopg
import pytest

from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.pools import ensure_pool
from paybill.databases.tenants import ensure

# By the administrator of the server: changes that people with admin rights make, and that Paybill can always undo.
DRIFT = {
    "a login's setting dropped": "ALTER ROLE pb_{a}_app_a RESET statement_timeout",
    "a login's setting changed": "ALTER ROLE pb_{a}_app_a SET statement_timeout = 0",
    "a setting added": "ALTER ROLE pb_{a}_app_a SET work_mem = '1GB'",
    "a setting added in the database": "ALTER ROLE pb_{a}_app_a IN DATABASE {db} SET statement_timeout = 0",
    "a search path changed": "ALTER ROLE pb_{a}_app_a IN DATABASE {db} SET search_path = t_{b}",
    "all settings dropped": "ALTER ROLE pb_{a}_mig_a IN DATABASE {db} RESET ALL",
    "a limit lifted": "ALTER ROLE pb_{a}_app_a CONNECTION LIMIT -1",
    "a group that logs in": "ALTER ROLE pb_{a}_owner LOGIN",
    "a login that cannot": "ALTER ROLE pb_{a}_app_a NOLOGIN",
    "a login that expires": "ALTER ROLE pb_{a}_app_a VALID UNTIL '2020-01-01'",
    "a login without inheritance": "ALTER ROLE pb_{a}_app_a NOINHERIT",
    "membership in the neighbour": "GRANT pb_{b}_rw TO pb_{a}_app_a",
    "the neighbour's membership": "GRANT pb_{a}_rw TO pb_{b}_app_a",
    "membership in the own owner": "GRANT pb_{a}_owner TO pb_{a}_app_a",
    "membership with admin option": "GRANT pb_{a}_rw TO pb_{a}_app_a WITH ADMIN OPTION",
    "membership taken": "REVOKE pb_{a}_rw FROM pb_{a}_app_a",
    "membership in the pool taken": "REVOKE {db} FROM pb_{a}_rw",
    "a database privilege": "GRANT TEMPORARY ON DATABASE {db} TO pb_{a}_rw",
    "a role of its prefix": "CREATE ROLE pb_{a}_app_b LOGIN; COMMENT ON ROLE pb_{a}_app_b IS '{mark}'",
}
# By the tenant's own migration login, which owns the schema.
SELF_INFLICTED = {
    "schema opened to all": "GRANT USAGE ON SCHEMA t_{a} TO PUBLIC",
    "schema opened to the neighbour": "GRANT ALL ON SCHEMA t_{a} TO pb_{b}_rw WITH GRANT OPTION",
    "schema closed to the app": "REVOKE USAGE ON SCHEMA t_{a} FROM pb_{a}_rw",
    "create given to the app": "GRANT CREATE ON SCHEMA t_{a} TO pb_{a}_rw",
    "default privileges taken": "ALTER DEFAULT PRIVILEGES IN SCHEMA t_{a} REVOKE SELECT ON TABLES FROM pb_{a}_r",
    "default privileges for the neighbour": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pb_{b}_r",
    "functions opened to all": "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    "a table granted to the neighbour": "GRANT SELECT ON notes TO pb_{b}_app_a",
    "a column granted to the neighbour": "GRANT SELECT (body) ON notes TO pb_{b}_app_a",
    "a function granted to the neighbour": (
        'CREATE FUNCTION "f;""x"(int) RETURNS int LANGUAGE sql AS $$SELECT 1$$;'
        ' GRANT EXECUTE ON FUNCTION "f;""x"(int) TO pb_{b}_app_a'
    ),
    "a table with a hostile name granted": (
        'CREATE TABLE "a"";DROP SCHEMA t_{b} CASCADE;--{{}}%s" (i int);'
        ' GRANT SELECT ON "a"";DROP SCHEMA t_{b} CASCADE;--{{}}%s" TO pb_{b}_app_a'
    ),
    "a sequence granted to the neighbour": "CREATE SEQUENCE s; GRANT USAGE ON SEQUENCE s TO pb_{b}_rw",
}


async def mended(tenant, *, fingerprint: str | None = None) -> None:
    if fingerprint is not None:
        assert await tenant.fingerprint() != fingerprint, "the look of every minute would pass it over"
    found = await tenant.differences()
    assert found
    outcome = await tenant.ensure()
    assert outcome.changed
    assert await tenant.differences() == ()
    assert (await tenant.ensure()).changed == ()


@pytest.mark.parametrize("change", DRIFT.values(), ids=DRIFT.keys())
async def test_what_an_administrator_changed(at, attacker, victim, change):
    acme, beta = attacker, victim
    statement = change.format(a=acme.id, b=beta.id, db=acme.pool.name, mark=acme.desired.mark)
    before = await acme.fingerprint()
    with psycopg.connect(at.admin_dsn, autocommit=True) as admin:
        admin.execute(statement)

    await mended(acme, fingerprint=before)

    assert await beta.differences() == ()
    acme.sql("INSERT INTO notes VALUES (1, 'works') ON CONFLICT DO NOTHING")


@pytest.mark.parametrize("change", SELF_INFLICTED.values(), ids=SELF_INFLICTED.keys())
async def test_what_a_tenant_changed_itself(attacker, victim, change):
    acme, beta = attacker, victim
    before = await acme.fingerprint()
    acme.sql(change.format(a=acme.id, b=beta.id), "mig_a")

    await mended(acme, fingerprint=before)

    assert await beta.differences() == ()
    assert beta.sql("SELECT body FROM notes") == [("secret",)]


async def test_a_setting_the_tenant_gave_itself_is_removed(acme):
    acme.sql(f"ALTER ROLE {acme.login('app_a')} SET statement_timeout = 0")

    await mended(acme)


async def test_a_dropped_role_is_made_again(at, server, schemas, acme):
    with psycopg.connect(at.admin_dsn, autocommit=True) as admin:
        admin.execute(f"DROP ROLE {acme.login('ro_a')}")
    login, password = acme.login("ro_a"), new_password()
    assert await acme.differences() != ()

    await ensure(server, schemas, acme.desired, passwords={login: scram_verifier(password)})

    acme.passwords[login] = password
    assert acme.sql("SELECT count(*) FROM notes", "ro_a") == [(0,)]
    assert await acme.differences() == ()


async def test_a_missing_password_is_a_difference_where_it_can_be_seen(at, acme):
    at.run(f"ALTER ROLE {acme.login('app_a')} PASSWORD NULL")

    assert len(await acme.differences()) == (1 if at.profile == "Superuser" else 0)


async def test_privileges_elsewhere_are_named(at, server, schemas, rows, acme):
    at.run("CREATE TABLE IF NOT EXISTS public.elsewhere ()", rows.name)
    at.run(f"GRANT SELECT ON public.elsewhere TO {acme.login('app_a')}", rows.name)

    [found] = await acme.differences()
    assert rows.name in found
    assert acme.login("app_a") in found

    at.run(f"REVOKE ALL ON public.elsewhere FROM {acme.login('app_a')}", rows.name)
    assert await acme.differences() == ()


async def test_a_powerful_attribute_is_taken_away(at, acme):
    if at.profile == "Managed":
        pytest.skip("only a superuser could have given it, and only one can take it")
    at.run(f"ALTER ROLE {acme.login('app_a')} SUPERUSER CREATEROLE CREATEDB REPLICATION BYPASSRLS")

    await mended(acme)


async def test_a_pool_is_mended(at, server, rows):
    at.run(
        "GRANT USAGE ON SCHEMA public, app, paybill TO PUBLIC; REVOKE USAGE ON SCHEMA paybill FROM pb_tenants;"
        f" GRANT CONNECT ON DATABASE {rows.name} TO PUBLIC; GRANT EXECUTE ON FUNCTION paybill.tenant() TO PUBLIC",
        rows.name,
    )
    assert (await ensure_pool(server, rows)).changed != ()

    assert (await ensure_pool(server, rows)).changed == ()
    acl = at.run("SELECT nspacl::text FROM pg_namespace WHERE nspname IN ('public', 'app', 'paybill')", rows.name)
    assert not any("{=" in text or ",=" in text for (text,) in acl)
