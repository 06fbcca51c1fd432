"""The runner: workers that outlive whoever started them, are stopped in time, and whose results are taken once."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from paybill.api.failures import Blocked
from paybill.engines import lines as reading
from paybill.engines import runner
from paybill.engines.folder import Folder, list_left
from paybill.engines.operation import Exit, Line, Progress, Request
from paybill.engines.runner import Ended, Patience
from tests.engines.asked import STAND_IN, request
from tests.local.processes import alive, descendants

QUICK = Patience(finish=0.6, obey=0.4)


class Seen(list[Line]):
    """Answers as they come, and a wait for one of them."""

    async def phase(self, phase: str) -> Progress:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self:
                if isinstance(line, Progress) and line.phase == phase:
                    return line
            await asyncio.sleep(0.02)
        raise TimeoutError(phase)

    def count(self, phase: str) -> int:  # type: ignore[override]  # answers are counted by what they are about
        return sum(isinstance(line, Progress) and line.phase == phase for line in self)


def carry_out(asked: Request, seen: Seen | None = None, **options: Any) -> asyncio.Task[Ended]:
    on_line: Callable[[Line], None] = seen.append if seen is not None else runner.ignore
    return asyncio.create_task(runner.run(asked, on_line=on_line, command=STAND_IN, **options))


@pytest.fixture
async def root(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder of operations; none of them runs on after the test."""
    yield tmp_path
    for folder, _ in list_left(tmp_path):
        if folder.alive() or folder.orphans():
            folder.begin_stop("Cancelled")
            for pid in folder_pids(folder):
                os.kill(pid, signal.SIGKILL)


def folder_pids(folder: Folder) -> set[int]:
    identity = folder.identity()
    return (descendants(identity.pid) | {identity.pid}) if identity else set()


async def test_result_and_answers_arrive_and_the_folder_goes(root: Path) -> None:
    seen = Seen()
    ended = await carry_out(request(root / "a", credentials={"PASSWORD": "handed-over"}), seen)
    assert (ended.exit, ended.failed, ended.recovery_needed) == (Exit.OK, None, False)
    assert [line.type for line in seen] == ["progress", "result"]
    assert ended.result is not None
    assert ended.result.outputs is not None
    assert ended.result.outputs.database is not None
    assert ended.result.outputs.database.admin_password == "handed-over"
    assert "handed-over" not in repr(ended)
    ended.remove()
    assert not (root / "a").exists()
    assert list_left(root) == ()


async def test_folder_is_for_nobody_else(root: Path) -> None:
    (root / "a").mkdir(mode=0o755)
    ended = await carry_out(request(root / "a"))
    modes = {path: path.stat().st_mode & 0o077 for path in [root / "a", *(root / "a").rglob("*")]}
    assert not any(modes.values()), modes
    ended.remove()


async def test_environment_is_what_is_named_and_nothing_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "CANARY", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "PGPASSWORD"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("TF_PLUGIN_CACHE_DIR", "/plugins")
    seen = Seen()
    ended = await carry_out(request(root / "a", "environment"), seen)
    got = {one.resource: one.action for one in seen if isinstance(one, Progress) and one.phase == "environment"}
    assert "canary" not in got.values()
    assert set(got) <= set(runner_environment_names())
    assert got["HOME"] == str(root / "a")
    assert got["TF_PLUGIN_CACHE_DIR"] == "/plugins"
    ended.remove()


