"""The Pulumi engine with the real CLI: kills, locks, and many at once."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from paybill.engines import processes, runner
from paybill.engines.folder import Folder
from paybill.engines.operation import Exit, Request
from paybill.engines.runner import Ended, Patience
from tests.engines.pulumi.conftest import Site
from tests.local.processes import descendants

pytestmark = pytest.mark.pulumi

STACK = "abcd2345-local"
PROJECT = "paybill-kubernetes-silo"
SLOW = {"foundation": {"make": "a b", "slow": "5"}}
QUICK = {"foundation": {"make": "a b", "slow": "0"}}


async def begin(site: Site, asked: Request, **options: Patience) -> asyncio.Task[Ended]:
    """Start an update and wait until the cloud has begun to make both."""
    task = site.start(asked, **options)
    await site.until(lambda: set(site.made) == {"a", "b"} or task.done())
    assert not task.done(), task
    return task


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def victims(asked: Request, which: str) -> set[int]:
    identity = Folder(asked.work_dir).identity()
    assert identity is not None
    below = descendants(identity.pid)
    match which:
        case "worker":
            return {identity.pid}
        case "cli":
            return {pid for pid in below if "pulumi\0--non-interactive" in command_line(pid)}
        case _:
            return {identity.pid} | below


@pytest.mark.parametrize("which", ["all", "cli", "worker"])
async def test_killed_in_the_middle_it_is_recovered_and_nothing_is_made_twice(site: Site, which: str) -> None:
    asked = site.request("up", **SLOW)
    task = await begin(site, asked, patience=Patience(finish=2.0, obey=1.0))
    killed = victims(asked, which)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    ended = await task
    assert ended.exit == Exit.TRANSIENT
    assert ended.recovery_needed
    ended.remove()

    # Nothing is built on what nobody knows, and a second creation would be refused by the cloud.
    refused = await site.do("up", **QUICK)
    assert refused.exit in (Exit.TRANSIENT, Exit.OK)
    if which != "worker":  # the tool of a worker that died may have ended in order
        assert refused.failed is not None
        assert refused.failed.reason == "RecoveryNeeded"
        assert refused.recovery_needed
    recovered = await site.do("recover", **QUICK)
    assert (recovered.exit, recovered.failed) == (Exit.OK, None)
    assert recovered.result is not None
    assert recovered.result.pending == ()
    if which == "all":
        assert [recovered.result.counts[name] for name in ("imported", "cleared")] == [2, 0]
    done = await site.do("up", **QUICK)
    assert (done.exit, done.failed) == (Exit.OK, None)
    assert set(site.made) == {"a", "b"}
    gone = await site.do("destroy", **QUICK)
    assert (gone.exit, site.made) == (Exit.OK, {})


async def test_creation_that_never_reached_the_cloud_is_forgotten(site: Site) -> None:
    asked = site.request("up", **SLOW)
    task = await begin(site, asked)
    for pid in victims(asked, "all"):
        os.kill(pid, signal.SIGKILL)
    (await task).remove()
    for name in ("a", "b"):
        (site.cloud / name).unlink()
    recovered = await site.do("recover", **QUICK)
    assert recovered.result is not None
    assert [recovered.result.counts[name] for name in ("imported", "cleared")] == [0, 2]
    assert recovered.result.changes == ()
    assert (await site.do("up", **QUICK)).exit == Exit.OK
    assert set(site.made) == {"a", "b"}


async def test_cancelled_update_ends_what_it_has_begun(site: Site) -> None:
    asked = site.request("up", **SLOW)
    task = await begin(site, asked)
    await runner.cancel(asked.work_dir)
    ended = await task
    assert ended.failed is not None
    assert (ended.exit, ended.failed.reason) == (Exit.TRANSIENT, "Cancelled")
    assert ended.result is not None
    assert ended.result.pending == ()
    ended.remove()
    looked = await site.do("preview", **QUICK)
    assert looked.exit in (Exit.OK, Exit.CHANGES)
    assert not locks(site)


async def test_an_operator_that_comes_back_takes_the_result(site: Site) -> None:
    asked = site.request("up", foundation={"make": "a b", "slow": "2"})
    program = (
        "import asyncio, sys; from paybill.engines import runner; from paybill.engines.operation import Request\n"
        "asyncio.run(runner.run(Request.model_validate_json(sys.stdin.read())))"
    )
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "operator"}
    )
    assert starter.stdin is not None
    starter.stdin.write(asked.model_dump_json().encode())
    starter.stdin.close()
    await site.until(lambda: set(site.made) == {"a", "b"})
    starter.kill()
    await starter.wait()
    ended = await runner.adopt(asked.work_dir)
    assert (ended.exit, ended.recovery_needed) == (Exit.OK, False)
    assert ended.result is not None
    assert ended.result.outputs is not None
    ended.remove()


def locks(site: Site) -> list[Path]:
    return [path for path in (site.state / ".pulumi" / "locks").rglob("*.json") if path.is_file()]


def lock(site: Site, *, host: str, pid: int, at: datetime) -> None:
    folder = site.state / ".pulumi" / "locks" / "organization" / PROJECT / STACK
    folder.mkdir(parents=True, exist_ok=True)
    content = {"pid": pid, "username": "root", "hostname": host, "timestamp": at.isoformat()}
    (folder / "6f9619ff-8b86-4d01-b42d-00cf4fc964ff.json").write_text(json.dumps(content))


def dead() -> int:
    """The id of a process that has just ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


