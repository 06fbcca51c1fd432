"""A Postgres that is made for one use and thrown away with all that is on it: a folder, a process, a random password.

It is no instance: nobody finds it, it has no home among the others, and the kernel ends it with whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from paybill.api.failures import Blocked
from paybill.local import account as accounts
from paybill.local import ports, postgres, postgres_binaries, probes, process
from paybill.local.home import Home, private_folder

DEADLINE: Final = 60.0
"""Seconds until it has to answer."""


@contextlib.asynccontextmanager
async def scratch_server() -> AsyncIterator[str]:
    """Its administrator's connection string, which holds the password, while it is there.

    Raises Blocked when no Postgres is on this machine, or it cannot be started.
    """
    account = accounts.unprivileged_account()
    chosen = postgres_binaries.choose(await postgres_binaries.find(), None)
    distribution = await asyncio.to_thread(postgres_binaries.within_reach, chosen, account)
    with tempfile.TemporaryDirectory(prefix="paybill-scratch-") as name:
        folder, home = _made(Path(name))
        server = await postgres.prepare(
            home,
            distribution,
            folder / "data",
            port=ports.choose(["postgres"], {})["postgres"],
            account=account,
            fsync=False,
        )
        command = postgres.command(server, log=home.logs / "postgres.log", fsync=False)
        running = await process.spawn(command)
        try:
            await _answers(server.dsn, running)
            yield server.dsn
        finally:
            await process.stop(running, command)
            shutil.rmtree(server.sockets, ignore_errors=True)


def _made(folder: Path) -> tuple[Path, Home]:
    folder.chmod(0o711)  # the account that Postgres runs as has to pass
    home = Home(private_folder(folder / "home"))
    private_folder(home.logs)
    return folder, home


async def _answers(dsn: str, running: asyncio.subprocess.Process) -> None:
    probe, ends = probes.postgres_ok(dsn), time.monotonic() + DEADLINE
    while not await probe():
        if running.returncode is not None or time.monotonic() > ends:
            raise Blocked("CannotStart", "a scratch Postgres was started and does not answer: see `paybill doctor`")
        await asyncio.sleep(0.1)
