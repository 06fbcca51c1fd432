"""A real PgBouncer, configured by the files that Paybill writes and by nothing else but where it listens."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

CONSOLE = "paybill_console"
PASSWORD = "console-password"
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
NEEDED = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer on this machine (apt-get install pgbouncer)")

INI = """
[databases]
%include {folder}/databases.ini
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = hba
auth_file = {folder}/userlist.txt
auth_hba_file = {folder}/hba.conf
admin_users = {console}
logfile = {folder}/log
pidfile = {folder}/pid
ignore_startup_parameters = extra_float_digits
"""


class Bouncer:
    """One PgBouncer in a folder of its own; ``put`` is what a kubelet does with a changed Secret."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bouncer-"))
        self.folder.chmod(0o777)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def console(self) -> str:
        """The URI of its console."""
        return f"postgresql://{CONSOLE}:{PASSWORD}@127.0.0.1:{self.port}/pgbouncer?sslmode=disable"

    def put(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / f".{name}"
            path.write_text(text)
            path.replace(self.folder / name)

    def start(self, seconds: float = 20.0) -> None:
        """Start it and wait until it answers."""
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(INI.format(folder=self.folder, port=self.port, console=CONSOLE))
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen([str(PROGRAM), *user, str(ini)])
        ends = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.console, autocommit=True, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < ends, (self.folder / "log").read_text()
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
