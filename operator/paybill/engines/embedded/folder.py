"""The folder through which the engine and the keeper of this machine's servers talk: files, and nothing else.

One sub-folder per tenant. The engine writes ``wanted.json``: what should run. The keeper, which runs as long as
``paybill up`` does, makes it so and answers in ``found.json``. So a server belongs to no operator and no
worker: both may be killed and started again while it runs, and what should run is known after a restart of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from paybill.desired.stack import StackInputs, StackModel, digest_of
from paybill.files import write_private

T = TypeVar("T", bound=StackModel)

PULSE_SECONDS = 5.0
"""A keeper whose last sign of life is older than this is taken for gone; it gives one every second."""

State = Literal["Running", "Stopped", "Removed"]


class Wanted(StackModel):
    """What one tenant's server should be."""

    state: State
    """Stopped: its data stays. Removed: its data goes too."""
    tenant_id: str
    """Whose it is."""
    tenant_uid: str
    """The UID that its marks are made of."""
    installation: str
    """The installation that made it."""
    connections: int
    """Connections at the same time, the administrator's own beside them."""

    @classmethod
    def of(cls, inputs: StackInputs, state: State = "Running") -> Wanted:
        """What the inputs ask for."""
        connections = inputs.database.connections if inputs.database is not None else 20
        return cls(
            state=state,
            tenant_id=inputs.tenant_id,
            tenant_uid=inputs.tenant_uid,
            installation=inputs.installation,
            connections=connections,
        )

    @property
    def digest(self) -> str:
        """Says which ``Wanted`` an answer of the keeper is about."""
        return digest_of(self.model_dump(mode="json"))


class Found(StackModel):
    """What the keeper made of it."""

    answers: str
    """The digest of the ``Wanted`` that this is the answer to."""
    state: Literal["Running", "Stopped", "Failed"]
    """Failed: see ``message``; it is tried again."""
    port: int = 0
    """Where it listens, on the loopback interface."""
    version: str = ""
    """The version of its programs, such as 18.6."""
    ca: str | None = None
    """The certificate authority's certificate (PEM); None where the programs have no TLS."""
    message: str = Field(default="", repr=False)
    """What went wrong, for people."""


class Folder:
    """One tenant's sub-folder of ``root``."""

    def __init__(self, root: Path, tenant_id: str) -> None:
        self.path = root / tenant_id

    @property
    def wanted(self) -> Wanted | None:
        """What should be, as it was written last; None when there is nothing."""
        return _read(self.path / "wanted.json", Wanted)

    @property
    def found(self) -> Found | None:
        """The keeper's last answer."""
        return _read(self.path / "found.json", Found)

    @property
    def stamp(self) -> tuple[tuple[int, int] | None, ...]:
        """Another one whenever what should be, or the answer, was written: cheaper than reading both."""
        return tuple(_written(self.path / name) for name in ("wanted.json", "found.json"))

    @property
    def password(self) -> str | None:
        """The administrator's password, which the keeper made with the data; never changed."""
        try:
            return (self.path / "postgres-password").read_text()
        except FileNotFoundError:
            return None

    def ask(self, wanted: Wanted) -> None:
        """Say what should be. Again changes nothing."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self.wanted != wanted:
            write_private(self.path / "wanted.json", wanted.model_dump_json())

    def answer(self, found: Found) -> None:
        """The keeper's word; written only when it is news."""
        if self.found != found:
            write_private(self.path / "found.json", found.model_dump_json())

    def remove(self) -> None:
        """Take all of it away, the data last of all named: a crash half-way leaves ``wanted.json`` to go on from."""
        for child in self.path.iterdir():
            if child.name == "wanted.json":
                continue
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
        shutil.rmtree(self.path)


def folders(root: Path) -> Iterator[Folder]:
    """The folders of all tenants for which something was ever asked, in the order of their ids."""
    if root.is_dir():
        for path in sorted(root.iterdir()):
            if (path / "wanted.json").exists():
                yield Folder(root, path.name)


def pulse(root: Path) -> None:
    """The keeper lives."""
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    write_private(root / "keeper.json", json.dumps({"pid": os.getpid(), "time": time.time()}))


def kept(root: Path) -> bool:
    """Whether a keeper has given a sign of life a moment ago."""
    try:
        content: dict[str, Any] = json.loads((root / "keeper.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return time.time() - float(content.get("time", 0)) < PULSE_SECONDS


def _written(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _read(path: Path, model: type[T]) -> T | None:
    try:
        return model.model_validate_json(path.read_text())
    except (FileNotFoundError, ValidationError):
        return None
