"""After an operation that died: what was made and is in no state is found by its name and adopted by its mark."""

from pathlib import Path

import pytest

from paybill.engines.operation import Exit
from tests.engines.terraform.conftest import ACCOUNT, Bench, Cloud, inputs

pytestmark = pytest.mark.exhaustive  # each operation loads the provider several times


MODULE = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "name" { type = string }
variable "tags" { type = map(string) }
variable "protect" { type = bool }

resource "aws_s3_bucket" "own" {
  bucket        = var.name
  tags          = var.tags
  force_destroy = !var.protect
}

output "bucket" { value = aws_s3_bucket.own.id }
"""
BUCKET = "module.stack.aws_s3_bucket.own"


@pytest.fixture
def bench(tmp_path: Path, with_mirror: dict[str, str], cloud: Cloud) -> Bench:
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text(MODULE)
    state = f"file://{tmp_path}/states"
    return Bench(
        root=tmp_path, environment=with_mirror, path=str(module), state_url=state, credentials=cloud.credentials
    )


def pooled(tenant: str):
    return inputs(model="Pooled", compute="Shared", level="Schema", database=None, tenant_id=tenant, tenant_uid=tenant)


@pytest.fixture(autouse=True)
def path_style(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of one's own configures its provider itself; at one address it must not use host names per bucket."""
    provider = 'provider "aws" {\n  s3_use_path_style = true\n}\n'
    monkeypatch.setattr(f"{__name__}.MODULE", MODULE + provider)


def make(cloud: Cloud, name: str, mark: str) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "paybill-tenant-uid", "Value": mark}]})


def test_what_bears_our_mark_is_adopted(bench: Bench, cloud: Cloud):
    make(cloud, "pb-adopt001", "adopt001")

    result = bench.run("recover", pooled("adopt001"))

    assert result.counts["adopted"] == 1
    assert BUCKET not in {
        change.address for change in bench.run("preview", pooled("adopt001")).changes if change.action == "create"
    }


def test_what_bears_another_mark_is_left_alone_and_its_name_is_taken(bench: Bench, cloud: Cloud):
    make(cloud, "pb-adopt002", "somebody-else")

    result = bench.run("recover", pooled("adopt002"))
    error = bench.fail("up", pooled("adopt002"))

    assert "adopted" not in result.counts
    assert (error.exit_code, error.failed.reason) == (Exit.USER, "NameTaken")


def test_data_that_vanished_is_not_made_anew_and_empty(bench: Bench, cloud: Cloud):
    given = pooled("adopt003")
    bench.run("up", given)
    cloud.client("s3").delete_bucket(Bucket="pb-adopt003")

    for kind in ("up", "recover"):
        error = bench.fail(kind, given)
        assert (error.exit_code, error.failed.reason) == (Exit.POLICY, "DataMissing"), kind
    assert [change.action for change in bench.run("drift", given).changes] == ["delete"]

    assert bench.run("up", given, destroys_data=True).counts["create"] == 1


def test_destroying_with_data_lifts_the_protection_first(bench: Bench, cloud: Cloud):
    given = pooled("adopt004")
    bench.run("up", given)
    cloud.client("s3").put_object(Bucket="pb-adopt004", Key="file", Body=b"content")

    result = bench.run("destroy", given, destroys_data=True)

    assert [change.address for change in result.changes] == [BUCKET]
    assert "pb-adopt004" not in {one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]}


CELL = {
    "account_id": ACCOUNT,
    "oidc_provider_arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.test",
    "oidc_issuer": "issuer.test",
    "permissions_boundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
}
SHARED = {"bucket": "shared", "key_arn": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/shared"}


@pytest.mark.parametrize(
    ("model", "level", "cell", "kinds"),
    [
        (
            "Pooled",
            "Schema",
            CELL | SHARED,
            {"aws_iam_role", "aws_iam_role_policy", "aws_secretsmanager_secret", "aws_secretsmanager_secret_policy"},
        ),
        ("Bridge", "Database", CELL, {"aws_s3_bucket", "aws_kms_key", "aws_iam_role", "aws_secretsmanager_secret"}),
    ],
)
def test_the_other_models_can_be_planned(bench: Bench, model: str, level: str, cell: dict[str, str], kinds: set[str]):
    given = inputs(model=model, level=level, database=None, foundation=cell)

    planned = {change.type for change in bench.run("preview", given, path=None).changes}

    assert kinds <= planned
    assert not {"aws_vpc", "aws_db_instance"} & planned
    assert planned == kinds or model == "Bridge"


def test_what_the_cell_does_not_give_is_named(bench: Bench):
    error = bench.fail("preview", inputs(model="Bridge", level="Database", database=None), path=None)

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "ModuleInvalid")
    assert "account_id, oidc_provider_arn, oidc_issuer, permissions_boundary" in error.failed.message


def test_a_login_of_another_account_makes_nothing(bench: Bench):
    given = inputs(
        model="Pooled", level="Schema", database=None, foundation=CELL | SHARED | {"account_id": "999999999999"}
    )

    error = bench.fail("up", given, path=None)

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "CredentialsRefused")
