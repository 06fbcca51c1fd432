"""Every object that is made for a tenant, word by word; and that the API server keeps each of them as it is made."""

from __future__ import annotations

import json

import pytest

from paybill.desired import permissions, revision
from paybill.desired.quota import Pods
from paybill.desired.resource import agrees, key_of
from tests.unit.desired.conftest import GOLDEN, Check
from tests.unit.desired.tenants import ACCOUNT, INSTALLATION, PLAN, SYSTEM, own_namespace, shared

SCENES = {
    "running": own_namespace(Pods.RUNNING, "Active", "full"),
    "stopped": own_namespace(Pods.STOPPED, "Suspended", "suspended"),
    "resuming": own_namespace(Pods.RESUMING, "Active", "full"),
    "shared": shared("Active", "full"),
    "installation": [
        *permissions.cluster_roles(),
        permissions.namespace_role(SYSTEM),
        *permissions.bindings(SYSTEM, ACCOUNT),
        revision.build(PLAN, PLAN.revision(), SYSTEM, INSTALLATION),
    ],
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_objects_are_as_written(scene, golden: Check):
    golden(scene, SCENES[scene])


@pytest.mark.parametrize("scene", SCENES)
def test_a_second_look_at_what_the_api_server_answered_finds_nothing_to_do(scene):
    """``answers.json`` is what Kubernetes 1.36.3 answered to applying the golden objects: with its defaults."""
    answers = {tuple(key): obj for key, obj in json.loads((GOLDEN / "answers.json").read_text())[scene]}
    for obj in SCENES[scene]:
        answer = answers[tuple(key_of(obj))]
        assert agrees(obj, answer), key_of(obj)


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_made_is_what_json_can_say(scene):
    assert json.loads(json.dumps(SCENES[scene])) == SCENES[scene]


def test_nothing_secret_is_in_anything_but_a_secret():
    for obj in [obj for scene in SCENES.values() for obj in scene]:
        if obj["kind"] != "Secret":
            assert not any(word in json.dumps(obj) for word in ("p@ss", "p%40ss", "ro secret", "mig/secret"))
