"""An instance of its own: what survives a stop, what a dead server costs, and what runs beside it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from paybill.api.failures import Blocked
from paybill.local import account as accounts
from paybill.local import running
from paybill.local.home import Home
from paybill.local.instance import Instance
from tests.local.api import Api
from tests.local.processes import alive


@pytest.fixture
def home(short_folder, request):
    return Home(short_folder / f"i{abs(hash(request.node.nodeid)) % 10**8}")


async def until(look, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not (found := await asyncio.to_thread(look)):  # it happens outside this process
            await asyncio.sleep(0.1)
    return found


async def execute(dsn, statement):
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(statement)
        return await cursor.fetchall() if cursor.description else None


async def test_objects_rows_ports_and_logins_survive_stop_and_start(home):
    first = Instance(home, fsync=False)
    await first.start()
    kubeconfig = first.kubeconfig.read_text()
    ports, dsn = first.ports, first.postgres_dsn
    await asyncio.to_thread(Api.admin(home).namespace, "kept")
    await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    await first.stop()

    second = Instance(home, fsync=False)
    await second.start()
    try:
        assert (second.ports, second.postgres_dsn) == (ports, dsn)
        assert second.kubeconfig.read_text() == kubeconfig
        assert (await asyncio.to_thread(Api.admin(home).call, "GET", "/api/v1/namespaces/kept"))[0] == 200
        assert await execute(dsn, "SELECT n FROM kept") == [(42,)]
    finally:
        await second.stop()


async def test_a_home_that_postgres_cannot_reach_keeps_its_data_elsewhere_and_purge_finds_it(short_folder, monkeypatch):
    if accounts.unprivileged_account() is None:
        pytest.skip("only root runs Postgres under another account")
    monkeypatch.setattr(accounts, "SHARED_STATE", short_folder / "shared")
    closed = short_folder / "closed"
    closed.mkdir(mode=0o700)
    home = Home(closed / "x")
    instance = Instance(home, fsync=False)
    await instance.start()
    elsewhere = [Path(each) for each in home.read_state()["elsewhere"]]
    assert [each.is_relative_to(home.path) for each in elsewhere] == [False, False]
    await instance.stop()
    data, sockets = elsewhere
    assert (data.is_dir(), sockets.exists()) == (True, False)
    assert running.purge(home)
    assert not data.exists()
    assert not home.path.exists()


async def test_a_home_is_run_by_one_process_only(home):
    first = Instance(home, fsync=False, postgres=False)
    assert Instance.running(home) is None
    await first.start()
    try:
        found = Instance.running(home)
        assert (found.pid, found.ready, found.api_url) == (os.getpid(), False, first.api_url)
        first.mark_ready()
        assert Instance.running(home).ready
        with pytest.raises(Blocked, match=f"another process .id {os.getpid()}. runs the instance"):
            await Instance(home).start()
        assert all(child.pid for child in first.children)
    finally:
        await first.stop()
    assert Instance.running(home) is None


async def test_servers_that_are_killed_come_back_with_their_data(home):
    instance = Instance(home)
    await instance.start()
    try:
        api = Api.admin(home)
        await asyncio.to_thread(api.namespace, "kept")
        await execute(instance.postgres_dsn, "CREATE TABLE kept AS SELECT 42 AS n")
        before = {child.command.name: child.pid for child in instance.children}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: all(child.restarts and child.pid for child in instance.children))

        def answers():
            try:
                return api.call("GET", "/api/v1/namespaces/kept")[0] == 200
            except OSError:
                return False

        await until(answers)
        async with asyncio.timeout(30):
            while True:
                try:
                    rows = await execute(instance.postgres_dsn, "SELECT n FROM kept")
                    break
                except psycopg.OperationalError:
                    await asyncio.sleep(0.1)
        assert rows == [(42,)]
        assert not {child.pid for child in instance.children} & set(before.values())
    finally:
        await instance.stop()


async def test_a_program_beside_the_control_plane_is_watched_like_the_rest_and_stopped_first(home):
    instance = Instance(home, fsync=False, postgres=False)
    await instance.start()
    try:
        argv = [sys.executable, "-c", "import os, time; print(sorted(os.environ), flush=True); time.sleep(1000)"]
        log = home.logs / "operator.log"

        async def ready():
            return log.exists() and "GIVEN" in log.read_text()

        child = await instance.supervise("operator", argv, {"GIVEN": "1"}, ready=ready)
        assert instance.children[-1] is child
        first = child.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.pid not in (None, first))
        last = child.pid
    finally:
        await instance.stop()
    assert not alive({last})


async def test_a_server_that_does_not_start_leaves_nothing_running_and_says_why(home, tmp_path, monkeypatch):
    assets = tmp_path / "assets"
    assets.mkdir()
    for name, script in (
        ("etcd", "echo member data is corrupt >&2; exit 4"),
        ("kube-apiserver", "exit 1"),
        ("kube-controller-manager", "exit 1"),
    ):
        (assets / name).write_text(f"#!/bin/sh\n{script}\n")
        (assets / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    instance = Instance(home, fsync=False)
    with pytest.raises(Blocked) as failure:
        await instance.start()
    assert "etcd ended with exit code 4" in failure.value.message
    assert "member data is corrupt" in failure.value.message
    assert str(home.logs / "etcd.log") in failure.value.message
    assert instance.children == ()
    assert Instance.running(home) is None
    assert not (home.postgres / "postmaster.pid").exists()
