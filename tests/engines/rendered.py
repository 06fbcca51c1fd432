"""What the programs declare, rendered once per cloud for all tests: a cloud's SDK costs seconds to load."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest

from paybill.api.limits import IsolationModel
from paybill.cli.render import example
from paybill.desired.stack import StackInputs
from paybill.engines.environment import worker_environment
from paybill.engines.rendered import RenderedResource, Rendering, RenderRequest

MODELS: tuple[IsolationModel, ...] = get_args(IsolationModel)
PROVIDER = "pulumi:providers:"
STASH = "pulumi:index:Stash"
"""What the state alone keeps: it is in no cloud."""
SDKS = {
    "AWS": "pulumi_aws",
    "Azure": "pulumi_azure_native",
    "GCP": "pulumi_gcp",
    "Kubernetes": "pulumi_kubernetes",
    "OCI": "pulumi_oci",
}
CLOUDS = tuple(cloud for cloud in SDKS if importlib.util.find_spec(SDKS[cloud]))
"""The clouds whose SDK is installed: all of them with requirements-engines.lock."""
RETAINED, LOST, AGAIN = "retained", "lost", "again"

_MANY = """
import json, sys
from paybill.engines.pulumi.render_worker import answered
from paybill.engines.rendered import RenderRequest
print(json.dumps({name: answered(RenderRequest.model_validate(one)).model_dump(mode="json")
                  for name, one in json.load(sys.stdin).items()}))
"""


def needs(cloud: str) -> pytest.MarkDecorator:
    """The mark of tests that render this cloud."""
    return pytest.mark.skipif(cloud not in CLOUDS, reason=f"{SDKS[cloud]} is not installed")


def inputs(cloud: str, model: str, **changes: Any) -> StackInputs:
    """A tenant that a Plan's tier and name are known of."""
    return example(cloud, model, None).model_copy(update={"plan": "team", "tier": "gold", **changes})


def drawn(cloud: str, model: str, variant: str = RETAINED) -> Rendering:
    """A rendering: data retained, lost with the stack, or retained and rendered a second time."""
    return _all(cloud)[f"{model} {variant}"]


def resources(cloud: str, model: str, variant: str = RETAINED) -> list[RenderedResource]:
    """All but the provider."""
    return [one for one in drawn(cloud, model, variant).resources if not one.type.startswith(PROVIDER)]


def every() -> list[tuple[str, str]]:
    """Each cloud with each model."""
    return [(cloud, model) for cloud in CLOUDS for model in MODELS]


def only(listed: list[RenderedResource], type_: str, name: str | None = None) -> RenderedResource:
    """The one resource whose type ends so; fails when there is none or another one."""
    found = [one for one in listed if one.type.endswith(f":{type_}") and name in (None, one.name)]
    assert len(found) == 1, f"{type_} {name or ''}: {[one.address for one in found]}"
    return found[0]


def at(value: Any, path: str) -> Any:
    """The value at a dotted path; numbers index lists, text that is JSON is read."""
    for step in path.split("."):
        if isinstance(value, str):
            value = json.loads(value)
        value = value[int(step)] if isinstance(value, list) else (value or {}).get(step)
    return value


@functools.cache
def _all(cloud: str) -> dict[str, Rendering]:
    requests = {
        f"{model} {variant}": RenderRequest(inputs=inputs(cloud, model, retain=variant != LOST), examples=True)
        for model in MODELS
        for variant in (RETAINED, LOST, AGAIN)
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _MANY],
            input=json.dumps({name: one.model_dump(mode="json") for name, one in requests.items()}),
            capture_output=True,
            text=True,
            env=worker_environment(Path(folder), Path(folder)),
            cwd=folder,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return {name: Rendering.model_validate(one) for name, one in json.loads(done.stdout).items()}
