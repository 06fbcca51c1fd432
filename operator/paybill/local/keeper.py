"""Keeps the Postgres servers of tenants that have one of their own, while ``paybill up`` runs.

What should run is said in files (engines/embedded/folder.py), so neither the operator nor an engine has to live for a
server to live: after a kill of either, and after a restart of the machine, the keeper starts what was wanted. It runs
as a process of its own beside the control plane; when it dies its servers die with it, and the next one starts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import shutil
import signal
import sys
from pathlib import Path

from paybill.api.failures import Failure
from paybill.engines.embedded.folder import Folder, Found, Wanted, folders, pulse
from paybill.local import account as accounts
from paybill.local import ports, postgres, postgres_binaries, probes
from paybill.local.agents_gateways import Gateways
from paybill.local.certificates import Certificates, Identity, Pair, issue
from paybill.local.children import Child
from paybill.local.home import Home
from paybill.local.process import Account, Command, run

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
PULSE_EVERY = 1.0
AGAIN_SECONDS = 5.0
"""Until a server that did not start is tried again."""
SPARE_CONNECTIONS = 15
"""For the operator's own sessions and Postgres' own reserve, beside what the tenant may open."""
NO_TLS = "SSL is not supported by this build"
AT_ONCE = 2
"""Servers that are made or started side by side."""


class Keeper:
    """All servers of one instance. ``serve`` runs until it is cancelled; ``stop`` then ends every server."""

    def __init__(self, home: Home, *, fsync: bool = True) -> None:
        self._home = home
        self._fsync = fsync
        self._children: dict[str, Child] = {}
        self._done: dict[str, str] = {}
        """Per tenant the digest of what was made so last."""
        self._settled: dict[str, tuple[tuple[int, int] | None, ...]] = {}
        """Per tenant the stamp of a folder in which nothing is to be done: most of them, ten times a second."""
        self._working: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tls: dict[str, bool] = {}

    async def serve(self) -> None:
        """Look at what is wanted again and again, and make it so."""
        pulse(self._home.servers)
        ticks = round(PULSE_EVERY / LOOK_SECONDS)
        tick = 0
        while True:
            if tick % ticks == 0:
                pulse(self._home.servers)
            for folder in folders(self._home.servers):
                self._look(folder)
            tick += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """Stop every server; what is wanted stays as it is."""
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    def _look(self, folder: Folder) -> None:
        name = folder.path.name
        stamp = folder.stamp
        if name in self._working or self._settled.get(name) == stamp:
            return
        wanted = folder.wanted
        if wanted is None or (self._done.get(name) == wanted.digest and _answered(folder, wanted)):
            self._settled[name] = stamp
            return
        task = self._working[name] = asyncio.create_task(self._make(folder, wanted), name=f"server {name}")
        task.add_done_callback(lambda _: self._working.pop(name, None))

    async def _make(self, folder: Folder, wanted: Wanted) -> None:
        name = folder.path.name
        try:
            async with self._places:
                await self._bring_about(folder, wanted)
        except (Failure, OSError, ValueError) as failure:
            logger.warning("server %s: %s", name, failure)
            with contextlib.suppress(FileNotFoundError):  # somebody took the folder away
                port = folder.found.port if folder.found is not None else 0
                folder.answer(Found(answers=wanted.digest, state="Failed", port=port, message=str(failure)))
            await asyncio.sleep(AGAIN_SECONDS)  # without a place: who can be helped does not wait for who cannot
            return
        self._done[name] = wanted.digest

    async def _bring_about(self, folder: Folder, wanted: Wanted) -> None:
        await self._stop_one(folder.path.name)
        if wanted.state == "Running":
            folder.answer(await self._start(folder, wanted))
        elif wanted.state == "Stopped":
            port = folder.found.port if folder.found is not None else 0
            folder.answer(Found(answers=wanted.digest, state="Stopped", port=port))
        else:
            await asyncio.to_thread(self._remove, folder)

    async def _stop_one(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            await child.stop()

    async def _start(self, folder: Folder, wanted: Wanted) -> Found:
        """Make the server's data unless it is there, and run it."""
        home, account = Home(folder.path), accounts.unprivileged_account()
        home.create()
        data = accounts.data_folder(home.postgres, account)
        chosen = postgres_binaries.choose(await postgres_binaries.find(), postgres_binaries.major_of(data))
        distribution = await asyncio.to_thread(postgres_binaries.within_reach, chosen, account)
        before = folder.found
        kept = {"postgres": before.port} if before is not None and before.port else {}
        port = ports.choose(["postgres"], kept)["postgres"]
        server = await postgres.prepare(home, distribution, data, port=port, account=account, fsync=self._fsync)
        elsewhere = [str(path) for path in (server.data, server.sockets) if not path.is_relative_to(home.path)]
        home.write_state(elsewhere=elsewhere or None)
        settings = {"max_connections": str(wanted.connections + SPARE_CONNECTIONS), "shared_buffers": "32MB"}
        ca: str | None = None
        if await self._has_tls(server):
            settings |= self._serving(server)
            ca = Certificates(self._home.certificates).authority.certificate.read_text()
        command = postgres.command(server, log=home.logs / "postgres.log", fsync=self._fsync, settings=settings)
        child = Child(command, ready=probes.postgres_ok(server.dsn))
        await child.start(deadline=60.0)
        self._children[folder.path.name] = child
        version = ".".join(map(str, distribution.version))
        return Found(answers=wanted.digest, state="Running", port=port, version=version, ca=ca)

    async def _has_tls(self, server: postgres.Server) -> bool:
        """Whether the programs were built with TLS: they refuse the setting otherwise."""
        programs = server.distribution.folder
        if str(programs) not in self._tls:
            argv = (str(programs / "postgres"), "-D", str(server.data), "-c", "ssl=on", "-C", "ssl")
            log = self._home.logs / "postgres-tls.log"
            try:
                await run(Command(name="postgres", argv=argv, log=log, account=server.account), deadline=20)
                self._tls[str(programs)] = True
            except Failure as failure:
                # Any other failure must not cost the server its TLS for good.
                if NO_TLS not in failure.message:
                    raise
                self._tls[str(programs)] = False
        return self._tls[str(programs)]

    def _serving(self, server: postgres.Server) -> dict[str, str]:
        """A certificate of this instance's authority, made anew at each start, and the settings that use it."""
        pair = Pair.named(server.data.parent if server.account is None else server.data, "server")
        issue(
            pair,
            Certificates(self._home.certificates).authority,
            Identity("postgres", serving=True),
            dt.datetime.now(dt.UTC),
        )
        if server.account is not None:
            for path in (pair.certificate, pair.key):
                os.chown(path, server.account.uid, server.account.gid)
        return {
            "ssl": "on",
            "ssl_cert_file": str(pair.certificate),
            "ssl_key_file": str(pair.key),
            "ssl_min_protocol_version": "TLSv1.2",
        }

    def _remove(self, folder: Folder) -> None:
        """Take the server and its data away, wherever the account it ran as had to keep them."""
        account: Account | None = accounts.unprivileged_account()
        home = Home(folder.path)
        elsewhere = [accounts.data_folder(home.postgres, account), postgres.socket_folder(home, account)]
        for path in elsewhere:
            if not path.is_relative_to(folder.path):
                shutil.rmtree(path, ignore_errors=True)
        folder.remove()


def _answered(folder: Folder, wanted: Wanted) -> bool:
    """Whether the answer is still there: somebody may have taken the folder away, and asked again."""
    found = folder.found
    return found is not None and found.answers == wanted.digest


async def main(path: Path) -> None:
    """Keep the servers and the agents' gateways of the instance in ``path`` until SIGTERM or SIGINT."""
    keeper, gateways, ended = Keeper(Home(path)), Gateways(Home(path)), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    serving = {asyncio.create_task(keeper.serve()), asyncio.create_task(gateways.serve())}
    stopping = asyncio.create_task(ended.wait())
    done, _ = await asyncio.wait({*serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (*serving, stopping):
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await asyncio.gather(keeper.stop(), gateways.stop())
    for task in done - {stopping}:
        task.result()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(Path(sys.argv[1])))
