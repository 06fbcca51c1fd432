"""What an operation of the Pulumi engine costs beside a bare `pulumi up` of the same program.

One program (files of a folder as the resources of a cloud), one kind of state, the same CLI and interpreter. In turn,
so that a busy machine is as busy for both: `pulumi up --yes` in a project of its own, and the worker process that the
operator starts. Each makes a stack, looks at it when there is nothing to do, and changes it; the medians are compared.

    python bench/pulumi_overhead.py --rounds 5 --json
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from paybill.desired.stack import StackInputs
from paybill.engines import runner
from paybill.engines.operation import Exit, Request
from paybill.engines.pulumi.settings import FIXED

LIMIT = 2.0
"""Aim: at most this many times as long as the bare command."""
PASSPHRASE = "bench-passphrase"
STEPS = ("make", "nothing", "change")
RESOURCES = 5

CLOUD = """
from pathlib import Path
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

class Files(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        (Path(props["folder"]) / props["name"]).write_text(props["content"])
        return CreateResult(props["name"], {**props})

    def diff(self, _id, old, new):
        return DiffResult(changes=old["content"] != new["content"])

    def update(self, _id, old, new):
        (Path(new["folder"]) / new["name"]).write_text(new["content"])
        return UpdateResult({**new})

class Cloud(pulumi.ProviderResource):
    def __init__(self):
        super().__init__("pulumi-python", "cloud", {})

class File(Resource, module="files", name="File"):
    def __init__(self, name, folder, content, opts):
        super().__init__(Files(), name, {"name": name, "folder": folder, "content": content}, opts)

def make(folder, content):
    cloud = Cloud()
    for number in range(RESOURCES):
        File(f"file-{number}", folder, content, pulumi.ResourceOptions(provider=cloud))
""".replace("RESOURCES", str(RESOURCES))
OWN = """
from cloud import make
from paybill.engines.pulumi.own import inputs
make(inputs().foundation["cloud"], inputs().foundation["content"])
"""
BARE = """
import os
from cloud import make
make(os.environ["CLOUD"], os.environ["CONTENT"])
"""


def missing() -> str | None:
    """Why it cannot be measured here."""
    found = shutil.which(os.environ.get("PAYBILL_PULUMI", "pulumi"))
    if found is None:
        return "the Pulumi CLI is neither on PATH nor named by PAYBILL_PULUMI"
    beside = Path(found).resolve().with_name("pulumi-resource-pulumi-python")
    return None if beside.exists() else f"beside {found} there is no {beside.name}, which dynamic resources need"


class Place:
    """One stack in a state of its own, with the program that makes it."""

    def __init__(self, root: Path, program: str) -> None:
        self.root, self.cloud, self.state, self.program = root, root / "cloud", root / "state", root / "program"
        for folder in (self.cloud, self.state, self.program):
            folder.mkdir(parents=True)
        (self.program / "cloud.py").write_text(CLOUD)
        (self.program / "__main__.py").write_text(program)

    def made(self, content: str) -> None:
        """Raise unless all of it is there: a run that did nothing would be a fast one."""
        if [one.read_text() for one in sorted(self.cloud.iterdir())] != [content] * RESOURCES:
            raise click.ClickException(f"{self.root} does not have what it should have")


def bare(place: Place, content: str) -> None:
    """`pulumi up` of the project, as a person or a pipeline calls it."""
    cli = shutil.which(os.environ.get("PAYBILL_PULUMI", "pulumi"))
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        **FIXED,
        "PATH": f"{Path(cli or '').parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place.root),
        "PULUMI_HOME": str(place.root / "home"),
        "PULUMI_BACKEND_URL": f"file://{place.state}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PYTHONPATH": str(place.program),
        "CLOUD": str(place.cloud),
        "CONTENT": content,
    }

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [str(cli), *arguments], cwd=place.program, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise click.ClickException(f"pulumi {arguments[0]}: {done.stdout}{done.stderr}")

    if not (place.program / "Pulumi.yaml").exists():
        runtime = {"name": "python", "options": {"toolchain": "pip"}}
        (place.program / "Pulumi.yaml").write_text(json.dumps({"name": "bench", "runtime": runtime}))
        run("stack", "init", "bench", "--non-interactive")
    run("up", "--yes", "--non-interactive", "--skip-preview=false", "--stack", "bench")


async def worker(place: Place, content: str) -> None:
    """The operation that the operator starts for the same."""
    number = len(list(place.root.glob("operation-*")))
    inputs = StackInputs(
        provider="Kubernetes", model="Silo", compute="Namespace", level="Server", tenant_id="bench000",
        tenant_uid="bench", installation="bench", cell="bench", namespace="bench",
        foundation={"cloud": str(place.cloud), "content": content},
    )  # fmt: skip
    folder = place.root / f"operation-{number}"
    request = Request(
        id=folder.name, kind="up", engine="Pulumi", inputs=inputs, path=str(place.program), work_dir=str(folder),
        state_url=f"file://{place.state}", credentials={"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
    )  # fmt: skip
    ended = await runner.run(request)
    if ended.exit is not Exit.OK:
        raise click.ClickException(f"the worker ended with {ended.exit.name}: {ended.failed}")
    ended.release()


async def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """The seconds of both, step by step."""
    took: dict[str, dict[str, list[float]]] = {step: {"bare": [], "worker": []} for step in STEPS}
    for number in range(rounds):
        ours = Place(folder / f"{number}-worker", OWN)
        theirs = Place(folder / f"{number}-bare", BARE)
        for step in STEPS:
            content = "b" if step == "change" else "a"
            began = time.perf_counter()
            bare(theirs, content)
            between = time.perf_counter()
            await worker(ours, content)
            took[step]["bare"].append(between - began)
            took[step]["worker"].append(time.perf_counter() - between)
            ours.made(content)
            theirs.made(content)
    return {step: _compared(**times) for step, times in took.items()}


def _compared(bare: list[float], worker: list[float]) -> dict[str, float]:
    ratios = [ours / theirs for ours, theirs in zip(worker, bare, strict=True)]
    medians = {"bareSeconds": statistics.median(bare), "workerSeconds": statistics.median(worker)}
    return {name: round(value, 2) for name, value in (medians | {"ratio": statistics.median(ratios)}).items()}


@click.command(help=__doc__.splitlines()[0] if __doc__ else "")
@click.option("--rounds", default=5, show_default=True, help="How often; medians are told.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(rounds: int, as_json: bool) -> None:
    """Measure and print; exits 1 when the aim is missed."""
    why = missing()
    if why is not None:
        click.echo(json.dumps({"skipped": why}) if as_json else f"skipped: {why}")
        return
    with tempfile.TemporaryDirectory() as folder:
        steps = asyncio.run(measure(rounds, Path(folder)))
    worst = max(one["ratio"] for one in steps.values())
    result = {"rounds": rounds, "resources": RESOURCES, "limit": LIMIT, "worst": worst, "steps": steps}
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        for step, one in steps.items():
            click.echo(f"{step}: bare {one['bareSeconds']} s, worker {one['workerSeconds']} s, {one['ratio']} times")
    sys.exit(int(worst > LIMIT))


if __name__ == "__main__":
    main()
