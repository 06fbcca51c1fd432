"""What a cloud still has of a tenant whose stack was destroyed is listed, but for what was meant to stay."""

from __future__ import annotations

import pytest

from paybill.engines.operation import Progress, Request, Result
from paybill.engines.orphans import listed
from tests.engines.asked import stack_inputs
from tests.engines.terraform.conftest import REGION, Cloud


def destroyed(credentials: dict[str, str], kind: str = "destroy") -> Request:
    inputs = stack_inputs(provider="AWS", region=REGION, tenant_id="orphan01")
    return Request(id="one", kind=kind, engine="Terraform", inputs=inputs, credentials=credentials, work_dir="/nowhere")  # type: ignore[arg-type]


def bucket(cloud: Cloud, name: str, tenant: str) -> str:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "paybill-tenant", "Value": tenant}]})
    return f"arn:aws:s3:::{name}"


def test_what_carries_the_tenants_tag_and_was_not_kept_is_listed(cloud: Cloud) -> None:
    forgotten, kept = bucket(cloud, "orphan01-forgotten", "orphan01"), bucket(cloud, "orphan01-kept", "orphan01")
    bucket(cloud, "orphan02-other", "orphan02")
    told: list[Progress] = []

    found = listed(destroyed(cloud.credentials), Result(retained=("orphan01-kept",)), told.append)

    assert found.orphans == (forgotten,)
    assert kept not in found.orphans
    assert told == []
    assert listed(destroyed(cloud.credentials, "up"), Result(), told.append).orphans == (), "only after a destruction"


def test_who_cannot_look_does_not_say_that_nothing_is_left() -> None:
    told: list[Progress] = []
    nowhere = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    found = listed(destroyed(nowhere), Result(), told.append)

    assert found.orphans == ()
    assert found.unsearched is not None
    assert found.unsearched.startswith("AWS was not searched (EndpointConnectionError); look by: aws ")
    assert [one.action for one in told] == ["AWS was not searched (EndpointConnectionError)"]


@pytest.mark.parametrize(
    ("provider", "command"),
    [
        ("Azure", "az resource list --tag paybill-tenant=orphan01"),
        ("GCP", "gcloud asset search-all-resources --query=labels.paybill-tenant=orphan01"),
        ("IBM", "ibmcloud resource search 'tags:\"paybill-tenant:orphan01\"'"),
        ("OCI", "(freeformTags.key = 'paybill-tenant' && freeformTags.value = 'orphan01')"),
        ("Kubernetes", "-l paybill-tenant=orphan01"),
    ],
)
def test_a_cloud_that_is_not_searched_is_told_with_the_command_that_does(provider: str, command: str) -> None:
    request = destroyed({})
    request = request.model_copy(update={"inputs": request.inputs.model_copy(update={"provider": provider})})

    found = listed(request, Result(), [].append)

    assert found.unsearched is not None
    assert found.unsearched.startswith(f"{provider} is not searched; look by: ")
    assert command in found.unsearched


def test_on_this_machine_there_is_no_cloud_to_search() -> None:
    request = destroyed({})
    request = request.model_copy(update={"inputs": request.inputs.model_copy(update={"provider": "Embedded"})})
    assert listed(request, Result(), [].append).unsearched is None
