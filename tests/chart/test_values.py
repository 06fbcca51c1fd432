"""Wrong values are refused before anything is made, with their place and what is wrong."""

from __future__ import annotations

import copy

import pytest
import yaml

from tests.chart.helm import CHART, Helm, HelmError

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
