"""Started programs inherit nothing, end with us however we end, and say why when they fail."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from paybill.api.failures import Blocked
from paybill.local import process
from paybill.local.children import Child
from paybill.local.process import Command
from tests.local.api import eventually
from tests.local.processes import alive, descendants, environment


def shell(tmp_path, script, **more):
    return Command(name="program", argv=("/bin/sh", "-c", script), log=tmp_path / "program.log", **more)


async def until(condition, seconds=15.0):
    async with asyncio.timeout(seconds):
        while not condition():  # it happens outside this process
            await asyncio.sleep(0.02)


async def answers():
    return True


async def never():
    return False


async def test_a_program_gets_nothing_of_our_environment_but_path_home_and_lang(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    command = Command(name="program", argv=("/bin/sleep", "60"), log=tmp_path / "log", env={"GIVEN": "yes"})
    running = await process.spawn(command)
    try:
        await until(lambda: "GIVEN" in environment(running.pid))
        assert environment(running.pid).keys() <= {"PATH", "HOME", "LANG", "GIVEN"}
    finally:
        await process.stop(running, command)


async def test_a_run_that_fails_says_how_and_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(Blocked) as failure:
        await process.run(shell(tmp_path, "echo first; echo the reason >&2; exit 7"), deadline=10)
    assert "exit code 7" in failure.value.message
    assert "the reason" in failure.value.message
    assert str(tmp_path / "program.log") in failure.value.message


async def test_a_run_that_takes_too_long_is_stopped_with_all_it_started(tmp_path):
    script = "sleep 1000 & echo $! >child; wait"
    with pytest.raises(Blocked, match="took longer than 1 s"):
        await process.run(shell(tmp_path, script, cwd=tmp_path), deadline=1, tick_seconds=0.1)
    child = {int((tmp_path / "child").read_text())}
    await until(lambda: not alive(child))


async def test_a_program_that_does_not_exist_is_named(tmp_path):
    command = Command(name="etcd", argv=("/nowhere/etcd",), log=tmp_path / "log")
    with pytest.raises(Blocked, match="etcd: cannot run /nowhere/etcd: No such file"):
        await Child(command).start()


async def test_a_broken_program_is_named(tmp_path):
    broken = tmp_path / "etcd"
    broken.write_bytes(b"\x7fELF and no more")
    broken.chmod(0o755)
    with pytest.raises(Blocked, match=r"cannot run .*/etcd: Exec format error; if that file is broken, remove it"):
        await Child(Command(name="etcd", argv=(str(broken),), log=tmp_path / "log")).start()


async def test_a_child_that_ends_before_it_is_ready_fails_with_its_last_words(tmp_path):
    with pytest.raises(Blocked, match=r"(?s)ended with exit code 3.*cannot bind"):
        await Child(shell(tmp_path, "echo cannot bind; exit 3"), ready=never).start(deadline=10)


async def test_a_child_that_never_answers_is_stopped(tmp_path):
    child = Child(shell(tmp_path, "exec sleep 1000"), ready=never)
    with pytest.raises(Blocked, match="did not answer within 0 s"):
        await child.start(deadline=0.3)
    assert child.pid is None


async def test_a_child_that_dies_is_started_again(tmp_path):
    child = Child(shell(tmp_path, "exec sleep 1000"), ready=answers)
    await child.start()
    try:
        first = child.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.pid not in (None, first))
        assert child.restarts == 1
    finally:
        await child.stop()


async def test_a_program_that_ignores_the_request_to_stop_is_killed(tmp_path):
    child = Child(shell(tmp_path, "trap '' TERM; while :; do sleep 0.1; done", stop_seconds=0.5), ready=answers)
    await child.start()
    pid = child.pid
    await child.stop()
    assert not alive({pid})


async def test_the_log_of_the_run_before_is_kept_and_a_log_that_grew_too_large_is_cut(tmp_path):
    await process.run(shell(tmp_path, "echo one"), deadline=10)
    await process.run(shell(tmp_path, "echo two"), deadline=10)
    log = tmp_path / "program.log"
    assert (log.read_text(), log.with_name("program.log.1").read_text()) == ("two\n", "one\n")
    process.truncate(log, limit=2)
    assert (log.read_text(), log.with_name("program.log.1").read_text()) == ("", "two\n")


PARENT = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from paybill.local import process
    from paybill.local.process import Command

    async def main(folder):
        await process.spawn(Command(name="x", argv=("/bin/sleep", "1000"), log=folder / "log"))
        print("started", flush=True)
        await asyncio.sleep(1000)

    {sabotage}
    asyncio.run(main(Path(sys.argv[1])))
""")


@pytest.mark.parametrize(
    ("sabotage", "survives"),
    [("", False), ("process._death_warrant = lambda _: (lambda: None)", True)],
    ids=["with the death warrant it dies too", "without it survives: the warrant is what does it"],
)
def test_a_program_whose_starter_is_killed(tmp_path, sabotage, survives):
    argv = [sys.executable, "-c", PARENT.format(sabotage=sabotage), str(tmp_path)]
    path = str(Path(process.__file__).parents[2])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}) as parent:
        assert parent.stdout.readline() == b"started\n"
        children = descendants(parent.pid)
        assert children
        parent.kill()
        parent.wait()
    if survives:
        assert alive(children) == children
        for child in children:
            os.kill(child, signal.SIGKILL)
    eventually(lambda: not alive(children))
