"""Programs that are left before their end: nothing of them stays, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paybill.api.failures import Blocked, Retry
from paybill.backups import programs

FILLS = """
import os, pathlib, sys, time
os.set_blocking(1, False)
refused = 0
while refused < 5:
    try:
        os.write(1, b"x" * 65536)
        refused = 0
    except BlockingIOError:
        refused += 1
        time.sleep(0.1)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
"""Writes until nobody takes it any more, says so, and goes on living."""
LONG = 60.0


async def test_one_whose_pipe_is_full_is_ended_by_who_reads_no_more(tmp_path: Path) -> None:
    full = tmp_path / "full"
    async with asyncio.timeout(LONG):
        async with contextlib.aclosing(programs.output((sys.executable, "-c", FILLS, str(full)), {}, LONG)) as pieces:
            assert await anext(pieces)
            while not full.exists():
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("says", "failure", "reason"),
    [
        ("could not extend file: No space left on device", Retry, "DatabaseFull"),
        ("server closed the connection unexpectedly", Retry, "DatabaseUnreachable"),
        ("permission denied for table notes", Blocked, "ClientToolFailed"),
    ],
)
async def test_what_it_was_fed_is_closed_when_it_fails_and_its_words_say_why(
    says: str, failure: type[Exception], reason: str
) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    fails = ["sh", "-c", f"echo 'pg_restore: error: {says}' >&2; exit 1"]
    async with asyncio.timeout(LONG):
        with pytest.raises(failure) as raised:
            await programs.fed(fails, {"PATH": "/usr/bin:/bin"}, LONG, endless())
    assert raised.value.reason == reason  # type: ignore[attr-defined]
    assert closed.is_set()
