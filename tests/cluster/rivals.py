"""Operators that take over from one another: a process with a token each, so the API server's log tells them apart."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from paybill.local import ports
from paybill.settings import Settings
from tests.cluster.waiting import until

ROOT = Path(__file__).parents[2]


@dataclass
class Rival:
    """One operator process; ``credential`` is how the API server's audit log names its token."""

    folder: Path
    credential: str
    port: int
    environment: dict[str, str]
    popen: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it is frozen."""
        assert self.popen is not None
        with suppress(FileNotFoundError):
            return Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(") ", 1)[1].startswith("T")
        return False

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}", **self.environment}
        with (self.folder / "log").open("ab") as log:
            argv = [sys.executable, "-m", "tests.cluster.stopping"]
            self.popen = subprocess.Popen(argv, env=environment, cwd=ROOT, stderr=log, stdout=log)

    def arm(self) -> None:
        """From now on it stops at its effect."""
        (self.folder / "armed").touch()

    def signal(self, number: signal.Signals) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)

    async def says(self, path: str) -> bool:
        """Whether a health endpoint answers 200."""
        try:
            timeout = aiohttp.ClientTimeout(total=0.5)
            url = f"http://127.0.0.1:{self.port}{path}"
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def leads(self, seconds: float = 40.0) -> float:
        """Wait until it leads; returns how long that took."""
        began = time.monotonic()
        await until(lambda: self.says("/readyz"), seconds=seconds, otherwise=lambda: self.log[-2000:])
        return time.monotonic() - began

    async def ended(self, seconds: float = 40.0) -> int:
        """Wait for its end; returns its code."""
        await until(lambda: not self.running, seconds=seconds, otherwise=lambda: self.log[-2000:])
        assert self.popen is not None
        return int(self.popen.returncode)

    def close(self) -> None:
        if self.running:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait(10)


def prepare(
    folder: Path, settings: Settings, control_dsn: str, kubeconfig: Path, token: str, *, api: str = "", **extra: str
) -> Rival:
    """A process that is not started yet; ``api`` is another address of the API server (a Link)."""
    folder.mkdir(parents=True)
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    if api:
        config["clusters"][0]["cluster"]["server"] = api
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    (folder / "control").write_text(control_dsn)
    port = ports.choose(["operator"], {})["operator"]
    environment = {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PAYBILL_CONTROL_DATABASE_FILE": str(folder / "control"),
        "PAYBILL_INSTALLATION": settings.installation,
        "PAYBILL_LEASE_SECONDS": str(settings.lease_seconds),
        "PAYBILL_METRICS_PORT": str(port),
        "STOP_ARMED": str(folder / "armed"),
        **extra,
    }
    return Rival(folder, _credential(token), port, environment)


def _credential(token: str) -> str:
    claims = token.split(".")[1]
    identity = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
    return f"JTI={identity}"


def writes_of(audit_log: Path, mark: int) -> list[dict[str, Any]]:
    """Successful writes since a mark, Leases and Events apart: when they were received, by whose token, to what."""
    found = []
    with audit_log.open() as file:
        file.seek(mark)
        for line in file:
            if not line.endswith("\n"):
                break
            entry = json.loads(line)
            if entry["stage"] != "ResponseComplete" or entry["verb"] not in {"create", "update", "patch", "delete"}:
                continue
            target, extra = entry.get("objectRef") or {}, entry["user"].get("extra") or {}
            if target.get("resource") in {"leases", "events"} or entry["responseStatus"]["code"] >= 300:
                continue
            identity = (extra.get("authentication.kubernetes.io/credential-id") or [""])[0]
            what = f"{entry['verb']} {target.get('resource')} {target.get('namespace', '')}/{target.get('name', '')}"
            found.append({"received": entry["requestReceivedTimestamp"], "by": identity, "what": what})
    return found


@dataclass
class Link:
    """A wire to the API server that can be cut: what is sent then goes nowhere, and no connection is refused."""

    target: tuple[str, int]
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        there, back = await asyncio.open_connection(*self.target)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self.whole.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def link(api_url: str) -> AsyncIterator[Link]:
    """A wire to ``https://host:port``; ``address`` is its near end."""
    host, port = api_url.removeprefix("https://").split(":")
    wire = Link((host, int(port)))
    wire.whole.set()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        wire.whole.set()
        server.close()
