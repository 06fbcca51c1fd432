"""The look of every minute: who has changed is read again and told once, and nobody else is."""

from __future__ import annotations

from typing import Any

import pytest

from paybill.api.cell import Server as ServerSpec
from paybill.api.failures import Retry
from paybill.databases.drop import drop
from paybill.reconcile import servers
from paybill.reconcile.servers import Attached


async def look_fence(*_: Any) -> None:
    """Nobody else leads."""


@pytest.fixture
async def attached(server, schemas, acme, beta) -> Attached:
    """The pool as the operator has it in memory, after its first look."""
    spec = ServerSpec.model_validate(
        {"name": "pool-1", "holds": "Schemas", "adminSecretRef": {"name": "servers", "key": "pool-1"}}
    )
    found = Attached(cell="cell", spec=spec, dsn="", server=server, pool=schemas)
    assert {acme.id, beta.id} <= await found.look_at_all()
    return found


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The ids that were read, in order."""
    ids: list[str] = []
    observe = servers.observe

    async def counted(server, pool, some):
        ids.extend(some)
        return await observe(server, pool, some)

    monkeypatch.setattr(servers, "observe", counted)
    return ids


async def test_a_fleet_in_which_nothing_changed_is_not_read(attached, read):
    assert await attached.look_at_all() == set()
    assert read == []


async def test_who_has_changed_is_read_and_told_once(at, attached, acme, beta, read):
    at.run(f"ALTER ROLE {acme.login('app_a')} CONNECTION LIMIT 99")
    assert await attached.look_at_all() == {acme.id}
    assert read == [acme.id]
    [app] = [role for role in attached.observed[acme.id].facts.roles if role.name == acme.login("app_a")]
    assert app.connections == 99
    assert await attached.look_at_all() == set()


async def test_work_of_the_apps_is_no_change_but_their_sessions_are_seen(attached, acme, read):
    with acme.connect() as session:
        session.execute("INSERT INTO notes VALUES (1, 'x')")
        assert await attached.look_at_all() == set()
        assert attached.observed[acme.id].sessions == {acme.login("app_a"): 1}
    assert read == []


async def test_a_migration_that_leaves_everything_in_order_is_read_and_is_no_change(attached, acme, read):
    acme.sql("CREATE TABLE more ()", "mig_a")
    assert await attached.look_at_all() == set()
    assert read == [acme.id]


async def test_a_tenant_that_was_dropped_is_told_once_and_forgotten(attached, acme, beta):
    await drop(attached.server, attached.pool, acme.id, acme.desired.uid, fence=look_fence)
    assert await attached.look_at_all() == {acme.id}
    assert acme.id not in attached.observed
    assert await attached.look_at_all() == set()
    assert beta.id in attached.observed


async def test_what_was_found_before_a_look_broke_is_told_by_the_next(at, attached, acme, beta, monkeypatch):
    first, second = sorted((acme, beta), key=lambda one: one.id)
    for one in (first, second):
        at.run(f"ALTER ROLE {one.login('app_a')} CONNECTION LIMIT 98")
    observe = servers.observe

    async def broken(server, pool, some):
        if second.id in some:
            raise Retry("DatabaseUnreachable", "gone")
        return await observe(server, pool, some)

    monkeypatch.setattr(servers, "AT_ONCE", 1)
    monkeypatch.setattr(servers, "observe", broken)
    with pytest.raises(Retry):
        await attached.look_at_all()
    monkeypatch.setattr(servers, "observe", observe)

    assert await attached.look_at_all() == {first.id, second.id}


async def test_a_look_at_one_in_the_meantime_is_newer_than_the_look_at_all(at, attached, acme, monkeypatch):
    at.run(f"ALTER ROLE {acme.login('app_a')} CONNECTION LIMIT 97")
    observe = servers.observe

    async def overtaken(server, pool, some):
        found = await observe(server, pool, some)
        monkeypatch.setattr(servers, "observe", observe)
        at.run(f"ALTER ROLE {acme.login('app_a')} CONNECTION LIMIT 96")
        await attached.look(acme.id)
        return found

    monkeypatch.setattr(servers, "observe", overtaken)
    await attached.look_at_all()

    [app] = [role for role in attached.observed[acme.id].facts.roles if role.name == acme.login("app_a")]
    assert app.connections == 96
