"""Each attack is denied, succeeds once its protection is gone (so the test tests something), and is denied again."""

import contextlib

import psycopg
import pytest

from paybill.databases.pools import ensure_pool
from tests.databases.attacks import ROWS_ATTACKS, SCHEMA_ATTACKS, Attack
from tests.databases.tenancy import Tenant, provision


def outcome(attack: Attack, attacker: Tenant, victim: Tenant) -> str:
    """The SQLSTATE the attack ends with, ``nothing`` when it reached no row, "" when it succeeded."""
    statement = attack.statement.format(a=attacker.id, b=victim.id, db=attacker.pool.name)
    with contextlib.closing(attacker.connect(attack.login)) as session:
        session.autocommit = False
        try:
            cursor = session.execute(statement)
            while cursor.nextset():
                pass
        except psycopg.Error as error:
            return error.sqlstate or str(error)
        finally:
            session.rollback()
        return "nothing" if cursor.description and cursor.rowcount == 0 else ""


async def proved_twice(attack: Attack, attacker: Tenant, victim: Tenant) -> None:
    names = {"a": attacker.id, "b": victim.id, "db": attacker.pool.name}
    at, where = attacker.at, attacker.pool.name
    assert outcome(attack, attacker, victim) == attack.denied
    if not attack.without:
        return
    at.run(attack.without.format(**names), where)
    try:
        assert outcome(attack, attacker, victim) == attack.succeeds
        if attack.drift == "tenant":
            assert await attacker.differences() != ()
            if at.profile == "Superuser":
                # What a superuser spoiled on a managed server, only a superuser can mend.
                await attacker.ensure()
                assert outcome(attack, attacker, victim) == attack.denied
        elif attack.drift == "pool":
            assert (await ensure_pool(attacker.server, attacker.pool)).changed != ()
    finally:
        at.run(attack.restored.format(**names) or "SELECT 1", where)
    assert outcome(attack, attacker, victim) == attack.denied
    assert await attacker.differences() == ()


@pytest.mark.parametrize("attack", SCHEMA_ATTACKS, ids=str)
async def test_between_schemas(attacker, victim, attack):
    await proved_twice(attack, attacker, victim)


@pytest.mark.parametrize("attack", ROWS_ATTACKS, ids=str)
async def test_between_rows(row_attacker, row_victim, attack):
    await proved_twice(attack, row_attacker, row_victim)


async def test_3_no_other_database_lets_a_tenant_in(at, server, acme, rows):
    closed = [rows.name, *(("postgres", "template1") if at.profile == "Superuser" else ())]
    for database in closed:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            acme.connect(database=database)

    at.run(f"GRANT CONNECT ON DATABASE {rows.name} TO PUBLIC")
    acme.connect(database=rows.name).close()
    assert (await ensure_pool(server, rows)).changed != ()

    with pytest.raises(psycopg.OperationalError):
        acme.connect(database=rows.name)


async def test_19_an_error_in_a_condition_tells_nothing_of_the_neighbour(red, blue):
    assert red.sql(f"SELECT 1 FROM customers WHERE tenant_id = '{blue.id}' AND 1 / (id - 1001) = 0") == []


async def test_18_an_open_policy_does_not_open_the_fence(at, rows, red, blue):
    at.run("CREATE POLICY slip ON app.customers USING (true)", rows.name)
    try:
        assert red.sql(f"SELECT * FROM customers WHERE tenant_id = '{blue.id}'") == []
        at.run("DROP POLICY pb_fence ON app.customers", rows.name)
        assert len(red.sql(f"SELECT * FROM customers WHERE tenant_id = '{blue.id}'")) == 1
    finally:
        condition = "(tenant_id = (SELECT paybill.tenant()))"
        at.run(
            "DROP POLICY slip ON app.customers; DROP POLICY IF EXISTS pb_fence ON app.customers;"
            f" CREATE POLICY pb_fence ON app.customers AS RESTRICTIVE USING {condition} WITH CHECK {condition}",
            rows.name,
        )
    assert red.sql(f"SELECT * FROM customers WHERE tenant_id = '{blue.id}'") == []


async def test_24_a_large_object_is_for_nobody(at, acme, beta):
    if at.profile == "Managed":
        pytest.skip("a managed administrator may not close large objects; the pool says Degraded")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        beta.sql("SELECT lo_create(0)")
    [(oid,)] = at.run("SELECT lo_create(0)", acme.pool.name)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        acme.sql(f"SELECT lo_get({oid})")


async def test_25_a_neighbours_session_cannot_be_ended(at, acme, beta):
    victim = beta.connect()
    attack = f"SELECT pg_terminate_backend({victim.info.backend_pid})"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        acme.sql(attack)
    assert victim.execute("SELECT 1").fetchone() == (1,)

    at.run(f"GRANT pg_signal_backend TO {acme.login('app_a')}")
    acme.sql(attack)
    with pytest.raises(psycopg.OperationalError):
        victim.execute("SELECT 1")
    victim.close()


async def test_26_a_tenant_cannot_open_the_database(at, acme):
    before = at.run("SELECT datacl FROM pg_database WHERE datname = %s", values=[acme.pool.name])

    acme.sql(f"GRANT CONNECT ON DATABASE {acme.pool.name} TO PUBLIC")

    assert at.run("SELECT datacl FROM pg_database WHERE datname = %s", values=[acme.pool.name]) == before
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        acme.sql(f"DROP DATABASE {acme.pool.name}")


async def test_30_connections_end_at_the_limit(at, server, schemas):
    tenant = await provision(at, server, schemas, connections=3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(contextlib.closing(tenant.connect()))
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            tenant.connect()

        at.run(f"ALTER ROLE {tenant.login('app_a')} CONNECTION LIMIT -1")
        tenant.connect().close()
    assert await tenant.differences() != ()


async def test_39_a_schema_given_away_is_taken_back(acme, beta):
    beta.sql(
        f"GRANT USAGE ON SCHEMA {beta.schema} TO {acme.login('app_a')}; GRANT SELECT ON notes TO {acme.login('app_a')}",
        "mig_a",
    )
    assert acme.sql(f"SELECT body FROM {beta.schema}.notes") != []
    assert len(await beta.differences()) == 2

    await beta.ensure()

    assert await beta.differences() == ()
    assert await acme.differences() == ()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        acme.sql(f"SELECT body FROM {beta.schema}.notes")
