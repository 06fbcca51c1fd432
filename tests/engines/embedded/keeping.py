"""A real keeper in a process of its own, as `paybill up` runs it, and the engine as a worker calls it."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import psycopg

from paybill.desired.stack import DatabaseInputs, DatabaseOutput
from paybill.engines.embedded.engine import EmbeddedEngine
from paybill.engines.embedded.folder import Folder, kept
from paybill.engines.operation import Kind, Progress, Request, Result
from paybill.engines.port import EngineError
from paybill.local.certificates import Certificates
from paybill.local.home import Home
from tests.engines.asked import stack_inputs

T = TypeVar("T")

SECONDS = 60.0
"""A server is made in about three seconds on a quiet machine."""
_numbers = itertools.count()


class Keeper:
    """The keeper of one home; started, ended and killed as often as a test needs it."""

    def __init__(self, path: Path, **environment: str) -> None:
        self.home = Home(path)
        self.home.create()
        Certificates(self.home.certificates).prepare(dt.datetime.now(dt.UTC))
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._environment = inherited | {"PYTHONPATH": "operator"} | environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it unless it runs, and wait for its first sign of life."""
        if self._process is not None and self._process.poll() is None:
            return
        (self.home.servers / "keeper.json").unlink(missing_ok=True)
        argv = [sys.executable, "-m", "paybill.local.keeper", str(self.home.path)]
        with (self.home.logs / "keeper.log").open("ab") as log:
            self._process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)
        until(lambda: kept(self.home.servers))

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(SECONDS)

    def tenant(self, **inputs: Any) -> Tenant:
        """A tenant that nobody has heard of yet."""
        return Tenant(self.home.servers, f"test{next(_numbers):04}", inputs)


class Tenant:
    """One tenant's stack, and the engine's operations on it."""

    def __init__(self, root: Path, tenant_id: str, inputs: Mapping[str, Any]) -> None:
        self.id = tenant_id
        self.folder = Folder(root, tenant_id)
        self.told: list[Progress] = []
        self._inputs = {"tenant_id": tenant_id, "retain": False, "database": DatabaseInputs(connections=5), **inputs}

    @property
    def data(self) -> Path:
        return self.folder.path / "postgres"

    def request(self, kind: Kind, *, work_dir: Path | None = None, **more: Any) -> Request:
        """A request; what is no field of it is a field of its inputs."""
        given = {name: more.pop(name) for name in set(more) & set(Request.model_fields)}
        inputs = stack_inputs(**{**self._inputs, **more})
        rest = {
            "home": str(self.folder.path.parent),
            "work_dir": str(work_dir or "/nowhere"),
            "deadline_seconds": SECONDS,
        }
        return Request(
            **{"id": f"{self.id}-{kind}", "kind": kind, "engine": "Embedded", "inputs": inputs, **rest, **given}
        )

    def ask(self, kind: Kind, **more: Any) -> Result:
        """Carry out one operation here and now."""
        self.told.clear()
        result: Result = getattr(EmbeddedEngine(), kind)(self.request(kind, **more), self.told.append)
        return result

    def refused(self, kind: Kind, **more: Any) -> EngineError:
        """How an operation fails."""
        try:
            result = self.ask(kind, **more)
        except EngineError as error:
            return error
        raise AssertionError(f"{kind} did not fail: {result}")

    def up(self, **more: Any) -> DatabaseOutput:
        """Have its server run; where it is."""
        return database(self.ask("up", **more))

    @property
    def postmaster(self) -> int:
        """The process that serves its data."""
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])


def database(result: Result) -> DatabaseOutput:
    assert result.outputs is not None
    assert result.outputs.database is not None
    return result.outputs.database


def login(where: DatabaseOutput, **options: Any) -> psycopg.Connection[Any]:
    """A superuser's session, with what the stack handed over and nothing else."""
    given = {"host": where.host, "port": where.port, "user": where.admin_user, "password": where.admin_password}
    usual = {"dbname": "postgres", "sslmode": where.sslmode, "connect_timeout": 10}
    return psycopg.connect(**{**given, **usual, **options}, autocommit=True)


def answer(where: DatabaseOutput, query: Any, **options: Any) -> Any:
    """The first column of the first row."""
    with login(where, **options) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def answers(where: DatabaseOutput) -> bool:
    try:
        return bool(answer(where, "SELECT true"))
    except psycopg.OperationalError:
        return False


def until(look: Callable[[], T], *, seconds: float = SECONDS) -> T:
    """The first true answer of ``look``; fails with the last one when there is none in time."""
    ends = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < ends, f"not within {seconds} s: {found!r}"
        time.sleep(0.02)
    return found


Action = Literal["create", "update", "replace", "delete"]


def actions(result: Result) -> list[tuple[Action, tuple[str, ...]]]:
    """What was, or would be, done, and of which fields."""
    return [(change.action, change.fields) for change in result.changes]
