"""Operators as processes of their own, to be killed: started with the same settings as the one in process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO

from paybill.settings import Settings
from tests.cluster.faults import Fault

ROOT = Path(__file__).parents[2]


class Process:
    """One operator process; ``started`` makes it."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def started(cls, settings: Settings, kubeconfig: Path, log: Path, fault: Fault | None = None) -> Process:
        """Start one; what it logs is added to ``log``."""
        chosen = {
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}",
            "PAYBILL_INSTALLATION": settings.installation,
            "PAYBILL_CONTROL_DATABASE_URL": settings.control_database_url,
            "PAYBILL_LEASE_SECONDS": str(settings.lease_seconds),
            "PAYBILL_DATABASE_RESYNC_SECONDS": str(settings.database_resync_seconds),
        }
        words = [] if fault is None else [json.dumps(asdict(fault))]
        file = log.open("ab")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.cluster.killed", *words,
            env=os.environ | chosen, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=file,
        )  # fmt: skip
        return cls(process, file)

    async def leads(self, seconds: float = 40.0) -> None:
        """Wait until it says so."""
        assert await self.said(seconds) == "leads"

    async def said(self, seconds: float | None = 40.0) -> str:
        """Its next line on standard output; empty when it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            return (await self._process.stdout.readline()).decode().strip()

    async def died(self, seconds: float = 40.0) -> None:
        """Wait until it has killed itself."""
        async with asyncio.timeout(seconds):
            assert await self._process.wait() == -signal.SIGKILL
        self._log.close()

    async def end(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()
        self._log.close()
