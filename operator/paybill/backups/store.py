"""Where backups are kept: a few files per backup, under names that Paybill makes from ids.

A store knows nothing of what it holds. A file is there whole or not at all, whatever is killed while it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from paybill.api.failures import Blocked, Invalid, Retry

READ: Final = 1 << 20
"""Bytes that are read at a time."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,4}")


class Store(Protocol):
    """The door to a store. Names are parts of ``[A-Za-z0-9._-]`` with slashes between."""

    @property
    def address(self) -> str:
        """What people call it; nothing secret."""

    async def put(self, name: str, content: AsyncIterator[bytes]) -> int:
        """Write a file whole, in place of one of that name; returns its size."""

    def get(self, name: str) -> AsyncIterator[bytes]:
        """Read a file in pieces; raises ``Blocked("BackupMissing")`` when there is none."""

    async def names(self, prefix: str) -> list[str]:
        """The names below ``prefix`` (a whole part), sorted."""

    async def delete(self, prefix: str) -> None:
        """Remove everything below ``prefix`` (a whole part); nothing there is fine."""


def safe(name: str) -> str:
    """``name`` when it is one that Paybill makes; raises ``Invalid("BadBackupName")`` otherwise."""
    if not _NAME.fullmatch(name):
        raise Invalid("BadBackupName", f"{name!r} is no name of a file in a store of backups")
    return name


def missing(store: str, name: str) -> Blocked:
    """How every store says that a file is not there."""
    return Blocked("BackupMissing", f"{name} is not in {store}")


class DirectoryStore:
    """A folder, on a disk of its own or mounted from elsewhere. Only the operator's account can read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def address(self) -> str:
        """The folder."""
        return f"folder {self._folder}"

    async def put(self, name: str, content: AsyncIterator[bytes]) -> int:
        """Write beside its place, to the disk, and move it there."""
        target = self._folder / safe(name)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        size = 0
        try:
            for folder in reversed(target.relative_to(self._folder).parents):
                (self._folder / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                async for piece in content:
                    await asyncio.to_thread(file.write, piece)
                    size += len(piece)
                await asyncio.to_thread(_sync, file.fileno())
            temporary.replace(target)
            await asyncio.to_thread(_sync_folder, target.parent)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            with contextlib.suppress(OSError):  # it is gone, or its folder never was
                temporary.unlink()
        return size

    async def get(self, name: str) -> AsyncIterator[bytes]:
        """The file in pieces."""
        try:
            with (self._folder / safe(name)).open("rb") as file:
                while piece := await asyncio.to_thread(file.read, READ):
                    yield piece
        except (FileNotFoundError, NotADirectoryError):
            raise missing(self.address, name) from None
        except OSError as error:
            raise self._failed(error) from error

    async def names(self, prefix: str) -> list[str]:
        """Every file below, but what is half written."""
        return await asyncio.to_thread(self._names, safe(prefix))

    async def delete(self, prefix: str) -> None:
        """Remove the folder or the file."""
        target = self._folder / safe(prefix)
        try:
            if target.is_dir():
                await asyncio.to_thread(shutil.rmtree, target)
            else:
                target.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(error) from error

    def _names(self, prefix: str) -> list[str]:
        found = (self._folder / prefix).rglob("*")
        return sorted(
            str(path.relative_to(self._folder)) for path in found if path.is_file() and not path.name.startswith(".")
        )

    def _failed(self, error: OSError) -> Retry:
        return Retry("BackupStoreUnavailable", f"{self.address} cannot be used: {error.strerror or error}")


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
