"""A real API server takes all that the chart renders, and its pods are fit for the strictest PodSecurity level."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import Helm, Object, the
from tests.chart.server import namespace, would_apply, would_create
from tests.cluster.api import Api, Refused

FILES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
ELSEWHERE = {"ServiceMonitor"}
"""Kinds of the Prometheus operator, which is not here; their content is looked at in test_rendering.py."""

variants = pytest.mark.parametrize(
    "values", [yaml.safe_load(file.read_text()) for file in FILES], ids=[file.stem for file in FILES]
)


@variants
async def test_every_object_is_accepted_as_it_is_without_an_unknown_field(
    helm: Helm, admin: Api, values: Object
) -> None:
    async with namespace(admin) as here:
        rendered = helm.template(values, "--namespace", here)
        objects = [obj for obj in rendered if obj["kind"] not in ELSEWHERE]
        assert objects
        for obj in objects:
            answer = await would_apply(admin, obj)
            assert answer["metadata"].get("namespace") in (None, here)


@pytest.fixture
async def restricted(admin: Api) -> str:
    """A namespace in which only pods of the level ``restricted`` may be."""
    async with namespace(admin, level="restricted", accounts=("paybill-operator", "existing-account")) as name:
        yield name


def pod(objects: list[Object], namespace: str) -> Object:
    template = the(objects, "Deployment", "paybill-operator")["spec"]["template"]
    metadata = {**template["metadata"], "name": "operator", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@variants
async def test_the_operators_pods_meet_the_restricted_level(
    helm: Helm, admin: Api, restricted: str, values: Object
) -> None:
    answer = await would_create(admin, pod(helm.template(values), restricted))
    assert answer["kind"] == "Pod"


WEAKER = {
    "may gain privileges": (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
    "keeps capabilities": (("containers", 0, "securityContext", "capabilities"), {}),
    "runs as root": (("securityContext", "runAsUser"), 0),
    "is not confined": (("securityContext", "seccompProfile"), None),
    "uses the node's network": (("hostNetwork",), True),
}


@pytest.mark.parametrize("what", WEAKER)
async def test_a_pod_that_is_any_weaker_would_have_been_refused(
    helm: Helm, admin: Api, restricted: str, what: str
) -> None:
    (*path, last), value = WEAKER[what]
    weak = copy.deepcopy(pod(helm.template(), restricted))
    place = weak["spec"]
    for part in path:
        place = place[part]
    place[last] = value
    with pytest.raises(Refused, match="violates PodSecurity"):
        await would_create(admin, weak)


async def test_the_root_filesystem_is_read_only_and_what_must_be_written_has_a_volume(helm: Helm) -> None:
    spec = the(helm.template(), "Deployment", "paybill-operator")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {"/var/run/secrets/paybill.dev/control-database", "/tmp", "/var/lib/paybill"}
    assert mounts["/var/run/secrets/paybill.dev/control-database"]["readOnly"] is True
