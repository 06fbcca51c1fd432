"""A provisioned tenant works for the people and programs that log in."""

from dataclasses import replace

import psycopg
import pytest

from paybill.api.failures import Blocked, Invalid
from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.pools import ensure_pool
from paybill.databases.tenants import ensure, observe
from paybill.desired.database import differences
from tests.databases.tenancy import desired, new_id, provision


async def test_migrations_make_tables_that_the_app_writes_and_readers_read(acme):
    acme.sql("INSERT INTO notes VALUES (1, 'hello')")

    assert acme.sql("SELECT body FROM notes", "ro_a") == [("hello",)]


async def test_what_a_migration_makes_belongs_to_the_owner_role(at, acme):
    acme.sql(
        "CREATE TABLE made (id serial PRIMARY KEY); CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "mig_a",
    )
    acme.sql("RESET ROLE; CREATE TABLE after_reset ()", "mig_a")

    owners = at.run("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s", acme.pool.name, [acme.schema])
    assert owners == [(acme.login("owner"),)]
    acme.sql("INSERT INTO made DEFAULT VALUES")
    assert acme.sql("SELECT one(), id FROM made", "ro_a") == [(1, 1)]


async def test_a_migration_login_that_drops_its_role_can_do_nothing(acme):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        acme.sql(f"SET ROLE NONE; CREATE TABLE {acme.schema}.stray ()", "mig_a")


async def test_a_tenant_in_place_shows_no_difference_and_is_not_changed(acme):
    assert await acme.differences() == ()

    assert (await acme.ensure()).changed == ()


async def test_a_pool_in_place_is_not_changed(server, schemas, rows):
    assert (await ensure_pool(server, schemas)).changed == ()
    assert (await ensure_pool(server, rows)).changed == ()


async def test_row_tenants_see_their_own_rows_only(red, blue):
    assert red.sql("SELECT tenant_id, email FROM customers") == [(red.id, "red@example.org")]
    assert blue.sql("SELECT tenant_id, email FROM customers", "ro_a") == [(blue.id, "blue@example.org")]
    assert await red.differences() == ()


async def test_all_tenants_of_a_pool_are_seen_at_once(server, schemas, acme, beta):
    absent = new_id()

    everyone = await observe(server, schemas, None)
    asked = await observe(server, schemas, [acme.id, absent, beta.id])

    assert {acme.id, beta.id} <= everyone.keys()
    assert asked.keys() == {acme.id, beta.id, absent}
    assert asked[absent].absent
    for tenant in (acme, beta):
        assert everyone[tenant.id] == asked[tenant.id]
        assert differences(tenant.desired, everyone[tenant.id]) == ()


async def test_a_tenant_that_is_nowhere_differs_in_one_sentence(server, schemas):
    wanted = desired(schemas)

    observed = await observe(server, schemas, [wanted.id])

    assert len(differences(wanted, observed[wanted.id])) == 1


async def test_limits_are_what_a_session_starts_with(at, acme):
    settings = "SELECT current_setting('statement_timeout'), current_setting('temp_file_limit')"
    assert acme.sql(settings) == [("30s", "1GB" if at.profile == "Superuser" else "-1")]


async def test_changed_limits_are_applied(acme):
    outcome = await acme.ensure(connections=3, statement_timeout_ms=None, idle_in_transaction_ms=5_000)

    assert outcome.changed
    assert await acme.differences() == ()
    assert acme.sql("SHOW statement_timeout") == [("0",)]
    assert acme.sql("SHOW idle_in_transaction_session_timeout") == [("5s",)]


async def test_what_a_managed_server_refuses_is_said(at, server, schemas):
    outcome = await ensure(server, schemas, desired(schemas))
    pool_outcome = await ensure_pool(server, schemas)

    if at.profile == "Superuser":
        assert outcome.degraded == pool_outcome.degraded == ()
    else:
        assert any("temp_file_limit" in fact for fact in outcome.degraded)
        assert any("postgres" in fact for fact in pool_outcome.degraded)
        assert any("advisory" in fact for fact in pool_outcome.degraded)


async def test_the_operator_stays_member_of_no_tenant_role(at, acme):
    usable = "m.inherit_option OR m.set_option" if at.version >= 16 else "true"
    members = at.run(
        f"SELECT m.roleid::regrole FROM pg_auth_members m WHERE m.member = ANY('{{cloud,postgres}}'::regrole[]::oid[])"
        f" AND m.roleid::regrole::text LIKE 'pb_{acme.id}_%' AND ({usable})"
        if at.profile == "Managed"
        else "SELECT 1 FROM pg_auth_members WHERE member = 'postgres'::regrole"
        f" AND roleid::regrole::text LIKE 'pb_{acme.id}%'"
    )
    assert members == []


async def test_the_second_slot_is_filled_and_the_first_retired(at, server, schemas, acme):
    password = new_password()
    both = replace(acme.desired, logins=("app_a", "app_b", "ro_a", "mig_a"))
    acme.passwords[acme.login("app_b")] = password
    await ensure(server, schemas, both, passwords={acme.login("app_b"): scram_verifier(password)})
    assert acme.sql("SELECT count(*) FROM notes", "app_b") == [(0,)]
    assert acme.sql("SELECT count(*) FROM notes", "app_a") == [(0,)]

    old = acme.connect("app_a")
    await acme.ensure(logins=("app_b", "ro_a", "mig_a"))

    with pytest.raises(psycopg.OperationalError):
        old.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        acme.connect("app_a")
    assert acme.sql("SELECT count(*) FROM notes", "app_b") == [(0,)]
    assert await acme.differences() == ()


@pytest.mark.parametrize(
    "bad",
    [
        'x"; DROP ROLE postgres; --',
        "abc'defg",
        "ABCDEFGH",
        "abcdefg",
        "abcdefghi",
        "ąbcdefgh",
        "abcdefg\n",
        "",
        "abcd%s12",
    ],
)
async def test_no_other_text_than_an_id_gets_near_sql(server, schemas, bad):
    with pytest.raises(Invalid):
        desired(schemas, id=bad)
    with pytest.raises(Invalid):
        await observe(server, schemas, [bad])


async def test_levels_that_come_later_say_so(server, schemas):
    wanted = desired(schemas, level="Database")

    with pytest.raises(Blocked) as failure:
        await ensure(server, schemas, wanted)

    assert failure.value.reason == "NotSupportedYet"


async def test_a_clear_text_password_is_refused(server, schemas):
    wanted = desired(schemas)

    with pytest.raises(Invalid) as failure:
        await ensure(server, schemas, wanted, passwords={wanted.login_names[0]: "hunter2hunter2"})

    assert "hunter2" not in str(failure.value)


async def test_a_row_tenant_cannot_be_put_among_schemas(at, server, schemas):
    with pytest.raises(Blocked):
        await provision(at, server, schemas, level="Rows")
