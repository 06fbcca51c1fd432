"""Wrong values are refused before anything is made, with their place and what is wrong."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, Helm, HelmError, Object

WRONG = {
    "replicas: two": ("/replicas", "got string, want integer"),
    "replicas: 0": ("/replicas", "minimum"),
    "replica: 2": ("", "additional properties 'replica' not allowed"),
    "image: {digest: 'latest'}": ("/image/digest", "does not match pattern"),
    "image: {pullPolicy: Sometimes}": ("/image/pullPolicy", "must be one of"),
    "installation: Prod_EU": ("/installation", "does not match pattern"),
    "controlDatabase: {uri: 'postgresql://u:p@h/d'}": ("/controlDatabase", "additional properties 'uri' not allowed"),
    "controlDatabase: {existingSecret: ''}": ("/controlDatabase/existingSecret", "minLength"),
    "operator: {workers: 0}": ("/operator/workers", "minimum"),
    "operator: {log: {level: LOUD}}": ("/operator/log/level", "must be one of"),
    "operator: {leaseSeconds: 15s}": ("/operator/leaseSeconds", "got string, want number"),
    "crds: {install: 'no'}": ("/crds/install", "got string, want boolean"),
    "metrics: {port: 80}": ("/metrics/port", "minimum"),
    "networkPolicy: {databasePorts: []}": ("/networkPolicy/databasePorts", "minItems"),
    "podDisruptionBudget: {maxUnavailable: 0}": ("/podDisruptionBudget/maxUnavailable", "minimum"),
    "commonLabels: {team: 1}": ("/commonLabels/team", "got number, want string"),
    "extraEnv: [{value: x}]": ("/extraEnv/0", "missing property 'name'"),
    "serviceAccount: {name: 'a b'}": ("/serviceAccount/name", "does not match pattern"),
}

SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text())
OF_HELM = {"global"}
"""What Helm itself puts among the values."""


def keys(schema: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Object]]:
    """Every value that can be set, with what the schema says of it; also those that hold others."""
    for name, given in schema["properties"].items():
        said = SCHEMA["definitions"][given["$ref"].rpartition("/")[2]] if "$ref" in given else given
        if not path and name in OF_HELM:
            continue
        yield (*path, name), said
        if "properties" in said:
            yield from keys(said, (*path, name))


def wrong_for(said: Object) -> Any:
    """A value of a type that is not the one that is asked for."""
    kinds = {"string": 1, "integer": "many", "number": "many", "boolean": "perhaps", "array": "one", "object": "all"}
    return kinds[said["type"]] if "type" in said else "Something"


KEYS = dict(keys(SCHEMA))


def nested(values: dict[tuple[str, ...], Any]) -> Object:
    """The values of paths as a values file has them."""
    whole: Object = {}
    for path, value in values.items():
        place = whole
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return whole


def refused(helm: Helm, values: Object) -> dict[str, str]:
    """What helm says of each place that it refuses; it goes on after the first."""
    with pytest.raises(HelmError) as error:
        helm.template(values)
    return dict(re.findall(r"at '([^']*)': (.*)", str(error.value)))


DEPTHS = sorted({len(path) for path, said in KEYS.items() if "properties" in said})


def test_a_value_of_the_wrong_kind_is_refused_for_every_key(helm: Helm) -> None:
    wrong = {path: wrong_for(said) for path, said in KEYS.items() if "properties" not in said}
    assert {f"/{'/'.join(path)}" for path in wrong} - set(refused(helm, nested(wrong))) == set()


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_holds_other_values_is_refused_when_it_is_a_value(helm: Helm, depth: int) -> None:
    wrong = {path: wrong_for(said) for path, said in KEYS.items() if "properties" in said and len(path) == depth}
    assert {f"/{'/'.join(path)}" for path in wrong} - set(refused(helm, nested(wrong))) == set()


def test_a_mistyped_key_is_refused_wherever_it_stands(helm: Helm) -> None:
    holders = [(), *(path for path, said in KEYS.items() if "properties" in said)]
    said = refused(helm, nested({(*path, "mistyped"): True for path in holders}))
    assert set(said) == {f"/{'/'.join(path)}" if path else "" for path in holders}
    assert set(said.values()) == {"additional properties 'mistyped' not allowed"}


def test_the_schema_has_every_key_that_values_yaml_has_and_no_other() -> None:
    def paths(values: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, value in values.items():
            yield (*path, name)
            if isinstance(value, dict) and (*path, name) in KEYS and "properties" in KEYS[*path, name]:
                yield from paths(value, (*path, name))

    defaults = set(paths(yaml.safe_load((CHART / "values.yaml").read_text())))
    # What Kubernetes has a name for and we say nothing about.
    assert set(KEYS) - defaults == {("resources", "claims")}
    assert defaults - set(KEYS) == set()


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_wrong(helm: Helm, text: str) -> None:
    where, what = WRONG[text]
    with pytest.raises(HelmError) as refused:
        helm.template(yaml.safe_load(text))
    assert f"at '{where}'" in str(refused.value)
    assert what in str(refused.value)


def test_the_schema_knows_every_value(helm: Helm) -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert helm.template(copy.deepcopy(defaults)) == helm.template()
