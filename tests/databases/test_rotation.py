"""A second slot of a login, on every server: it may what the first may, and the first goes without a trace."""

import contextlib
from dataclasses import replace

import psycopg
import pytest

from paybill.databases.credentials import login_works, new_password, refusal
from paybill.databases.tenants import ensure
from tests.databases.tenancy import quick_verifier
from tests.databases.test_access import ended

BOTH = {"logins": ("app_b", "app_a", "ro_b", "ro_a", "mig_b", "mig_a"), "leaving": ("app_a", "ro_a", "mig_a")}
NEW = {"logins": ("app_b", "ro_b", "mig_b"), "leaving": ()}
TURNED = {"logins": ("app_a", "app_b", "ro_b", "mig_b"), "leaving": ("app_b",)}


async def fill(tenant, **slots):
    """Make the slots that are not leaving logins with new passwords."""
    tenant.desired = replace(tenant.desired, **slots)
    new = {login: new_password() for login in tenant.desired.handed_names}
    tenant.passwords |= new
    verifiers = {login: quick_verifier(password) for login, password in new.items()}
    return await ensure(tenant.server, tenant.pool, tenant.desired, passwords=verifiers)


async def test_both_slots_are_open_and_may_the_same(acme):
    with contextlib.closing(acme.connect()) as session:
        session.execute("INSERT INTO notes VALUES (1, 'by the old')")

        await fill(acme, **BOTH)

        assert await acme.differences() == ()
        assert (await acme.ensure()).changed == ()
        session.execute("INSERT INTO notes VALUES (2, 'by the old, after')")
    acme.sql("INSERT INTO notes VALUES (3, 'by the new')", "app_b")
    acme.sql("CREATE TABLE more ()", "mig_b")
    assert acme.sql("SELECT count(*) FROM notes", "ro_b") == acme.sql("SELECT count(*) FROM notes", "ro_a") == [(3,)]
    assert acme.sql("SELECT count(*) FROM more", "app_a") == [(0,)], "what either makes belongs to the tenant"


async def test_each_slot_has_the_whole_limit_while_both_are_open(acme):
    """A pooler holds them to one (test_pooler.py); the server cannot, and whoever has the old Secret needs its own."""
    await acme.ensure(connections=2)
    await fill(acme, **BOTH)
    with contextlib.ExitStack() as sessions:
        for slot in ("app_a", "app_a", "app_b", "app_b"):
            sessions.enter_context(acme.connect(slot))
        for slot in ("app_a", "app_b"):
            with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
                acme.connect(slot)


async def test_the_old_slot_goes_with_its_sessions_and_its_password(at, acme):
    await fill(acme, **BOTH)
    old, new = acme.connect("app_a"), acme.connect("app_b")

    await acme.ensure(**NEW)

    assert ended(old)
    assert not ended(new)
    new.close()
    for suffix in ("app_a", "ro_a", "mig_a"):
        with pytest.raises(psycopg.OperationalError, match=r"not permitted to log in|authentication failed"):
            acme.connect(suffix)
    left = "SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s"
    assert at.run(left, values=[acme.login("app_a")]) == [(False, None)]
    assert await acme.differences() == ()


async def test_the_slots_take_turns_and_a_password_of_old_never_comes_back(acme):
    first = acme.passwords[acme.login("app_a")]
    await fill(acme, **BOTH)
    await acme.ensure(**NEW)
    await fill(acme, **TURNED)

    assert not await login_works(acme.server.address(), acme.pool.name, acme.login("app_a"), first)
    acme.sql("INSERT INTO notes VALUES (1, 'third')", "app_a")
    acme.sql("INSERT INTO notes VALUES (2, 'second')", "app_b")
    assert await acme.differences() == ()


async def test_a_slot_that_leaves_lacks_no_password(at, acme):
    await fill(acme, **BOTH)
    at.run(f"ALTER ROLE {acme.login('app_a')} PASSWORD NULL")
    assert await acme.differences() == ()
    at.run(f"ALTER ROLE {acme.login('app_b')} PASSWORD NULL")
    shown = at.profile == "Superuser"
    assert bool(await acme.differences()) is shown, "a managed administrator cannot see that"


async def test_row_security_serves_the_second_slot(red, blue):
    await fill(red, logins=("app_b", "app_a", "ro_a"), leaving=("app_a",))

    assert red.sql("SELECT email FROM customers", "app_b") == [("red@example.org",)]
    red.sql("INSERT INTO customers (id, email) VALUES (2, 'second@example.org')", "app_b")
    assert red.sql("SELECT count(*) FROM customers", "app_a") == [(2,)]
    assert blue.sql("SELECT count(*) FROM customers") == [(1,)]
    await red.ensure(logins=("app_b", "ro_a"), leaving=())
    assert await red.differences() == ()


async def test_a_suspension_in_between_closes_both_and_brings_both_back(acme):
    await fill(acme, **BOTH)
    sessions = [acme.connect("app_a"), acme.connect("app_b")]

    await acme.ensure(access="None")
    assert all(ended(session) for session in sessions)
    assert await acme.differences() == ()

    await acme.ensure(access="Full")
    acme.sql("INSERT INTO notes VALUES (1, 'new')", "app_b")
    acme.sql("INSERT INTO notes VALUES (2, 'old')", "app_a")


async def test_the_proof_is_what_the_servers_own_rules_say(at, acme):
    login, hba = acme.login("app_b"), at.process.data / "pg_hba.conf"
    await fill(acme, **BOTH)
    where = (acme.server.address(), acme.pool.name, login, acme.passwords[login])
    assert await refusal(*where) is None
    rules = hba.read_text()
    try:
        hba.write_text(f"host all {login} 127.0.0.1/32 reject\n{rules}")
        at.run("SELECT pg_reload_conf()")
        words = await refusal(*where)
    finally:
        hba.write_text(rules)
        at.run("SELECT pg_reload_conf()")
    assert words is not None
    assert "pg_hba.conf rejects" in words
    assert acme.passwords[login] not in words
