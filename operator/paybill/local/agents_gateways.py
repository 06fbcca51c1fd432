"""Agents' gateways on this machine: processes of their own that the keeper runs while ``paybill up`` does.

A folder per tenant says what is wanted, as for the tenants' servers (engines/embedded/folder.py): who asks need not
live for a gateway to live, and after a restart it is there again, on the same port where that is free. The Secret that
the operator keeps of the tenant's agents is laid beside it as a kubelet mounts one, and follows it: an agent that is
shut out is gone from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import aiohttp

from paybill.api.canonical import digest
from paybill.api.failures import Blocked, Failure
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired.resource import Key, texts
from paybill.local import ports
from paybill.local.children import Child, Probe
from paybill.local.home import Home, private_folder, write_private
from paybill.local.process import Command

T = TypeVar("T")

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 5.0
"""Until a gateway that did not start is tried again."""
_PORTS: Final = ("mcp", "metrics")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A gateway for the agents of ``tenant`` (its opaque id), which are in Secret ``secret`` of ``namespace``.

    It asks as the user of ``kubeconfig`` whose tokens it is given.
    """

    tenant: str
    namespace: str
    secret: str
    audience: str
    kubeconfig: str

    @property
    def digest(self) -> str:
        """Says which ``Wanted`` an answer of the keeper is about."""
        return digest(dataclasses.asdict(self))


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a gateway listens, on the loopback interface; ``of`` is the digest of what was wanted."""

    of: str
    mcp: int
    metrics: int

    @property
    def url(self) -> str:
        """Where agents speak MCP."""
        return f"http://127.0.0.1:{self.mcp}/mcp"


class Place:
    """One tenant's folder: what is wanted, what is there, and the files of its agents, as a mounted Secret has them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def files(self) -> Path:
        """The folder that the gateway reads."""
        return self.path / "files"

    @property
    def wanted(self) -> Wanted | None:
        """What is asked for; None when nothing is."""
        return _read(self.path / "wanted.json", Wanted)

    @property
    def found(self) -> Found | None:
        """What the keeper made of it last."""
        return _read(self.path / "found.json", Found)

    def ask(self, wanted: Wanted) -> None:
        """Ask for a gateway; one that is there as it is wanted is left alone."""
        for folder in (self.path.parent, self.path, self.files):
            private_folder(folder)
        if self.wanted != wanted:
            write_private(self.path / "wanted.json", json.dumps(dataclasses.asdict(wanted)))

    def mount(self, files: Mapping[str, str]) -> None:
        """Have exactly these files there; one that is as it should be is left alone."""
        private_folder(self.files)
        there = {path.name: path for path in self.files.iterdir()}
        for name in there.keys() - files.keys():
            there[name].unlink()
        for name, content in files.items():
            if name not in there or there[name].read_text(encoding="utf-8") != content:
                write_private(self.files / name, content)

    def answer(self, found: Found) -> None:
        """Say what was made of it."""
        write_private(self.path / "found.json", json.dumps(dataclasses.asdict(found)))

    async def serving(self, wanted: Wanted, *, seconds: float) -> Found:
        """Where the gateway that was asked for answers; raises ``Blocked("NoGateway")`` after ``seconds``."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = self.found
            if found is not None and found.of == wanted.digest and await _ready(found.metrics)():
                return found
            await asyncio.sleep(LOOK_SECONDS)
        raise Blocked("NoGateway", f"the agents' gateway does not answer after {seconds:.0f} s: see gateway-*.log")


def place_of(home: Home, tenant: str) -> Place:
    """The folder of a tenant's gateway."""
    return Place(home.gateways / tenant)


def _places(home: Home) -> Iterator[Place]:
    if home.gateways.is_dir():
        yield from (Place(path) for path in sorted(home.gateways.iterdir()) if path.is_dir())


class Gateways:
    """All gateways of one instance. ``serve`` runs until it is cancelled; ``stop`` then ends every one."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._children: dict[str, Child] = {}
        self._done: dict[str, str] = {}
        self._again: dict[str, float] = {}

    async def serve(self) -> None:
        """Look at what is wanted again and again, and make it so."""
        async with contextlib.AsyncExitStack() as stack:
            cluster: Cluster | None = None
            while True:
                for place in _places(self._home):
                    if cluster is None:
                        cluster = Cluster(await stack.enter_async_context(open_session(self._home.kubeconfig)))
                    await self._look(cluster, place)
                await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """Stop every gateway; what is wanted stays as it is."""
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    async def _look(self, cluster: Cluster, place: Place) -> None:
        name, wanted = place.path.name, place.wanted
        if wanted is None or time.monotonic() < self._again.get(name, 0.0):
            return
        try:
            # A Secret that is not there is one without agents; a server that does not answer leaves what is mounted.
            place.mount(texts(await cluster.get(Key("Secret", wanted.namespace, wanted.secret))))
            if self._done.get(name) != wanted.digest:
                await self._start(place, wanted)
                self._done[name] = wanted.digest
        except (Failure, OSError) as failure:
            logger.warning("gateway %s: %s", name, failure)
            self._again[name] = time.monotonic() + AGAIN_SECONDS

    async def _start(self, place: Place, wanted: Wanted) -> None:
        name = place.path.name
        before = self._children.pop(name, None)
        if before is not None:
            await before.stop()
        kept = dataclasses.asdict(place.found) if place.found is not None else {}
        chosen = ports.choose(_PORTS, {port: kept[port] for port in _PORTS if port in kept})
        command = Command(
            name=f"gateway-{name}",
            argv=_argv(place, wanted, chosen),
            log=self._home.logs / f"gateway-{name}.log",
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "KUBECONFIG": wanted.kubeconfig},
        )
        child = Child(command, ready=_ready(chosen["metrics"]))
        await child.start(deadline=60.0)
        self._children[name] = child
        place.answer(Found(of=wanted.digest, **chosen))


def _argv(place: Place, wanted: Wanted, chosen: dict[str, int]) -> tuple[str, ...]:
    port = chosen["mcp"]
    return (
        sys.executable, "-m", "paybill", "agents", "gateway", str(place.files), "--tenant", wanted.tenant,
        "--audience", wanted.audience, "--host-name", f"127.0.0.1:{port}", "--host-name", f"localhost:{port}",
        "--port", str(port), "--metrics-port", str(chosen["metrics"]), "--log-format", "text",
    )  # fmt: skip


def _ready(port: int) -> Probe:
    async def ready() -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=5.0)
            asked = f"http://127.0.0.1:{port}/readyz"
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(asked) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready


def _read(path: Path, kind: type[T]) -> T | None:
    """A file of ours; None where there is none, or one of another version."""
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
