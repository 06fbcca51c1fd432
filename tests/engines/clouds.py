"""What the tests of the programs of Azure, Google and Oracle share: more scenes, and questions about a rendering."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from paybill.desired.stack import DatabaseInputs
from paybill.engines.environment import worker_environment
from paybill.engines.rendered import RenderedResource, Rendering
from tests.engines.rendered import AGAIN, LOST, PROVIDER, RETAINED, STASH, at, drawn, inputs

PROGRAMS = Path(importlib.util.find_spec("paybill").submodule_search_locations[0]) / "engines/pulumi/programs"
TENANT = "k3x9m2qd"
DRAWN = {
    "silo": ("Silo", RETAINED),
    "bridge": ("Bridge", RETAINED),
    "pooled": ("Pooled", RETAINED),
    "lost": ("Silo", LOST),
    "again": ("Silo", AGAIN),
}
MORE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "bridge-server": ("Bridge", {"database": DatabaseInputs(high_availability=False)}),
    "lifted": ("Silo", {"retain": False}),
    "geo": ("Silo", {"foundation": {"geo_key_uri": "https://paired/keys/cell", "geo_identity_id": "/paired/cell"}}),
}
"""A server in the cluster's network, the run before a destruction that may take data away, and a
cell of Azure that has a key in the paired region."""
SLOW = {"create": "60m", "update": "80m", "delete": "60m"}
USUAL = {"create": "15m", "update": "15m", "delete": "15m"}

_MORE = """
import json, sys
from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs import catalog
from paybill.engines.pulumi.recording import record
made = {}
for scene, fields in json.load(sys.stdin).items():
    given = StackInputs.model_validate(fields)
    given = given.model_copy(update={"foundation": catalog.program(given.provider).EXAMPLE | given.foundation})
    run = lambda: catalog.declare(given, guarded=scene != "lifted")
    listed, _ = record(run, project=given.project, stack=given.stack, region=given.region, preview=False)
    made[scene] = {"resources": [one.model_dump(mode="json") for one in listed]}
print(json.dumps(made))
"""


def stack(cloud: str, scene: str) -> Rendering:
    """A tenant's stack with the examples as its foundation; what a stack hands over is known of ``DRAWN`` only."""
    return drawn(cloud, *DRAWN[scene]) if scene in DRAWN else _more(cloud)[scene]


@cache
def _more(cloud: str) -> dict[str, Rendering]:
    asked = {scene: inputs(cloud, model, **changes) for scene, (model, changes) in MORE.items()}
    made = evaluated(_MORE, {scene: one.model_dump(mode="json") for scene, one in asked.items()})
    return {scene: Rendering.model_validate(one) for scene, one in made.items()}


def evaluated(program: str, asked: Any) -> Any:
    """What a few lines of Python print as JSON, in a process of their own: SDKs are not loaded into the tests'."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=worker_environment(Path(folder), Path(folder)),
            cwd=folder,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def resources(rendered: Rendering) -> dict[str, RenderedResource]:
    """The resources by their names, without the provider."""
    return {one.name: one for one in rendered.resources if not one.type.startswith(PROVIDER)}


def setting(resource: RenderedResource, path: str) -> Any:
    """What the cloud is told at a path, such as ``settings.ipConfiguration.ipv4Enabled``; None: nothing."""
    return at(resource.inputs, path)


def holding(rendered: Rendering) -> set[str]:
    """The names of what holds data, as the engine is told."""
    return {name for name, one in resources(rendered).items() if one.options.protect}


def unmarked(rendered: Rendering, field: str) -> set[str]:
    """The types of resources that do not carry the tenant's marks."""
    return {
        one.type
        for one in resources(rendered).values()
        if one.type != STASH and (setting(one, field) or {}).get("paybill-tenant") != TENANT
    }


def takes(package: str, type_: str, argument: str) -> bool:
    """Whether the SDK's class of a type knows an argument; read from its source, which is faster than to load it."""
    module, kind = type_.split(":")[1].partition("/")[0].lower(), type_.rpartition(":")[2]
    folder = Path(importlib.util.find_spec(package).submodule_search_locations[0])
    arguments = rf"class {kind}(?:Init)?Args:\n    def __init__\(__self__,(.*?)\):\n"
    for file in sorted((folder / module).glob("*.py")):
        if found := re.search(arguments, file.read_text(), re.DOTALL):
            return f" {argument}: " in found[1]
    raise LookupError(type_)


def foundation(cloud: str) -> tuple[set[str], set[str], set[str]]:
    """The names of the foundation that a program asks for, that its docstring explains, and that have an example."""
    folder = PROGRAMS / cloud.lower()
    sources = {file.name: file.read_text() for file in folder.glob("*.py")}
    asked = set(re.findall(r'required\(\s*[\'"](\w+)[\'"]', "\n".join(sources.values())))
    table = [line.split("|")[1:3] for line in sources["__init__.py"].splitlines() if line.startswith("| ")]
    explained = {name for names, when in table if when.strip() != "optional" for name in names.strip().split(", ")}
    example = sources["program.py"].partition("EXAMPLE: dict[str, str] = {")[2].partition("\n}")[0]
    return asked, explained - {"name"}, set(re.findall(r'^    "(\w+)":', example, re.MULTILINE))
