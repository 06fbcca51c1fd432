"""What a cloud still has of a tenant whose stack was destroyed is listed, but for what was meant to stay."""

from __future__ import annotations

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

    assert listed(destroyed(nowhere), Result(), told.append).orphans == ()
    assert [one.action for one in told] == ["not looked for: EndpointConnectionError"]
