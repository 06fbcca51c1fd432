"""The Postgres of an instance: made once with a random superuser password, then a command line like the others.

It listens on the loopback interface and on a socket, and nobody gets in without a password, since every user of the
machine can reach a loopback port. Data stays with the major version that made it.
"""

import asyncio
import os
import secrets
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from paybill.api.failures import Blocked
from paybill.local import account as accounts
from paybill.local import process
from paybill.local.home import Home, write_private
from paybill.local.postgres_binaries import Distribution, major_of
from paybill.local.process import Account, Command

SUPERUSER = "postgres"
# A socket's path must fit into 108 bytes, and ends in "/.s.PGSQL." with five digits.
_SOCKET_FOLDER_BYTES = 90
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "password_encryption": "scram-sha-256",
    "wal_level": "logical",  # moves and change streams
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_locks_per_transaction": "256",  # a schema of many tables is dropped in one transaction
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# A crash restart walks every file of every tenant otherwise: 84 s against 0.6 s measured with many schemas.
_SYNCFS = {"recovery_init_sync_method": "syncfs"}
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_LEFTOVER_SECONDS = 15.0


@dataclass(frozen=True)
class Server:
    """One Postgres server: its programs, its data and who it runs as."""

    distribution: Distribution
    data: Path
    sockets: Path
    password: str
    passfile: Path
    port: int
    account: Account | None

    @property
    def dsn(self) -> str:
        """The superuser's connection string, over the loopback interface; it holds the password."""
        return f"postgresql://{SUPERUSER}:{quote(self.password)}@127.0.0.1:{self.port}/postgres"

    @property
    def psql(self) -> str:
        """A shell command that opens a superuser's session; the password comes from a file."""
        program = shutil.which("psql", path=str(self.distribution.folder)) or "psql"
        words = [program, "-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "postgres"]
        return f"PGPASSFILE={shlex.quote(str(self.passfile))} {shlex.join(words)}"


async def prepare(
    home: Home, distribution: Distribution, data: Path, *, port: int, account: Account | None, fsync: bool = True
) -> Server:
    """Make the data folder unless it is there, and say how to run it.

    Raises Blocked when the data is of another major version, or when ``initdb`` fails.
    """
    found = major_of(data)
    if found is not None and found != distribution.version[0]:
        raise Blocked(
            "PostgresVersion",
            f"the data in {data} is of Postgres {found}, but {distribution.describe()} was found: install Postgres "
            f"{found} and name its folder in PAYBILL_POSTGRES_BIN, or remove the data with `paybill down --purge`",
        )
    secret = home.path / "postgres-password"
    if found is None:
        write_private(secret, secrets.token_urlsafe(24))
        await _initialise(home, distribution, data, secret.read_text(), account, fsync=fsync)
    elif not secret.exists():
        raise Blocked("PasswordLost", f"{secret} is gone; without it the data in {data} cannot be used")
    else:
        await _let_go(data)
    sockets = accounts.make_folder(socket_folder(home, account), account)
    password, passfile = secret.read_text(), home.path / "pgpass"
    write_private(passfile, f"127.0.0.1:{port}:*:{SUPERUSER}:{password}\n")
    return Server(distribution, data, sockets, password, passfile, port, account)


async def _initialise(
    home: Home, distribution: Distribution, data: Path, password: str, account: Account | None, *, fsync: bool
) -> None:
    """Made beside its place and moved there when complete: a crash half-way leaves nothing that looks like data."""
    unfinished = data.with_name(f"{data.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    accounts.make_folder(unfinished, account)
    with tempfile.TemporaryDirectory(prefix="paybill-") as scratch:
        handed_over = accounts.make_folder(Path(scratch), account)
        password_file = write_private(handed_over / "password", password + "\n")
        if account is not None:
            os.chown(password_file, account.uid, account.gid)
        argv = (
            str(distribution.folder / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth-local=scram-sha-256",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
            *(() if fsync else ("--no-sync",)),
        )
        log = home.logs / "initdb.log"
        await process.run(Command(name="initdb", argv=argv, log=log, cwd=handed_over, account=account), deadline=120)
    unfinished.rename(data)


async def _let_go(data: Path) -> None:
    """Wait for a server of a killed supervisor that still ends, and forget one that did not survive the machine.

    The home's lock is ours, so no server may be there for good; but its process id may belong to another program by
    now, for which Postgres would refuse to start.
    """
    pid_file = data / "postmaster.pid"
    ends = time.monotonic() + _LEFTOVER_SECONDS
    while (pid := _serving(data, pid_file)) is not None:
        if time.monotonic() > ends:
            raise Blocked("PostgresRuns", f"another Postgres (process {pid}) serves {data}: stop it first")
        await asyncio.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def _serving(data: Path, pid_file: Path) -> str | None:
    """The process that the file names, if it is a Postgres that serves this data."""
    try:
        pid = pid_file.read_text().split("\n", 1)[0].strip()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid if str(data).encode() in words else None


def command(server: Server, *, log: Path, fsync: bool = True, settings: Mapping[str, str] | None = None) -> Command:
    """The command that serves the data; ``fsync=False`` is for tests and benches, as with etcd.

    ``settings`` are put over the usual ones.
    """
    chosen = _SETTINGS | _SYNCFS | {"port": str(server.port), "unix_socket_directories": str(server.sockets)}
    if not fsync:
        chosen |= _UNSAFE
    chosen |= settings or {}
    options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
    return Command(
        name="postgres",
        argv=(str(server.distribution.folder / "postgres"), "-D", str(server.data), *options),
        log=log,
        cwd=server.data,
        account=server.account,
        stop_signal=signal.SIGINT,  # fast: sessions are ended, then a checkpoint is written
        orphan_signal=signal.SIGQUIT,  # immediate: nobody is left to wait for it; the next start recovers
        stop_seconds=30,
    )


def socket_folder(home: Home, account: Account | None) -> Path:
    """Where the server's socket is: in its home, or where that path is too long or closed, in the temporary folder."""
    preferred = home.path / "run"
    short = len(os.fsencode(preferred)) <= _SOCKET_FOLDER_BYTES
    if short and (account is None or accounts.can_reach(preferred, account)):
        return preferred
    return Path(tempfile.gettempdir()) / f"paybill-{os.geteuid()}-{accounts.short_hash(preferred)}"