async def test_lock_of_a_dead_owner_is_taken_away(site: Site) -> None:
    await site.do("up", **QUICK)
    for kind in ("up", "refresh", "recover", "destroy"):
        lock(site, host=socket.gethostname(), pid=dead(), at=datetime.now(UTC))
        assert (await site.do(kind, **QUICK)).exit == Exit.OK
        assert locks(site) == []


async def test_lock_of_a_process_whose_id_is_another_ones_now_is_taken_away(site: Site) -> None:
    await site.do("up", **QUICK)
    lock(site, host=socket.gethostname(), pid=os.getpid(), at=datetime.now(UTC) - timedelta(days=9))
    assert (await site.do("up", **QUICK)).exit == Exit.OK


@pytest.mark.parametrize(
    ("host", "pid"), [("somewhere-else", 1), (socket.gethostname(), os.getpid())], ids=["elsewhere", "alive"]
)
async def test_lock_of_an_owner_that_may_live_is_left_alone(site: Site, host: str, pid: int) -> None:
    await site.do("up", **QUICK)
    lock(site, host=host, pid=pid, at=datetime.now(UTC))
    for kind in ("up", "refresh", "recover", "destroy"):
        ended = await site.do(kind, **QUICK)
        assert ended.failed is not None
        assert (ended.exit, ended.failed.reason, ended.failed.holder) == (
            Exit.CONFLICT,
            "StateLocked",
            f"{host}:{pid}",
        )
    assert len(locks(site)) == 1
    # What only looks does not care.
    for kind in ("preview", "drift", "outputs"):
        assert (await site.do(kind, **QUICK)).exit == Exit.OK


async def test_of_two_updates_at_once_one_is_told_who_holds_the_stack(site: Site) -> None:
    await site.do("up", foundation={"make": ""})
    first = await begin(site, site.request("up", **SLOW))
    second = await site.do("up", **SLOW)
    assert second.failed is not None
    assert (second.exit, second.failed.reason) == (Exit.CONFLICT, "StateLocked")
    assert second.failed.holder is not None
    host, _, pid = second.failed.holder.rpartition(":")
    assert host == socket.gethostname()
    assert processes.lives(int(pid))
    ended = await first
    assert ended.exit == Exit.OK
    ended.remove()


async def test_stacks_beside_each_other_do_not_meet(site: Site) -> None:
    await parallel(site, 3)


@pytest.mark.exhaustive
async def test_twenty_stacks_beside_each_other_do_not_meet(site: Site) -> None:
    began = time.monotonic()
    await parallel(site, 20)
    assert time.monotonic() - began < 600


async def parallel(site: Site, count: int) -> None:
    """Each tenant's program makes its own file in its own cloud; nothing of another's is in its state or answers."""
    tenants = [f"tenant{number:02d}" for number in range(count)]

    async def one(tenant: str) -> Ended:
        cloud = site.root / f"cloud-{tenant}"
        cloud.mkdir()
        inputs = {"tenant_id": tenant, "foundation": {"cloud": str(cloud), "make": tenant, "content": tenant}}
        return await site.do("up", inputs=inputs)

    for tenant, ended in zip(tenants, await asyncio.gather(*map(one, tenants)), strict=True):
        assert ended.exit == Exit.OK, ended.failed
        assert ended.result is not None
        assert ended.result.outputs is not None
        assert (ended.result.outputs.bucket, ended.result.outputs.prefix) == (tenant, tenant)
        assert all(f":{tenant}-local::" in change.address for change in ended.result.changes)
        made = {path.name for path in (site.root / f"cloud-{tenant}").iterdir() if path.suffix != ".seen"}
        assert made == {tenant}
        (checkpoint,) = (site.state / ".pulumi" / "stacks").rglob(f"{tenant}-local.json")
        assert not any(other in checkpoint.read_text() for other in tenants if other != tenant)