def runner_environment_names() -> tuple[str, ...]:
    from paybill.engines.environment import PASSED

    return (*PASSED, "HOME", "USER", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE")


async def test_no_secret_is_on_a_command_line_or_in_an_environment(root: Path) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", "orphaning", credentials={"PASSWORD": "hunter2hunter2"}), seen)
    await seen.phase("tool")
    pids = folder_pids(Folder(root / "a"))
    assert len(pids) == 2
    for pid in pids:
        for name in ("cmdline", "environ"):
            assert b"hunter2" not in shown(pid, name)
    for path in (root / "a").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()
    await runner.cancel(root / "a")
    (await task).remove()


def shown(pid: int, name: str) -> bytes:
    """What others on the machine can see of a process."""
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_a_second_operation_does_not_start_in_the_same_folder(root: Path) -> None:
    ended = await carry_out(request(root / "a"))
    with pytest.raises(Blocked, match="OperationExists"):
        await carry_out(request(root / "a"))
    ended.remove()
    again = await carry_out(request(root / "a"))
    again.remove()


async def test_program_that_cannot_be_started_is_named(root: Path) -> None:
    with pytest.raises(Blocked, match=r"CannotStart.*/no/such/worker"):
        await runner.run(request(root / "a"), command=("/no/such/worker",))


async def test_worker_survives_its_starter_and_is_adopted_once(root: Path) -> None:
    go = root / "go"
    starter = await start_elsewhere(root / "a", f"gated={go}")
    folder = Folder(root / "a")
    await until(lambda: folder.lines.exists() and b"waiting" in folder.lines.read_bytes())
    # While its starter lives, the result is the starter's.
    with pytest.raises(Blocked, match="OperationWatched"):
        await runner.adopt(root / "a")
    starter.kill()
    await starter.wait()
    assert folder.alive()
    assert [record.id for _, record in list_left(root)] == ["a"]

    seen = Seen()
    adopting = asyncio.create_task(runner.adopt(root / "a", on_line=seen.append))
    await seen.phase("waiting")
    with pytest.raises(Blocked, match="OperationWatched"):
        await runner.adopt(root / "a")
    go.touch()
    ended = await adopting
    assert (ended.exit, ended.recovery_needed) == (Exit.OK, False)
    assert ended.result is not None
    assert ended.result.changes

    # Also when it has ended: the result is this process's until it is removed, and then there is none.
    with pytest.raises(Blocked, match="OperationWatched"):
        await runner.adopt(root / "a")
    ended.remove()
    with pytest.raises(Blocked, match="OperationGone"):
        await runner.adopt(root / "a")


async def test_result_of_a_worker_that_ended_alone_is_adopted_by_one_of_many(root: Path) -> None:
    starter = await start_elsewhere(root / "a", f"gated={root / 'go'}")
    folder = Folder(root / "a")
    await until(lambda: folder.lines.exists() and b"waiting" in folder.lines.read_bytes())
    starter.kill()
    await starter.wait()
    (root / "go").touch()
    await until(lambda: folder.exit_code() is not None and not folder.alive())
    results = await asyncio.gather(*(runner.adopt(root / "a") for _ in range(8)), return_exceptions=True)
    (ended,) = (one for one in results if isinstance(one, Ended))
    assert all(isinstance(one, Blocked) for one in results if one is not ended)
    assert ended.exit == Exit.OK
    ended.remove()


async def test_adopter_that_dies_leaves_the_result_to_the_next(root: Path) -> None:
    ended = await carry_out(request(root / "a"))
    ended.release()
    again = await runner.adopt(root / "a")
    assert again.result == ended.result
    again.remove()


async def test_cancelling_the_wait_does_not_stop_the_worker(root: Path) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", f"gated={root / 'go'}"), seen)
    await seen.phase("waiting")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Folder(root / "a").alive()
    (root / "go").touch()
    ended = await runner.adopt(root / "a")
    assert ended.exit == Exit.OK
    ended.remove()


async def test_deadline_asks_once_and_the_worker_may_end_in_order(root: Path) -> None:
    ended = await carry_out(request(root / "a", "obedient", deadline_seconds=3.0))
    assert ended.failed is not None
    assert (ended.exit, ended.failed.reason) == (Exit.TRANSIENT, "DeadlineExceeded")
    assert ended.result is not None
    assert ended.result.pending == ("urn:half",)
    assert ended.recovery_needed
    ended.remove()


async def test_deadline_asks_twice_and_then_kills_the_whole_group(root: Path) -> None:
    seen = Seen()
    ended = await carry_out(request(root / "a", "deaf", deadline_seconds=3.0), seen, patience=QUICK)
    assert seen.count("asked") == 2
    tool = int((await seen.phase("tool")).resource)
    assert not alive({tool})
    assert ended.failed is not None
    assert (ended.exit, ended.failed.reason, ended.recovery_needed) == (Exit.TRANSIENT, "RecoveryNeeded", True)
    assert "deadline" in ended.failed.message
    ended.remove()


@pytest.mark.parametrize(("kind", "recovery"), [("preview", False), ("drift", False), ("up", True), ("destroy", True)])
async def test_only_what_writes_needs_recovery_after_a_kill(root: Path, kind: str, recovery: bool) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", "sleeping", kind=kind), seen)
    await seen.phase("waiting")
    identity = Folder(root / "a").identity()
    assert identity is not None
    os.kill(identity.pid, signal.SIGKILL)
    ended = await task
    assert ended.failed is not None
    assert (ended.exit, ended.recovery_needed) == (Exit.TRANSIENT, recovery)
    assert ended.failed.reason == ("RecoveryNeeded" if recovery else "WorkerDied")
    ended.remove()


async def test_tools_of_a_worker_that_was_killed_do_not_run_on(root: Path) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", "orphaning"), seen)
    tool = int((await seen.phase("tool")).resource)
    identity = Folder(root / "a").identity()
    assert identity is not None
    os.kill(identity.pid, signal.SIGKILL)
    ended = await task
    assert not alive({tool})
    assert ended.recovery_needed
    ended.remove()


async def test_cancel_asks_and_the_result_says_so(root: Path) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", "obedient"), seen)
    await seen.phase("waiting")
    await runner.cancel(root / "a")
    ended = await task
    assert ended.failed is not None
    assert ended.failed.reason == "Cancelled"
    ended.remove()


async def test_cancel_by_somebody_who_does_not_watch_kills_what_is_deaf(root: Path) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", "deaf"), seen, patience=QUICK)
    await seen.phase("tool")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.gather(runner.cancel(root / "a"), runner.cancel(root / "a"))
    ended = await runner.adopt(root / "a", on_line=seen.append)
    assert seen.count("asked") == 2
    assert ended.recovery_needed
    ended.remove()


async def test_the_deadline_holds_without_anybody_who_watches(root: Path) -> None:
    starter = await start_elsewhere(root / "a", "deaf", deadline_seconds=3.0, patience=(0.5, 0.5), unwatched=0.2)
    folder = Folder(root / "a")
    await until(lambda: folder.lines.exists() and b"tool" in folder.lines.read_bytes())
    starter.kill()
    await starter.wait()
    await until(lambda: not folder.alive() and not folder.orphans())
    ended = await runner.adopt(root / "a")
    assert ended.recovery_needed
    ended.remove()


async def test_folder_of_what_runs_is_not_removed(root: Path) -> None:
    seen = Seen()
    task = carry_out(request(root / "a", "sleeping"), seen)
    await seen.phase("waiting")
    with pytest.raises(Blocked, match="OperationRuns"):
        Folder(root / "a").remove()
    await runner.cancel(root / "a")
    (await task).remove()


async def test_rubbish_among_the_answers_is_skipped(root: Path) -> None:
    ended = await carry_out(request(root / "a", "forging=1"))
    assert ended.exit == Exit.OK
    assert ended.result is not None
    assert ended.result.changes
    ended.remove()


@pytest.mark.parametrize(("kind", "reason"), [("preview", "WorkerDied"), ("up", "RecoveryNeeded")])
async def test_a_result_that_is_too_long_to_be_read_is_not_taken_for_none(root: Path, kind: str, reason: str) -> None:
    ended = await carry_out(request(root / "a", "long", kind=kind))
    assert ended.result is None
    assert ended.failed is not None
    assert ended.failed.reason == reason
    assert ended.recovery_needed is (kind == "up")
    ended.remove()


async def test_endless_answers_are_neither_kept_in_memory_nor_on_the_disk(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ALL_BYTES", 8 * 1024 * 1024)
    seen = Seen()
    ended = await carry_out(request(root / "a", "forging=64"), seen, patience=QUICK)
    assert ended.failed is not None
    assert "more than any operation" in ended.failed.message
    assert ended.recovery_needed
    ended.remove()


def test_memory_stays_bounded_with_a_line_of_a_gigabyte(tmp_path: Path) -> None:
    """The reader in a process of its own that may not have more memory than a fraction of the line."""
    path = tmp_path / "lines"
    with path.open("wb") as file:  # sparse: a gigabyte of zeros without an end
        file.truncate(1024**3)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"type": "progress", "phase": "after"}\n')
    program = (
        "import resource, sys; from pathlib import Path; from paybill.engines import lines; "
        "resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, 256 << 20)); lines.ALL_BYTES = 2 << 30; "
        "print([line.phase for line in lines.Lines(Path(sys.argv[1])).read()])"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "['after']"


@pytest.mark.parametrize(("name", "gone"), [("operation.json", True), ("exit.json", False), ("process.json", False)])
async def test_a_file_that_lost_its_content_with_the_power_is_as_good_as_none(
    root: Path, name: str, gone: bool
) -> None:
    (await carry_out(request(root / "a"))).release()
    (root / "a" / name).write_bytes(b"")
    assert bool(list_left(root)) is not gone
    if gone:
        with pytest.raises(Blocked, match="OperationGone"):
            await runner.adopt(root / "a")
        return
    ended = await runner.adopt(root / "a")
    assert ended.recovery_needed is (name == "exit.json")
    ended.remove()


async def test_an_exit_code_that_nobody_agreed_on_says_nothing(root: Path) -> None:
    (await carry_out(request(root / "a"))).release()
    (root / "a" / "exit.json").write_text('{"exit": 99}')
    ended = await runner.adopt(root / "a")
    assert (ended.exit, ended.recovery_needed) == (Exit.TRANSIENT, True)
    ended.remove()


async def test_left_operations_are_listed_oldest_first_and_sweepings_go(root: Path) -> None:
    for name in ("b", "a"):
        (await carry_out(request(root / name))).release()
    (root / "c.removed").mkdir()
    (root / "other").mkdir()
    assert [record.id for _, record in list_left(root)] == ["b", "a"]
    assert not (root / "c.removed").exists()
    assert list_left(root / "missing") == ()


async def test_an_id_that_was_used_again_is_not_signalled(root: Path) -> None:
    """A folder whose worker is long gone, and whose process id is somebody else's now."""
    ended = await carry_out(request(root / "a"))
    folder = Folder(root / "a")
    other = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        folder.identify(other.pid)
        identity = (root / "a" / "process.json").read_text()
        started = folder.identity()
        assert started is not None
        (root / "a" / "process.json").write_text(identity.replace(str(started.started), str(started.started - 1)))
        folder.begin_stop("Cancelled")
        assert not folder.orphans()
        assert other.returncode is None
        ended.remove()
    finally:
        other.kill()
        await other.wait()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def start_elsewhere(
    work_dir: Path,
    behaviour: str,
    *,
    patience: tuple[float, float] = (120.0, 15.0),
    unwatched: float = 5.0,
    **changes: Any,
) -> asyncio.subprocess.Process:
    """Another process that carries out an operation, to be killed."""
    program = (
        "import asyncio, sys\n"
        "from paybill.engines import runner\n"
        "from paybill.engines.operation import Request\n"
        "asked = Request.model_validate_json(sys.argv[1])\n"
        f"patience = runner.Patience(*{patience!r})\n"
        f"command = {(*STAND_IN, str(unwatched))!r}\n"
        "asyncio.run(runner.run(asked, command=command, patience=patience))\n"
    )
    asked = request(work_dir, behaviour, **changes).model_dump_json()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator:."}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program, asked, env=environment)
