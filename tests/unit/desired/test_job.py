"""The Job of an operation: one pod, tried once, with the least that it needs."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from paybill.api.failures import Invalid
from paybill.desired import job, names
from paybill.desired.job import OperationPods

LASTS, GRACE = timedelta(minutes=90), timedelta(seconds=135)
PODS = OperationPods(image="engines:1")


def built(pods: OperationPods = PODS) -> dict[str, Any]:
    return job.build("abcd1234-00000001", "abcd1234", "one", "paybill-system", pods, lasts=LASTS, grace=GRACE)


def pod(pods: OperationPods = PODS) -> dict[str, Any]:
    spec: dict[str, Any] = built(pods)["spec"]["template"]["spec"]
    return spec


def test_it_is_found_by_the_operation_and_begins_when_it_is_let_go() -> None:
    made = built()
    assert made["metadata"] == {
        "name": "paybill-operation-abcd1234-00000001",
        "namespace": "paybill-system",
        "labels": {
            "app.kubernetes.io/managed-by": "paybill",
            "paybill.dev/installation": "one",
            "paybill.dev/tenant": "abcd1234",
            "paybill.dev/operation": "abcd1234-00000001",
        },
    }
    assert len(made["metadata"]["name"]) <= 63, "a pod's name and label come from it"
    assert made["spec"]["suspend"] is True


def test_it_is_tried_once_and_not_for_ever() -> None:
    spec = built()["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert (spec["podReplacementPolicy"], pod()["restartPolicy"]) == ("Failed", "Never")
    assert spec["activeDeadlineSeconds"] == LASTS.total_seconds()
    assert pod()["terminationGracePeriodSeconds"] >= GRACE.total_seconds(), "it is killed only after it was asked twice"


def test_its_pod_has_no_token_and_nothing_of_the_clusters() -> None:
    spec = pod()
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("paybill-operation", False)
    assert spec["enableServiceLinks"] is False
    assert [volume["name"] for volume in spec["volumes"]] == ["request", "work", "tmp"]
    (container,) = spec["containers"]
    assert container["env"] == []


def test_all_pods_of_a_stack_have_one_host_name_and_those_of_another_stack_another() -> None:
    other = job.build("wxyz1234-1", "wxyz1234", "one", "n", PODS, lasts=LASTS, grace=GRACE)
    again = job.build("abcd1234-2", "abcd1234", "one", "n", PODS, lasts=LASTS, grace=GRACE)
    assert again["spec"]["template"]["spec"]["hostname"] == pod()["hostname"]
    assert other["spec"]["template"]["spec"]["hostname"] != pod()["hostname"]


def test_what_is_set_is_in_its_pod_and_no_label_of_ours_is_replaced() -> None:
    tolerations = ({"key": "dedicated", "operator": "Exists"},)
    mounts, volumes = ({"name": "modules", "mountPath": "/modules"},), ({"name": "modules", "emptyDir": {}},)
    pods = OperationPods(
        image="engines:2", tolerations=tolerations, node_selector={"pool": "x"}, volumes=volumes, volume_mounts=mounts,
        labels={"team": "a", names.OPERATION_LABEL: "forged"}, env=({"name": "TZ", "value": "UTC"},),
    )  # fmt: skip
    spec = pod(pods)
    (container,) = spec["containers"]
    labels = built(pods)["spec"]["template"]["metadata"]["labels"]
    assert (spec["tolerations"], spec["nodeSelector"]) == (list(tolerations), {"pool": "x"})
    assert (spec["volumes"][-1], container["volumeMounts"][-1]) == (volumes[0], mounts[0])
    assert (container["image"], container["env"]) == ("engines:2", [{"name": "TZ", "value": "UTC"}])
    assert (labels["team"], labels[names.OPERATION_LABEL]) == ("a", "abcd1234-00000001")


def test_what_it_is_asked_goes_with_it_and_is_nowhere_in_it() -> None:
    whole = built()
    made = {**whole, "metadata": {**whole["metadata"], "uid": "u-1"}}
    secret = job.request_secret(made, '{"credentials": "hunter2"}', "k")
    assert secret["metadata"]["name"] == made["metadata"]["name"]
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": made["metadata"]["name"], "uid": "u-1"}
    ]
    assert base64.b64decode(secret["data"]["request.json"]) == b'{"credentials": "hunter2"}'
    assert job.key_in(secret) == "k"
    assert "hunter2" not in str(made)


@pytest.mark.parametrize(
    ("text", "word"),
    [("{}", "image"), ('{"image": ""}', "image"), ("image: x", "JSON"), ('{"image": "x", "env": 1}', "env")],
)
def test_a_setting_that_makes_no_pod_is_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        job.pods_of(text)
    assert "PAYBILL_OPERATION_PODS" in refused.value.message
    assert word in refused.value.message
