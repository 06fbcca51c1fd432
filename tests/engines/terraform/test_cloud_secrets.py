"""The administrator's password that AWS keeps is read with the Cell's credentials, and what goes wrong is said."""

from __future__ import annotations

import json

import pytest

from paybill.desired.stack import DatabaseOutput, StackOutputs
from paybill.engines.cloud_secrets import filled
from paybill.engines.operation import Exit, Request, Result
from paybill.engines.port import EngineError
from tests.engines.asked import stack_inputs
from tests.engines.terraform.conftest import REGION, Cloud


def request_with(credentials: dict[str, str]) -> Request:
    asked = stack_inputs(provider="AWS", region=REGION)
    return Request(id="one", kind="up", engine="Terraform", inputs=asked, credentials=credentials, work_dir="/nowhere")


def kept_at(arn: str) -> Result:
    return Result(outputs=StackOutputs(database=DatabaseOutput(host="db", admin_user="paybill", admin_secret=arn)))


def test_the_password_that_the_cloud_drew_is_handed_over(cloud: Cloud) -> None:
    content = json.dumps({"username": "master", "password": "drawn by the cloud"})
    arn = cloud.client("secretsmanager").create_secret(Name="rds!db-1", SecretString=content)["ARN"]

    outputs = filled(request_with(cloud.credentials), kept_at(arn)).outputs

    assert outputs is not None
    assert outputs.database is not None
    assert (outputs.database.admin_user, outputs.database.admin_password) == ("master", "drawn by the cloud")


@pytest.mark.parametrize(
    ("content", "exit_code", "told"),
    [
        pytest.param(None, Exit.USER, "ResourceNotFoundException", id="no such secret"),
        pytest.param("just text", Exit.USER, "no JSON with username and password", id="another's secret"),
        pytest.param('{"username": "x"}', Exit.USER, "no JSON with username and password", id="half of it"),
    ],
)
def test_what_cannot_be_read_is_said(cloud: Cloud, content: str | None, exit_code: Exit, told: str) -> None:
    name = f"secret-{abs(hash(content))}"
    secrets = cloud.client("secretsmanager")
    arn = secrets.create_secret(Name=name, SecretString=content)["ARN"] if content else f"{name}-missing"

    with pytest.raises(EngineError, match=told) as failure:
        filled(request_with(cloud.credentials), kept_at(arn))

    assert failure.value.exit_code is exit_code
    assert failure.value.failed.reason == "AdminSecretRefused"


def test_a_cloud_that_is_away_is_tried_again() -> None:
    nowhere = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with pytest.raises(EngineError) as failure:
        filled(request_with(nowhere), kept_at("arn:aws:secretsmanager:eu-west-1:1:secret:x"))
    assert failure.value.exit_code is Exit.TRANSIENT


def test_what_has_its_password_or_keeps_none_is_left_as_it_is() -> None:
    for outputs in (None, StackOutputs(), StackOutputs(database=DatabaseOutput(host="db", admin_user="x"))):
        assert filled(request_with({}), Result(outputs=outputs)).outputs == outputs
