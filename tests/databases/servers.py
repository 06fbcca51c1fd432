"""Real servers for the database tests: Postgres 18 and 15, each once with a superuser and once with a cloud's admin.

They are started by the first test that needs them, shared by all, and go with the test run. Logins over TCP must show
their password; only the superuser ``postgres``, whom the tests use to look and to spoil, is trusted.
"""

import atexit
import functools
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from paybill.databases.credentials import scram_verifier
from tests.control.postgres import ThrowAwayPostgres

SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")
ADMIN_PASSWORD = "the-cloud-gave-this-out"
HBA = """\
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class TestServer:
    """A running server and who administers it."""

    __test__ = False

    process: ThrowAwayPostgres
    profile: str
    version: int

    @property
    def port(self) -> int:
        return self.process.port

    @property
    def admin_dsn(self) -> str:
        user = {"user": "postgres"} if self.profile == "Superuser" else {"user": "cloud", "password": ADMIN_PASSWORD}
        return make_conninfo("", host="127.0.0.1", port=self.port, dbname="postgres", **user)

    def superuser(self, database: str = "postgres") -> psycopg.Connection:
        """A session that may do anything, for looking at the truth and for spoiling it."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True,
            options="-c search_path=pg_catalog",
        )  # fmt: skip

    def run(self, statement, database: str = "postgres", values=None) -> list[tuple]:
        with self.superuser(database) as session:
            cursor = session.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@functools.cache
def start(profile: str, version: int, locks: int = 64) -> TestServer:
    process = ThrowAwayPostgres(
        binaries=SYSTEM_15 if version == 15 else None, wal_level="logical", max_locks_per_transaction=locks
    )
    atexit.register(process.remove)
    (process.data / "pg_hba.conf").write_text(HBA)
    server = TestServer(process, profile, version)
    server.run("SELECT pg_reload_conf()")
    if profile == "Managed":
        verifier = scram_verifier(ADMIN_PASSWORD, iterations=16)
        server.run(f"CREATE ROLE cloud LOGIN CREATEROLE CREATEDB PASSWORD '{verifier}'")
        # Clouds keep their maintenance databases open to PUBLIC; the administrator cannot close them.
    return server


def kinds() -> list[tuple[str, int]]:
    versions = [18, *([15] if SYSTEM_15.is_dir() else [])]
    return [(profile, version) for profile in ("Superuser", "Managed") for version in versions]
