"""Dropping removes all of one tenant and nothing of another, and only while the fence holds."""

import contextlib

import pytest

from paybill.api.failures import Blocked, Retry
from paybill.databases.drop import drop
from paybill.databases.tenants import ensure, observe
from tests.databases.tenancy import desired

TRACES = """
SELECT 'role', rolname::text FROM pg_roles WHERE rolname LIKE %(role)s
UNION ALL SELECT 'schema', nspname::text FROM pg_namespace WHERE nspname = %(schema)s
UNION ALL SELECT 'default', oid::text FROM pg_default_acl WHERE defaclacl::text LIKE %(any)s
UNION ALL SELECT 'setting', setrole::text FROM pg_db_role_setting s
           WHERE setrole <> 0 AND NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = s.setrole)
UNION ALL SELECT 'database', datname::text FROM pg_database WHERE datacl::text LIKE %(any)s
"""


class Fence:
    """Holds ``times`` times, then refuses; counts how often it was asked and in what kind of transaction."""

    def __init__(self, times: int = 1_000) -> None:
        self.times = times
        self.asked = 0

    async def __call__(self, session) -> None:
        assert session.info.transaction_status.name in ("INTRANS", "ACTIVE")
        self.asked += 1
        if self.asked > self.times:
            raise Retry("NotLeader", "another process took over")


def traces(tenant) -> list[tuple]:
    values = {"role": f"pb_{tenant.id}_%", "schema": f"t_{tenant.id}", "any": f"%pb_{tenant.id}_%"}
    return tenant.at.run(TRACES, tenant.pool.name, values)


async def dropped(tenant, fence=None):
    return await drop(tenant.server, tenant.pool, tenant.id, tenant.desired.uid, fence=fence or Fence())


async def test_nothing_of_the_tenant_is_left_and_the_neighbour_has_everything(acme, beta):
    acme.sql("CREATE TABLE more (id serial); CREATE VIEW v AS SELECT * FROM more; CREATE TYPE t AS (i int)", "mig_a")
    acme.sql("INSERT INTO notes SELECT i, 'x' FROM generate_series(1, 100) i")

    outcome = await dropped(acme)

    assert outcome.changed
    assert traces(acme) == []
    assert await beta.differences() == ()
    assert beta.sql("SELECT body FROM notes") == [("secret",)]


async def test_one_whose_default_privileges_name_several_of_its_own_roles_goes(acme):
    several = ", ".join(acme.login(suffix) for suffix in ("rw", "r"))
    acme.sql(f"SET ROLE {acme.login('owner')}; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {several}", "mig_a")

    await dropped(acme)

    assert traces(acme) == []


async def test_what_is_gone_is_no_failure(acme):
    await dropped(acme)

    assert (await dropped(acme)).changed == ()


async def test_open_sessions_end_first(acme):
    with contextlib.closing(acme.connect()) as session:
        session.execute("BEGIN; INSERT INTO notes VALUES (1, 'x')")
        await dropped(acme)
    assert traces(acme) == []


async def test_a_suspended_tenant_can_be_dropped(acme):
    await acme.ensure(access="None")
    await dropped(acme)
    assert traces(acme) == []


async def test_grants_between_neighbours_do_not_stop_it(acme, beta):
    beta.sql(f"GRANT SELECT ON notes TO {acme.login('app_a')}", "mig_a")
    acme.sql(f"GRANT USAGE ON SCHEMA {acme.schema} TO {beta.login('rw')}", "mig_a")

    await dropped(acme)

    assert traces(acme) == []
    assert await beta.differences() == ()


async def test_a_fence_that_does_not_hold_stops_everything(acme):
    fence = Fence(times=0)
    with pytest.raises(Retry) as failure:
        await dropped(acme, fence)

    assert failure.value.reason == "NotLeader"
    assert await acme.differences() == ()
    assert acme.sql("SELECT count(*) FROM notes") == [(0,)]


async def test_a_fence_that_falls_midway_keeps_the_data(acme):
    acme.sql("INSERT INTO notes VALUES (1, 'kept')")
    with pytest.raises(Retry):
        await dropped(acme, Fence(times=1))

    await acme.ensure()
    assert await acme.differences() == ()
    assert acme.sql("SELECT body FROM notes") == [("kept",)]


async def test_another_uid_is_refused(server, schemas, acme):
    with pytest.raises(Blocked) as failure:
        await drop(server, schemas, acme.id, "another-uid", fence=Fence())

    assert failure.value.reason == "NameConflict"
    assert await acme.differences() == ()


async def test_ownership_in_another_database_stops_it(at, server, rows, acme):
    at.run(
        f"CREATE TABLE public.owned_elsewhere (); ALTER TABLE public.owned_elsewhere OWNER TO {acme.login('rw')}",
        rows.name,
    )
    with pytest.raises(Blocked) as failure:
        await dropped(acme)
    assert failure.value.reason == "RoleInUse"
    assert rows.name in failure.value.message
    assert acme.sql("SELECT count(*) FROM notes") == [(0,)]
    at.run("DROP TABLE public.owned_elsewhere", rows.name)


def all_rows(tenant, table: str) -> dict[str, int]:
    return dict(tenant.at.run(f"SELECT tenant_id, count(*) FROM app.{table} GROUP BY 1", tenant.pool.name))


async def test_rows_of_the_tenant_go_and_the_neighbours_stay(red, blue):
    red.sql("INSERT INTO customers (id, email) SELECT i, i || '@example.org' FROM generate_series(10, 7000) i")
    red.sql("INSERT INTO orders (id, customer_id) SELECT i, i FROM generate_series(10, 7000) i")
    red.sql("INSERT INTO orders (id, previous) SELECT i, i - 1 FROM generate_series(7001, 13000) i")
    fence = Fence()

    outcome = await dropped(red, fence)

    assert traces(red) == []
    for table in ("customers", "orders"):
        left = all_rows(blue, table)
        assert red.id not in left
        assert left[blue.id] == 1
    assert any("app.orders" in text for text in outcome.changed)
    assert fence.asked > 4
    assert await blue.differences() == ()


async def test_a_fence_that_falls_among_rows_is_taken_up_again(red, blue):
    with pytest.raises(Retry):
        await dropped(red, Fence(times=3))

    await dropped(red)

    assert traces(red) == []
    assert all_rows(blue, "customers")[blue.id] == 1


async def test_a_suspended_row_tenant_can_be_dropped(red, blue):
    await red.ensure(access="None")
    await dropped(red)
    assert red.id not in all_rows(blue, "customers")


async def test_dropping_converges_from_any_fence(server, schemas, rows):
    for where in (schemas, rows):
        for times in range(8):
            wanted = desired(where)
            await ensure(server, where, wanted)
            with contextlib.suppress(Retry):
                await drop(server, where, wanted.id, wanted.uid, fence=Fence(times=times))
            await drop(server, where, wanted.id, wanted.uid, fence=Fence())
            assert (await observe(server, where, [wanted.id]))[wanted.id].absent
