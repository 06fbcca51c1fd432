"""Finds the three programs of a control plane, or gets them: every machine should come up with one command.

In this order, each program by itself: the folder named in ``KUBEBUILDER_ASSETS``, our cache, the published envtest
archive (it has etcd and kube-apiserver, not the controller-manager), a build from source. What was fetched or built
is put in the cache by a rename, so a cache never holds half a program, and one process at a time fetches or builds.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paybill.api.failures import Blocked
from paybill.local import envtest, gobuild, process
from paybill.local.home import cache_folder, make_folder
from paybill.local.process import Command

# The version that controlplane/go.mod builds; a test keeps the two together.
KUBERNETES_VERSION = "v1.36.3"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
_PATIENCE_SECONDS = 3.0
_KIND_ADVICE = (
    "Paybill also runs on any cluster: `kind create cluster --config kind-config.yaml` makes one where Docker or "
    "Podman is at hand, then install the chart in helm/paybill"
)


@dataclass(frozen=True)
class Binaries:
    """The three programs of a control plane."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path

    @classmethod
    def of(cls, found: Mapping[str, Path]) -> "Binaries":
        """From program names to paths."""
        return cls(*(found[name] for name in PROGRAMS))


def cached_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where fetched and built programs of the pinned version are kept."""
    return cache_folder(environ) / "controlplane" / KUBERNETES_VERSION


async def provide(
    progress: Callable[[str], None], environ: Mapping[str, str] = os.environ, *, index_url: str = envtest.INDEX_URL
) -> Binaries:
    """The three programs, fetched or built if they must be; ``progress`` gets a line every few seconds then.

    ``PAYBILL_OFFLINE=1`` fetches no archive. Raises Blocked with what to do when there is no way to get one.
    """
    found = await present(environ)
    if len(found) == len(PROGRAMS):
        return Binaries.of(found)
    async with only_one(cached_folder(environ), progress, "the control plane"):
        found = await present(environ)  # someone else may have got them while we waited
        if wanted := [name for name in envtest.PROGRAMS if name not in found]:
            if environ.get("PAYBILL_OFFLINE") != "1":
                await envtest.fetch(wanted, cached_folder(environ), KUBERNETES_VERSION, progress, index_url=index_url)
            found = await present(environ)
        if missing := [name for name in PROGRAMS if name not in found]:
            await _build(missing, environ, progress)
            found = await present(environ)
    if missing := [name for name in PROGRAMS if name not in found]:
        raise Blocked("NoControlPlane", f"{', '.join(missing)} could not be had. {_KIND_ADVICE}")
    return Binaries.of(found)


async def present(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """The programs that are on this machine already, by name."""
    cached = _runnable(cached_folder(environ))
    if not environ.get("KUBEBUILDER_ASSETS"):
        return cached
    assets = _runnable(Path(environ["KUBEBUILDER_ASSETS"]))
    if "kube-apiserver" in assets and "kube-controller-manager" not in assets:
        # Ours joins it then, and a controller-manager must not be newer than its API server.
        minor = await _minor_version(assets["kube-apiserver"])
        if minor != KUBERNETES_VERSION.rpartition(".")[0]:
            del assets["kube-apiserver"]
    return cached | assets


def _runnable(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in PROGRAMS if os.access(folder / name, os.X_OK)}


async def _minor_version(server: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="paybill-") as scratch:
        command = Command(name=server.name, argv=(str(server), "--version"), log=Path(scratch) / "log")
        match = re.search(r"Kubernetes (v\d+\.\d+)\.", await process.run(command, deadline=20))
    return match[1] if match else ""


async def _build(missing: list[str], environ: Mapping[str, str], progress: Callable[[str], None]) -> None:
    try:
        await gobuild.build(missing, cached_folder(environ), KUBERNETES_VERSION, progress, environ)
    except Blocked as error:
        happened = f"{', '.join(missing)} could not be built: {error.message}"
        raise Blocked("NoControlPlane", f"{happened}\n{_KIND_ADVICE}") from error


@contextlib.asynccontextmanager
async def only_one(folder: Path, progress: Callable[[str], None], what: str) -> AsyncIterator[None]:
    """Hold the lock of the folder that gets ``what``; whoever waits for it says so now and then."""
    make_folder(folder)
    with (folder.parent / f"{folder.name}.lock").open("a") as lock:
        waited = 0.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited % _PATIENCE_SECONDS < 0.25:
                    progress(f"another process is getting {what}; waiting ({waited:.0f} s)")
                await asyncio.sleep(0.25)
                waited += 0.25
        yield
