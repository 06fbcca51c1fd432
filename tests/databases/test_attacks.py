"""Each attack is denied, succeeds once its protection is gone (so the test tests something), and is denied again."""

import contextlib

import psycopg
import pytest

from paybill.databases.pools import ensure_pool
from paybill.databases.tenants import ensure, observe
from paybill.desired.database import differences
from paybill.isolation.attacks import ON_ROWS, Attack, attacks_on
from paybill.isolation.attempts import Logins, attempt
from paybill.isolation.canaries import Scene
from tests.databases import protections
from tests.databases.protections import Protection
from tests.databases.servers import TestServer
from tests.databases.tenancy import provision


async def drifted(scene: Scene) -> tuple[str, ...]:
    attacker = scene.attacker
    seen = await observe(attacker.server, attacker.pool, [attacker.id])
    return differences(attacker.desired, seen[attacker.id])


async def proved_twice(attack: Attack, scene: Scene, at: TestServer, protection: Protection | None) -> None:
    async with Logins(scene) as logins:
        assert (await attempt(attack, logins)).result == "denied"
        if protection is None:
            return
        at.run(protection.without.format(**scene.names), scene.pool.name)
        try:
            assert (await attempt(attack, logins)).result == "succeeded"
            if protection.drift == "tenant":
                assert await drifted(scene) != ()
                if at.profile == "Superuser":
                    # What a superuser spoiled on a managed server, only a superuser can mend.
                    await ensure(scene.server, scene.pool, scene.attacker.desired)
                    assert (await attempt(attack, logins)).result == "denied"
            elif protection.drift == "pool":
                assert (await ensure_pool(scene.server, scene.pool)).changed != ()
        finally:
            at.run(protection.restored.format(**scene.names) or "SELECT 1", scene.pool.name)
        assert (await attempt(attack, logins)).result == "denied"
    assert await drifted(scene) == ()


@pytest.mark.parametrize("attack", attacks_on("Schema"), ids=str)
async def test_between_schemas(schema_scene, at, attack):
    await proved_twice(attack, schema_scene, at, protections.ON_SCHEMAS.get(str(attack)))


@pytest.mark.parametrize("attack", ON_ROWS, ids=str)
async def test_between_rows(row_scene, at, attack):
    await proved_twice(attack, row_scene, at, protections.ON_ROWS.get(str(attack)))


def test_each_protection_is_of_an_attack():
    assert protections.ON_SCHEMAS.keys() <= {str(attack) for attack in attacks_on("Schema")}
    assert protections.ON_ROWS.keys() <= {str(attack) for attack in ON_ROWS}


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
