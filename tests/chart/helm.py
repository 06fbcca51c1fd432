"""The real helm: the one on the PATH, else built once from its Go module and kept in Paybill's cache folder.

A chart that was only ever rendered by a look-alike has not been tested. Tests alone need helm, so this is not a part
of the package; the building is (paybill.local.gobuild).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from paybill.local import gobuild
from paybill.local.binaries import only_one
from paybill.local.home import cache_folder

Object = dict[str, Any]

CHART = Path(__file__).parents[2] / "helm" / "paybill"
MODULE = Path(__file__).parent / "module"
VERSION = "v3.22.0"
OLDEST = (3, 18)
"""Its words about wrong values are those that the tests look for; Helm 4 applies in another way and is not tried."""
NAMESPACE = "paybill-system"
RELEASE = "paybill"


def _stamp(version: str) -> Mapping[str, str]:
    """Without them helm takes itself for one that knows Kubernetes 1.20."""
    minor = re.search(r"^\s*k8s\.io/client-go v0\.(\d+)\.", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert minor is not None
    root = "helm.sh/helm/v3"
    places = (f"{root}/pkg/chartutil", f"{root}/pkg/lint/rules")
    kubernetes = {f"{place}.k8sVersion{part}": value for place in places
                  for part, value in (("Major", "1"), ("Minor", minor[1]))}  # fmt: skip
    return {f"{root}/internal/version.version": version, **kubernetes}


RECIPE = gobuild.Recipe(
    module=MODULE,
    packages={"helm": "helm.sh/helm/v3/cmd/helm"},
    stamp=_stamp,
    takes="1 to 3 minutes",
)


async def provide(progress: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> Path:
    """A helm that runs on this machine; raises Blocked when there is none and none can be built."""
    if (found := shutil.which("helm", path=environ.get("PATH"))) and _is_recent(found):
        return Path(found)
    folder = cache_folder(environ) / "helm" / VERSION
    program = folder / "helm"
    async with only_one(folder, progress, "helm"):
        if not os.access(program, os.X_OK):
            await gobuild.build(["helm"], folder, VERSION, progress, environ, recipe=RECIPE)
    return program


def _is_recent(program: str) -> bool:
    said = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"v(\d+)\.(\d+)\.", said)
    return match is not None and OLDEST <= (int(match[1]), int(match[2])) < (4, 0)


class HelmError(AssertionError):
    """helm ended with an error; the message is its own."""


@dataclass(frozen=True, kw_only=True)
class Helm:
    """helm with folders of its own, against no cluster or that of ``kubeconfig``."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def on(self, kubeconfig: Path) -> Helm:
        """The same helm against a cluster."""
        return replace(self, kubeconfig=kubeconfig)

    def run(self, *arguments: str, values: Object | None = None) -> str:
        """What helm prints; ``values`` are given to it as a values file. Raises HelmError."""
        folders = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), **folders}
        # A file that is not there is an empty configuration: no cluster of the user's is ever talked to.
        environment["KUBECONFIG"] = str(self.kubeconfig or self.home / "no-cluster")
        given = ["--values", "-"] if values is not None else []
        done = subprocess.run(
            [str(self.program), *arguments, *given],
            input=yaml.safe_dump(values or {}),
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(f"helm {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def template(self, values: Object | None = None, *more: str) -> list[Object]:
        """What the chart renders, without a cluster."""
        text = self.run("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *more, values=values or {})
        return [document for document in yaml.safe_load_all(text) if document]

    def install(self, values: Object | None = None, *more: str, chart: Path = CHART) -> str:
        """Install or upgrade the release. There is no kubelet to run its pods, so nothing is waited for."""
        where = ("--namespace", NAMESPACE, "--create-namespace")
        return self.run("upgrade", "--install", RELEASE, str(chart), *where, *more, values=values or {})

    def uninstall(self) -> str:
        """Remove the release, if there is one."""
        return self.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """The objects of a kind."""
    return [obj for obj in objects if obj["kind"] == kind]


def the(objects: list[Object], kind: str, name: str = "") -> Object:
    """The one object of a kind, or of a kind and a name."""
    (found,) = (obj for obj in of_kind(objects, kind) if name in ("", obj["metadata"]["name"]))
    return found
