"""A restore that its server has no room for: nothing is half replaced, nothing is left, and it works with room."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from paybill.api.failures import Retry
from paybill.backups import restore as restoring
from paybill.backups.scratch import left_over
from paybill.databases.pools import ensure_pool
from tests.cluster.outages import fill
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.backing import backup_logins, take
from tests.databases.servers import HBA, TestServer
from tests.databases.tenancy import pool
from tests.databases.test_restore import carry_out, restore_of, schemas_of

DISK = 160
"""Megabytes: an empty cluster, the pools, and twice what is restored."""
SCRATCH = 12 << 20
"""Bytes that an empty database has room in, and not what is restored into it."""
BODY = "repeat(md5(g::text), 60)"
ROWS = 6_000


@pytest.fixture(scope="module")
def at() -> Iterator[TestServer]:
    """A server on a small disk. Its log is on another one, so that what does not fit is refused and does not end it."""
    process = ThrowAwayPostgres(megabytes=DISK)
    try:
        if not process.small_disk:
            pytest.skip("a disk of its own cannot be mounted here")
        (process.data / "pg_hba.conf").write_text(HBA)
        process.stop()
        elsewhere = process.folder / "wal"
        shutil.move(process.data / "pg_wal", elsewhere)
        subprocess.run(["chown", "-R", "--reference", process.data, elsewhere], check=True)
        (process.data / "pg_wal").symlink_to(elsewhere)
        process.start()
        yield TestServer(process, "Superuser", 18)
    finally:
        process.remove()


@pytest.fixture
async def schemas(server):
    await ensure_pool(server, pool("Schemas"))
    return pool("Schemas")


class Disk:
    """The server's disk, filled when a restore comes to a step, all but ``spare`` bytes."""

    def __init__(self, at: TestServer, step: str, spare: int) -> None:
        self.ballast: Path = at.process.data / "ballast"
        self.step, self.spare = step, spare

    def reached(self, step: str) -> None:
        if step == self.step:
            fill(self.ballast)
            if self.spare:
                with self.ballast.open("r+b") as file:
                    file.truncate(self.ballast.stat().st_size - self.spare)

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        try:
            yield
            assert self.ballast.exists(), "the restore never came to that step"
        finally:
            self.ballast.unlink(missing_ok=True)


async def left_of_it(tenant) -> tuple[list[str], list[str], list[tuple]]:
    """What is beside the tenant's own of a restore: schemas, scratch databases, open logins."""
    beside = [name for name in schemas_of(tenant) if name != tenant.schema]
    return beside, await left_over(tenant.server), [one for one in backup_logins(tenant) if one[1] or one[2]]


async def meets_it(tenant, restore) -> None:
    """Carry it out until it says that the disk is full, as one that only has to wait is tried again."""
    ends = asyncio.get_running_loop().time() + 120
    while True:
        with pytest.raises(Retry) as failure:
            await carry_out(tenant, restore)
        if failure.value.reason == "DatabaseFull":
            break
        assert failure.value.reason in {"DatabaseBusy", "SessionsStillOpen"}, failure.value
        assert asyncio.get_running_loop().time() < ends, failure.value
    assert tenant.at.process.process.poll() is None, "the server is there all the time"


@pytest.mark.parametrize("spare", [0, SCRATCH])
async def test_a_schema_that_does_not_fit_into_a_scratch_database_leaves_the_tenants_own_as_it_is(
    at, acme, spare, tmp_path
):
    acme.sql(f"INSERT INTO notes SELECT g, {BODY} FROM generate_series(1, {ROWS}) g")
    acme.sql("CREATE INDEX ON notes (md5(body))", "mig_a")
    known = await take(acme, tmp_path)
    acme.sql("DELETE FROM notes WHERE id > 10")
    disk = Disk(at, "scratch", spare)

    with disk.filling():
        await meets_it(acme, restore_of(acme, tmp_path, known, reached=disk.reached))
        assert await left_of_it(acme) == ([], [], [])
        assert acme.sql("SELECT count(*) FROM notes") == [(10,)]

    await carry_out(acme, restore_of(acme, tmp_path, known))
    assert acme.sql("SELECT count(*) FROM notes") == [(ROWS,)]
    assert await acme.differences() == ()
    acme.sql("DROP TABLE notes", "mig_a")


async def test_what_a_killed_one_left_goes_with_it(at, acme, tmp_path):
    acme.sql("INSERT INTO notes VALUES (1, 'a')")
    restore = restore_of(acme, tmp_path, await take(acme, tmp_path))
    async with restoring.scratch_of(restore):
        await restoring.restore_schema._create(restore, f"r_{acme.id}")
        assert await left_over(acme.server) != []
        await restoring.clear(restore.target, restore.fence, restore.job)
        assert await left_of_it(acme) == ([], [], [])
    assert acme.sql("SELECT * FROM notes") == [(1, "a")]
