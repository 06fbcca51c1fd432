"""Suspension and restriction take access away and give the very same credentials back."""

import contextlib

import psycopg
import pytest

from paybill.databases.credentials import login_works
from paybill.databases.tenants import observe
from paybill.desired.database import differences


def ended(session: psycopg.Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


async def test_suspension_ends_sessions_and_lets_nobody_in(acme):
    sessions = [acme.connect(suffix) for suffix in ("app_a", "ro_a", "mig_a")]

    await acme.ensure(access="None")

    assert all(ended(session) for session in sessions)
    for suffix in ("app_a", "ro_a", "mig_a"):
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            acme.connect(suffix)
    assert await acme.differences() == ()
    assert (await acme.ensure()).changed == ()


async def test_suspension_ends_a_session_that_is_busy_and_holds_locks(acme):
    busy = acme.connect()
    busy.execute("BEGIN; LOCK TABLE notes IN ROW EXCLUSIVE MODE; INSERT INTO notes VALUES (5, 'open')")

    await acme.ensure(access="None")

    assert ended(busy)


async def test_a_neighbour_notices_nothing_of_a_suspension(acme, beta):
    with contextlib.closing(beta.connect()) as neighbour:
        neighbour.execute("BEGIN; UPDATE notes SET body = 'changed'")

        await acme.ensure(access="None")

        neighbour.execute("COMMIT")
        assert neighbour.execute("SELECT body FROM notes").fetchone() == ("changed",)


async def test_resumption_brings_the_same_credentials_and_data_back(at, acme):
    acme.sql("INSERT INTO notes VALUES (1, 'kept')")
    verifiers = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE %s ORDER BY 1"
    before = at.run(verifiers, values=[f"pb_{acme.id}_%"])

    await acme.ensure(access="None")
    await acme.ensure(access="Full")

    assert at.run(verifiers, values=[f"pb_{acme.id}_%"]) == before
    assert acme.sql("SELECT body FROM notes") == [("kept",)]
    acme.sql("INSERT INTO notes VALUES (2, 'new')")
    acme.sql("CREATE TABLE more ()", "mig_a")


async def test_row_tenants_are_suspended_and_resumed_alike(red, blue):
    with contextlib.closing(blue.connect()) as neighbour:
        session = red.connect()
        await red.ensure(access="None")
        assert ended(session)
        assert len(neighbour.execute("SELECT * FROM customers").fetchall()) == 1

    await red.ensure(access="Full")
    assert len(red.sql("SELECT * FROM customers")) == 1


async def test_a_restricted_tenant_reads_and_cannot_write_whatever_it_sets(acme):
    acme.sql("INSERT INTO notes VALUES (1, 'old')")
    migrations = acme.connect("mig_a")
    app = acme.connect()

    await acme.ensure(access="ReadOnly")

    assert app.execute("SELECT body FROM notes").fetchone() == ("old",)
    for statement in (
        "INSERT INTO notes VALUES (2, 'x')",
        "UPDATE notes SET body = 'x'",
        "DELETE FROM notes",
        "SET default_transaction_read_only = off; DELETE FROM notes",
        "SET ROLE NONE; DELETE FROM notes",
        f"SET ROLE {acme.login('rw')}",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement)
    assert ended(migrations)
    with pytest.raises(psycopg.OperationalError):
        acme.connect("mig_a")
    assert await acme.differences() == ()
    app.close()

    await acme.ensure(access="Full")
    acme.sql("UPDATE notes SET body = 'new'")
    acme.sql("CREATE TABLE more ()", "mig_a")
    acme.sql("INSERT INTO more DEFAULT VALUES")


async def test_restriction_reaches_a_transaction_that_is_open(acme):
    with contextlib.closing(acme.connect()) as app:
        app.execute("BEGIN; INSERT INTO notes VALUES (1, 'x')")
        await acme.ensure(access="ReadOnly")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("INSERT INTO notes VALUES (2, 'x')")


async def test_a_row_tenant_is_restricted_alike(red, blue):
    await red.ensure(access="ReadOnly")

    assert len(red.sql("SELECT * FROM customers")) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        red.sql("SET default_transaction_read_only = off; INSERT INTO customers (id) VALUES (5)")
    blue.sql("UPDATE customers SET email = 'still@example.org'")


async def test_privileges_granted_past_the_writing_role_do_not_outlast_a_restriction(acme):
    app, reader = acme.login("app_a"), acme.login("r")
    acme.sql(
        f"GRANT INSERT ON notes TO {app}; GRANT UPDATE (body) ON notes TO {app};"
        f" GRANT DELETE ON notes TO {reader}; GRANT INSERT ON notes TO PUBLIC",
        "mig_a",
    )

    await acme.ensure(access="ReadOnly")

    for statement in ("INSERT INTO notes VALUES (2, 'x')", "UPDATE notes SET body = 'x'", "DELETE FROM notes"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            acme.sql(statement)
    assert acme.sql("SELECT count(*) FROM notes") == [(0,)]
    assert await acme.differences() == ()


async def test_from_restricted_to_suspended_to_full(acme):
    for access in ("ReadOnly", "None", "ReadOnly", "Full", "None", "Full"):
        await acme.ensure(access=access)
        assert await acme.differences() == ()
    acme.sql("INSERT INTO notes VALUES (1, 'x')")


async def test_a_session_of_a_closed_login_is_a_difference(server, schemas, acme):
    await acme.ensure(access="None")
    observed = (await observe(server, schemas, [acme.id]))[acme.id]
    slipped_in = type(observed)(**{**observed.__dict__, "sessions": {acme.login("app_a"): 1}})

    assert differences(acme.desired, observed) == ()
    assert any("open sessions" in text for text in differences(acme.desired, slipped_in))


async def test_a_login_is_probed_by_logging_in(server, schemas, acme):
    login, address = acme.login("app_a"), server.address()
    password = acme.passwords[login]

    assert await login_works(address, schemas.name, login, password)
    assert not await login_works(address, schemas.name, login, "wrong")
    acme.sql(f"ALTER ROLE {login} PASSWORD 'changed-by-the-tenant'")
    assert not await login_works(address, schemas.name, login, password)
