"""A crash at any point is mended by running again; a server that goes away is waited for."""

import asyncio
import contextlib

import psycopg
import pytest
from psycopg.sql import SQL

from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.databases.credentials import new_password
from paybill.databases.server import Limits, Server
from paybill.databases.tenants import ensure, observe, plan
from paybill.desired.database import differences
from tests.databases.servers import start
from tests.databases.tenancy import desired, provision, quick_verifier


async def statements(server, where, wanted, passwords):
    return plan(wanted, (await observe(server, where, [wanted.id]))[wanted.id], passwords)


@pytest.mark.parametrize("holds", ["Schemas", "Rows"])
async def test_making_a_tenant_converges_from_after_each_statement(at, server, schemas, rows, holds):
    where = schemas if holds == "Schemas" else rows
    verifier = quick_verifier(new_password())
    count = len(await statements(server, where, desired(where), {}))
    for stop in range(1, count + 1):
        wanted = desired(where)
        passwords = dict.fromkeys(wanted.login_names, verifier)
        script = (await statements(server, where, wanted, passwords))[:stop]
        said = {statement.says for statement in script}
        if any(text.startswith("create") and text.replace("create", "mark", 1) not in said for text in said):
            continue  # what is made and its mark are never apart
        # Committed, as nothing that Paybill does leaves it: repair has to start from worse than a crash.
        with psycopg.connect(at.admin_dsn, dbname=where.name, options="-c search_path=pg_catalog,pg_temp") as session:
            for statement in script:
                session.execute(statement.sql)

        await ensure(server, where, wanted, passwords=passwords)

        observed = (await observe(server, where, [wanted.id]))[wanted.id]
        assert differences(wanted, observed) == (), f"after {script[-1].says if script else 'nothing'}"


async def test_a_connection_cut_in_the_middle_leaves_nothing(at, server, schemas):
    wanted = desired(schemas)
    with at.superuser(schemas.name) as blocker:
        blocker.autocommit = False
        blocker.execute("LOCK TABLE pg_catalog.pg_default_acl IN SHARE MODE")
        work = asyncio.ensure_future(ensure(server, schemas, wanted))
        await waiting(at)
        at.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'paybill'")
        with pytest.raises(Retry) as failure:
            await work
        blocker.rollback()
    assert failure.value.reason == "DatabaseUnreachable"
    assert (await observe(server, schemas, [wanted.id]))[wanted.id].absent

    await ensure(server, schemas, wanted)

    observed = (await observe(server, schemas, [wanted.id]))[wanted.id]
    assert [d for d in differences(wanted, observed) if "password" not in d] == []


async def test_a_cancelled_call_leaves_nothing_and_the_server_usable(at, server, schemas):
    wanted = desired(schemas)
    with at.superuser(schemas.name) as blocker:
        blocker.autocommit = False
        blocker.execute("LOCK TABLE pg_catalog.pg_default_acl IN SHARE MODE")
        work = asyncio.ensure_future(ensure(server, schemas, wanted))
        await waiting(at)
        work.cancel()
        with pytest.raises((asyncio.CancelledError, Failure)):
            await work
        blocker.rollback()

    assert (await observe(server, schemas, [wanted.id]))[wanted.id].absent
    await ensure(server, schemas, wanted)


async def waiting(at) -> None:
    """Until one of the operator's sessions waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'paybill' AND wait_event_type = 'Lock'"
    deadline = asyncio.get_running_loop().time() + 10
    while not at.run(query):
        assert asyncio.get_running_loop().time() < deadline, "nobody waits for a lock"
        await asyncio.sleep(0.02)


async def test_many_at_once_do_not_get_in_each_others_way(at, server, schemas):
    made = await asyncio.gather(*(provision(at, server, schemas) for _ in range(12)))

    observed = await observe(server, schemas, [tenant.id for tenant in made])
    assert all(differences(tenant.desired, observed[tenant.id]) == () for tenant in made)


async def test_two_that_make_the_same_tenant_end_with_one(server, schemas):
    wanted = desired(schemas)

    results = await asyncio.gather(*(ensure(server, schemas, wanted) for _ in range(4)), return_exceptions=True)

    assert all(isinstance(result, Retry) for result in results if isinstance(result, BaseException))
    await ensure(server, schemas, wanted)
    assert (await ensure(server, schemas, wanted)).changed == ()


async def test_a_restarted_server_is_found_again(at, server, schemas, acme):
    try:
        at.process.stop()
        with pytest.raises(Retry) as failure:
            await acme.ensure()
        assert failure.value.reason == "DatabaseUnreachable"
    finally:
        at.process.start()

    async with asyncio.timeout(10):
        while server._places.paused:
            with contextlib.suppress(Retry):
                await acme.ensure()
            await asyncio.sleep(0.05)
    assert await acme.differences() == ()


async def test_a_server_that_restarted_unnoticed_is_no_failure(at, server, schemas, acme):
    await acme.ensure()
    at.process.stop()
    at.process.start()

    assert await acme.differences() == ()


async def test_no_message_holds_a_password():
    at = start("Managed", 18)
    dsn = at.admin_dsn.replace("the-cloud-gave-this-out", "hunter2")
    for wrong, expected in (
        (dsn, Blocked),
        (dsn.replace(str(at.port), "1"), Retry),
        (f"{dsn} nonsense", Invalid),
        ("postgresql://u:hunter2@[::1", Invalid),
    ):
        with pytest.raises(expected) as failure:
            await Server.connect(wrong, name="pool-1", installation="test")
        assert "hunter2" not in str(failure.value)


async def test_an_administrator_without_rights_is_named(at):
    at.run("DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN PASSWORD 'weak'")
    dsn = f"host=127.0.0.1 port={at.port} user=weak password=weak dbname={'postgres'}"
    at.run("GRANT CONNECT ON DATABASE postgres TO weak")

    with pytest.raises(Blocked) as failure:
        await Server.connect(dsn, name="pool-1", installation="test")

    assert failure.value.reason == "AdministratorTooWeak"
    at.run("REVOKE CONNECT ON DATABASE postgres FROM weak; DROP ROLE weak")


async def test_no_more_sessions_work_than_agreed(at):
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test", limits=Limits(in_flight=2))
    peak = busy = 0

    async def work() -> None:
        nonlocal peak, busy
        async with server.session() as session:
            busy += 1
            peak = max(peak, busy)
            await session.execute(SQL("SELECT pg_sleep(0.01)"))
            busy -= 1

    await asyncio.gather(*(work() for _ in range(8)))
    await server.close()
    assert peak == 2


async def test_a_session_left_in_a_transaction_is_not_used_again(server):
    async with server.session() as session:
        await session.execute("BEGIN")
        first = session.info.backend_pid
    async with server.session() as session:
        assert session.info.backend_pid != first
