"""Behind a real PgBouncer a tenant has its own alias: with its own password, its own limit, and nobody else in it."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg
import pytest

from paybill.api.failures import Invalid
from paybill.databases import pooler
from paybill.databases.credentials import scram_verifier
from paybill.databases.server import Server
from paybill.desired.pooler import Alias, files
from tests.databases.bouncer import CONSOLE, NEEDED, PASSWORD, Bouncer
from tests.databases.servers import kinds, start

pytestmark = NEEDED

KIND = max(kind for kind in kinds() if kind[0] == "Superuser")
MOST = 3


@pytest.fixture
def at():
    """The newest server alone, whose administrator may read verifiers: a pooler's part is the same on all."""
    return start(*KIND)


@pytest.fixture
async def server(at):
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    yield server
    await server.close()


def alias_of(tenant, **changes) -> Alias:
    verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    login = tenant.login("app_a")
    ((found,),) = tenant.at.run(verifier, values=[login])
    alias = Alias(id=tenant.id, host="127.0.0.1", port=tenant.at.port, database=tenant.pool.name,
                  mode="Transaction", most=MOST, users=((login, found),))  # fmt: skip
    return replace(alias, **changes)


def written(*aliases: Alias) -> dict[str, str]:
    return files(aliases, (CONSOLE, scram_verifier(PASSWORD)))


@pytest.fixture
def bouncer():
    made = Bouncer()
    yield made
    made.stop()


@pytest.fixture
def both(bouncer, acme, beta):
    """A PgBouncer with the aliases of two tenants."""
    bouncer.put(written(alias_of(acme), alias_of(beta)))
    bouncer.start()
    return bouncer


def through(bouncer, tenant, alias=None, **changes) -> psycopg.Connection:
    options = {
        "host": "127.0.0.1", "port": bouncer.port, "dbname": alias or tenant.schema, "user": tenant.login("app_a"),
        "password": tenant.passwords[tenant.login("app_a")], "sslmode": "disable", "connect_timeout": 5,
    } | changes  # fmt: skip
    return psycopg.connect(**options, autocommit=True, prepare_threshold=None)


async def test_a_tenant_gets_in_by_its_alias_and_is_in_its_own_tables(both, acme, beta):
    with through(both, acme) as session:
        session.execute("INSERT INTO notes VALUES (1, 'through the pooler')")
        assert session.execute("SELECT session_user::text").fetchone() == (acme.login("app_a"),)
    assert acme.sql("SELECT body FROM notes") == [("through the pooler",)]
    assert beta.sql("SELECT count(*) FROM notes") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        through(both, acme, password="wrong")
    shown = await pooler.shown(both.console)
    assert all(shown[one.schema].agrees(alias_of(one)) for one in (acme, beta))
    assert not shown[acme.schema].agrees(alias_of(acme, most=MOST + 1))


async def test_nobody_uses_up_anothers_alias(both, acme, beta):
    with pytest.raises(psycopg.OperationalError, match="login rejected"):
        through(both, acme, alias=beta.schema)
    # With the one protection removed the same attack takes the neighbour's place.
    both.put({"hba.conf": "host all all 0.0.0.0/0 scram-sha-256\n"})
    await pooler.reload(both.console)
    with through(both, acme, alias=beta.schema) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


async def test_one_limit_holds_over_both_slots_of_a_rotation(both, acme, at):
    """On the server each slot has the whole limit while a rotation lasts; here they have it together."""
    await acme.ensure(logins=("app_a", "app_b", "ro_a", "mig_a"), connections=MOST)
    login, password = acme.login("app_b"), "b" * 24
    verifier = scram_verifier(password, iterations=16)
    at.run(f"ALTER ROLE {login} PASSWORD '{verifier}'")
    acme.passwords[login] = password
    with_both = alias_of(acme)
    both.put(written(replace(with_both, users=(*with_both.users, (login, verifier)))))
    await pooler.reload(both.console)

    direct = [acme.connect(suffix) for suffix in ("app_a", "app_b") for _ in range(MOST)]
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE %s"
    assert at.run(count, values=[f"pb_{acme.id}_app%"]) == [(2 * MOST,)]
    for one in direct:
        one.close()

    sessions = [through(both, acme), *(through(both, acme, user=login, password=password) for _ in range(MOST))]
    for one in sessions[:MOST]:
        one.execute("BEGIN; SELECT 1")
    waiting = threading.Thread(target=sessions[MOST].execute, args=("BEGIN; SELECT 1",), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "it waits for a place, and is not refused"
    assert at.run(count, values=[f"pb_{acme.id}_app%"]) == [(MOST,)]
    sessions[0].execute("COMMIT")
    waiting.join(10)
    assert not waiting.is_alive()
    for one in sessions:
        one.close()


async def test_a_pause_lets_one_tenant_wait_and_its_alias_lead_elsewhere(both, acme, beta):
    with through(both, acme) as session, through(both, beta) as neighbour:
        session.execute("SELECT 1")
        assert await pooler.pause(both.console, acme.id)
        answer: list[object] = []
        waiting = threading.Thread(
            target=lambda: answer.append(session.execute("SELECT current_database()::text").fetchone()), daemon=True
        )
        waiting.start()
        assert neighbour.execute("SELECT 1").fetchone() == (1,)
        assert (await pooler.shown(both.console))[acme.schema].paused

        acme.at.run(f"GRANT CONNECT ON DATABASE postgres TO {acme.login('app_a')}")
        both.put(written(alias_of(acme, database="postgres"), alias_of(beta)))
        await pooler.reload(both.console)
        assert waiting.is_alive()
        await pooler.resume(both.console, acme.id)
        waiting.join(10)
        assert answer == [("postgres",)], "the client waited, saw no error, and is where its alias leads now"


async def test_a_transaction_that_takes_too_long_is_not_waited_for(both, acme, monkeypatch):
    monkeypatch.setattr(pooler, "PATIENCE", 0.3)
    with through(both, acme) as session:
        session.execute("BEGIN; SELECT 1")
        assert not await pooler.pause(both.console, acme.id)


def test_what_is_no_uri_is_refused_without_showing_it():
    with pytest.raises(Invalid) as refused:
        pooler.login_of("postgresql://console:hunter2@[::1/pgbouncer")
    assert "hunter2" not in refused.value.message
    assert pooler.login_of("postgresql://console:hunter2@pooler/pgbouncer") == ("console", "hunter2")
