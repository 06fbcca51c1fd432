"""One running control plane with its Postgres: started, used and stopped as a whole.

What users call ``paybill up``, tests call ``Instance.start``: the same parts in the same order, so what the tests
prove holds for users. Data, ports and certificates survive ``stop``; a second ``start`` finds them.
"""

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from paybill.local import controllers, ports, running
from paybill.local.binaries import Binaries, provide
from paybill.local.certificates import Certificates, Identity, Pair, issue
from paybill.local.children import Child, Probe
from paybill.local.home import Home, private_folder, write_private
from paybill.local.lock import HomeLock
from paybill.local.process import Command
from paybill.local.running import RunningInstance
from paybill.local.servers import PORT_NAMES, Options, Servers

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Takes one line for people about what is going on."""

# Programs of a supervisor that was killed just now may need a moment to let go of their ports.
_PORT_LOOKS = 30
_PORT_PAUSE_SECONDS = 0.1


def silent(_: str) -> None:
    """Progress that nobody reads."""


class Instance:
    """A control plane and a Postgres in one home, supervised by this process.

    ``audit_log`` names a file that gets one JSON line per API request (never a body). ``fsync=False`` makes etcd and
    Postgres forget recent writes when the machine crashes and is for tests and benches. ``postgres=False`` leaves
    Postgres out. Use it from one event loop, whose thread must live as long as the instance.
    """

    def __init__(
        self,
        home: Home,
        *,
        audit_log: Path | None = None,
        controllers_qps: int = controllers.RAISED_QPS,
        controllers_burst: int = controllers.RAISED_BURST,
        fsync: bool = True,
        postgres: bool = True,
    ) -> None:
        self.home = home
        self.options = Options(
            audit_log=audit_log,
            controllers_qps=controllers_qps,
            controllers_burst=controllers_burst,
            fsync=fsync,
            postgres=postgres,
        )
        self.ports: dict[str, int] = {}
        self._lock = HomeLock(home.lock)
        self._children: list[Child] = []
        self._dsn: str | None = None
        self._sockets: Path | None = None

    @staticmethod
    def running(home: Home) -> RunningInstance | None:
        """The instance that runs in ``home`` now, whoever started it; ``None`` when none does."""
        return running.find(home)

    @property
    def api_url(self) -> str:
        """Where the API server listens; known from ``start`` on."""
        return self._servers.api_url

    @property
    def ca_path(self) -> Path:
        """The authority that signed the API server's certificate."""
        return Certificates(self.home.certificates).authority.certificate

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home.kubeconfig

    @property
    def audit_log(self) -> Path | None:
        """Where API requests are logged, if they are."""
        return self.options.audit_log

    @property
    def postgres_dsn(self) -> str:
        """The superuser's connection string; only with Postgres and after ``start``."""
        if self._dsn is None:
            raise RuntimeError("this instance was started without Postgres, or not yet")
        return self._dsn

    @property
    def children(self) -> tuple[Child, ...]:
        """What runs, in the order in which it was started."""
        return tuple(self._children)

    @property
    def _servers(self) -> Servers:
        return Servers(self.home, self.ports, self.options)

    async def start(self, progress: Progress = silent) -> None:
        """Start everything and wait until it answers.

        Raises Blocked with what to do when something is missing, does not start, or another process runs this home;
        nothing of ours is left running then.
        """
        self.home.create()
        self._lock.acquire()
        try:
            self.home.write_state(ready=None)
            binaries = await provide(progress)
            await self._prepare()
            await self._start_servers(binaries, progress)
        except BaseException:
            await self.stop()
            raise

    def mark_ready(self) -> None:
        """Let ``Instance.running`` tell others that everything that was to be started answers."""
        self.home.write_state(ready=True)

    async def stop(self) -> None:
        """Stop everything in the reverse order of its start, and give the home free."""
        if self._children:
            self.home.write_state(ready=None)
        while self._children:
            await self._children[-1].stop()
            self._children.pop()
        if self._sockets is not None:
            with contextlib.suppress(OSError):  # only an empty folder is removed
                self._sockets.rmdir()
        self._lock.release()

    async def supervise(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        ready: Probe | None = None,
        deadline: float = 60.0,
        restart: bool = True,
    ) -> Child:
        """Run another program beside the control plane, stopped before it and started again when it dies.

        It gets ``env``, PATH, HOME and LANG and nothing else; its log is ``logs/<name>.log``. ``ready`` must come
        true within ``deadline`` seconds.
        """
        command = Command(name=name, argv=tuple(argv), env=env, log=self.home.logs / f"{name}.log")
        return await self._start_child(Child(command, ready=ready, restart=restart), deadline=deadline)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Make a login by certificate for ``user`` in ``groups`` and return its kubeconfig."""
        folder = private_folder(self.home.path / "users")
        pair = Pair.named(folder, user.replace("/", "_"))
        issue(pair, Certificates(self.home.certificates).authority, Identity(user, tuple(groups)), _now())
        return write_private(pair.key.with_suffix(".kubeconfig"), self._servers.render_kubeconfig(pair, user))

    async def _prepare(self) -> None:
        Certificates(self.home.certificates).prepare(_now())
        kept = self.home.read_state().get("ports", {})
        for _ in range(_PORT_LOOKS):
            if all(map(ports.is_free, kept.values())):
                break
            await asyncio.sleep(_PORT_PAUSE_SECONDS)
        self.ports = ports.choose(PORT_NAMES, kept)
        self._servers.write_files()
        self.home.write_state(ports=self.ports, api_url=self.api_url)

    async def _start_servers(self, binaries: Binaries, progress: Progress) -> None:
        servers = self._servers
        progress("starting etcd and Postgres" if self.options.postgres else "starting etcd")
        starts: list[Coroutine[Any, Any, Any]] = [self._start_child(servers.etcd(binaries))]
        if self.options.postgres:
            starts.append(self._start_postgres(servers, progress))
        await _together(starts)
        progress("starting the API server")
        await self._start_child(servers.api_server(binaries))
        progress("starting the controllers")
        await self._start_child(servers.controllers(binaries))

    async def _start_postgres(self, servers: Servers, progress: Progress) -> None:
        child, server, warning = await servers.postgres()
        if warning:
            progress(f"warning: {warning}")
        elsewhere = [str(path) for path in (server.data, server.sockets) if not path.is_relative_to(self.home.path)]
        self.home.write_state(postgres_dsn=server.dsn, psql=server.psql, elsewhere=elsewhere or None)
        self._sockets = server.sockets
        await self._start_child(child)
        self._dsn = server.dsn

    async def _start_child(self, child: Child, *, deadline: float = 60.0) -> Child:
        await child.start(deadline=deadline)
        self._children.append(child)
        return child


async def _together(starts: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Run the starts side by side; the first failure ends the others before it is raised."""
    tasks = [asyncio.create_task(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
