"""The first process of an operation's pod: the real one as a process, with the worker for tests inside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paybill.engines import pod, runner
from paybill.engines.folder import Folder
from paybill.engines.operation import Answer, Exit, Request
from paybill.engines.sealed import Opening, new_key
from tests.engines.asked import STAND_IN, request

START = f"""
import sys
from paybill.engines import pod, runner
pod.runner.WORKER = {STAND_IN!r}
pod.carry_out.__defaults__ = (pod.runner.WORKER,)
sys.exit(pod.main(sys.argv[1:], pod._say))
"""


class Pod:
    """One pod; what it says is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process, key: str) -> None:
        self.process = process
        self.said: list[str] = []
        self._opening = Opening(key)

    async def until(self, word: str) -> None:
        """Read until it says something."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while not any(word in line for line in self.said):
                line = (await self.process.stdout.readline()).decode()
                assert line, f"it ended without {word!r}: {self.said}"
                self._take(line.rstrip("\n"))

    async def ended(self) -> tuple[int, Answer | None]:
        """Its exit code and its answer."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            rest = await self.process.stdout.read()
            for line in rest.decode().splitlines():
                self._take(line)
            return await self.process.wait(), self._opening.answer

    def _take(self, line: str) -> None:
        self.said.append(line)
        self._opening.take(line)


@contextlib.asynccontextmanager
async def begun(asked: Request, folder: Path, *, text: str | None = None) -> AsyncIterator[Pod]:
    given, key = folder / "given", new_key()
    given.mkdir()
    (given / "request.json").write_text(text or asked.model_dump_json())
    (given / "key").write_text(key)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, str(given), str(folder / "work"),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    try:
        yield Pod(process, key)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await runner.cancel(folder / "work" / asked.id)


async def test_it_answers_and_its_log_shows_what_went_on_and_no_secret(tmp_path: Path) -> None:
    asked = request(tmp_path / "elsewhere", credentials={"PASSWORD": "hunter2hunter2"})
    async with begun(asked, tmp_path) as one:
        code, answer = await one.ended()
    assert code == 0
    assert answer is not None
    assert answer.exit is Exit.OK
    assert answer.result is not None
    assert answer.result.outputs is not None
    assert "apply create a" in one.said
    assert "hunter2" not in "".join(one.said)


async def test_what_tools_print_is_in_its_log_without_secrets(tmp_path: Path) -> None:
    asked = request(tmp_path / "a", "chatty", credentials={"PASSWORD": "hunter2hunter2"})
    async with begun(asked, tmp_path) as one:
        code, answer = await one.ended()
    assert code == Exit.USER
    assert answer is not None
    assert answer.failed is not None
    assert answer.failed.reason == "Loud"
    assert "| said [secret]" in one.said
    assert any(line.startswith("Loud: ") for line in one.said)
    assert "hunter2" not in "".join(one.said)


async def test_a_preview_that_found_something_is_a_pod_that_did_well(tmp_path: Path) -> None:
    async with begun(request(tmp_path / "a", kind="preview"), tmp_path) as one:
        code, answer = await one.ended()
    assert (code, answer and answer.exit) == (0, Exit.CHANGES)


async def test_one_that_is_taken_away_asks_its_worker_and_answers(tmp_path: Path) -> None:
    async with begun(request(tmp_path / "a", "obedient"), tmp_path) as one:
        await one.until("waiting")
        one.process.send_signal(signal.SIGTERM)
        code, answer = await one.ended()
    assert code == Exit.TRANSIENT
    assert answer is not None
    assert answer.failed is not None
    assert (answer.failed.reason, answer.recovery_needed) == (pod.STOPPED, True)


async def test_of_a_worker_that_dies_it_tells_that_nobody_knows(tmp_path: Path) -> None:
    async with begun(request(tmp_path / "a", "sleeping"), tmp_path) as one:
        await one.until("waiting")
        worker = Folder(tmp_path / "work" / "a").identity()
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        _, answer = await one.ended()
    assert answer is not None
    assert answer.failed is not None
    assert (answer.failed.reason, answer.recovery_needed) == ("RecoveryNeeded", True)


async def test_what_it_does_not_understand_it_says_without_quoting_it(tmp_path: Path) -> None:
    text = '{"id": "a", "credentials": {"PASSWORD": "hunter2hunter2"}}'
    async with begun(request(tmp_path / "a"), tmp_path, text=text) as one:
        code, answer = await one.ended()
    assert code == Exit.USER
    assert answer is not None
    assert answer.failed is not None
    assert answer.failed.reason == "RequestInvalid"
    assert "hunter2" not in "".join(one.said)


def test_a_recovery_frees_what_a_pod_of_its_own_name_left(tmp_path: Path) -> None:
    asked = request(tmp_path / "a", kind="recover", dead_owners=("operator@its-pod",))
    owners = pod.request_of(asked.model_dump_json(), tmp_path).dead_owners
    assert set(owners) == {"operator@its-pod", runner.holder_here()}
    assert pod.request_of(request(tmp_path / "a").model_dump_json(), tmp_path).dead_owners == ()


def test_an_account_without_a_name_has_one_for_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in the image, whose account is a number."""
    from paybill.engines import environment

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(environment.pwd, "getpwuid", nobody)
    assert runner.holder_here().startswith("paybill@")
    assert environment.worker_environment(tmp_path, tmp_path)["USER"] == "paybill"
