"""The built-in modules, shown without a cloud: what a tenant gets by its model, and what must hold for IBM."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from paybill.cli.main import main
from paybill.cli.render import example, rendered
from paybill.engines.rendered import RenderedResource, RenderError
from paybill.engines.terraform.rendering import render
from paybill.engines.terraform.root import MODULES
from tests.engines.terraform.conftest import inputs

pytest.importorskip("hcl2", reason="python-hcl2 is not installed")

AWS_CELL = {
    "account_id": "123456789012",
    "oidc_provider_arn": "arn:aws:iam::123456789012:oidc-provider/issuer.test",
    "oidc_issuer": "issuer.test",
    "permissions_boundary": "arn:aws:iam::123456789012:policy/boundary",
    "bucket": "shared",
    "key_arn": "arn:aws:kms:eu-central-1:123456789012:key/shared",
    "vpc_id": "vpc-cluster",
    "vpc_cidr": "10.0.0.0/16",
    "availability_zones": "a, b, c",
    "route_table_ids": "rtb-cluster",
    "flow_log_bucket_arn": "arn:aws:s3:::records",
    "ipam_pool_id": "ipam-pool",
}
IBM_CELL = {"cluster_crn": "crn:cluster", "secrets_manager_id": "sm", "resource_group_id": "rg"}

# What the documentation of the IBM provider (website/docs/r of IBM-Cloud/terraform-provider-ibm) says these resources
# take. The provider itself is not here, so a word that it does not know could be found in no other way.
ARGUMENTS = {
    "ibm_cos_bucket": """bucket_name resource_instance_id region_location storage_class endpoint_type key_protect
        force_delete allowed_ip object_versioning""",
    "ibm_database": """name service plan version location resource_group_id service_endpoints tags key_protect_instance
        key_protect_key backup_encryption_key_crn configuration group allowlist""",
    "ibm_iam_authorization_policy": """source_service_name source_resource_instance_id source_resource_group_id
        target_service_name target_resource_instance_id roles description""",
    "ibm_iam_trusted_profile": "name description",
    "ibm_iam_trusted_profile_link": "profile_id cr_type link name",
    "ibm_iam_trusted_profile_policy": "profile_id iam_id roles description resources resource_attributes",
    "ibm_is_network_acl": "name vpc resource_group rules",
    "ibm_is_security_group": "name vpc resource_group tags",
    "ibm_is_security_group_rule": "group direction remote local protocol port_min port_max name",
    "ibm_is_subnet": "name vpc zone ipv4_cidr_block network_acl public_gateway resource_group routing_table tags",
    "ibm_is_subnet_reserved_ip": "subnet name auto_delete target",
    "ibm_is_virtual_endpoint_gateway": "name vpc resource_group security_groups tags target ips",
    "ibm_is_virtual_endpoint_gateway_ip": "gateway reserved_ip",
    "ibm_is_vpc": """name resource_group address_prefix_management default_security_group_name no_sg_acl_rules tags
        classic_access""",
    "ibm_is_vpc_address_prefix": "name vpc zone cidr is_default",
    "ibm_kms_key_with_policy_overrides": """instance_id key_name standard_key force_delete endpoint_type key_ring_id
        rotation dual_auth_delete""",
    "ibm_resource_instance": "name service plan location resource_group_id service_endpoints tags parameters",
    "ibm_resource_key": "name role resource_instance_id parameters tags",
    "ibm_sm_secret_group": "instance_id region endpoint_type name description",
}
REQUIRED = {
    "ibm_cos_bucket": {"bucket_name", "resource_instance_id", "storage_class"},
    "ibm_database": {"name", "service", "plan", "location"},
    "ibm_iam_authorization_policy": {"roles"},
    "ibm_iam_trusted_profile_link": {"profile_id", "cr_type", "link"},
    "ibm_iam_trusted_profile_policy": {"roles"},
    "ibm_is_subnet": {"name", "vpc", "zone"},
    "ibm_is_virtual_endpoint_gateway": {"name", "vpc", "target"},
    "ibm_kms_key_with_policy_overrides": {"instance_id", "key_name", "dual_auth_delete"},
    "ibm_resource_instance": {"name", "service", "plan", "location"},
    "ibm_resource_key": {"name", "role"},
    "ibm_sm_secret_group": {"name"},
}


def ibm(**changed: Any) -> dict[str, RenderedResource]:
    shown = render(inputs(**({"provider": "IBM", "region": "eu-de", "foundation": IBM_CELL} | changed)))
    return {f"{one.type}.{one.name}": one for one in shown}


def test_ibm_uses_only_arguments_that_the_provider_documents():
    for address, one in ibm().items():
        assert set(one.inputs) <= set(ARGUMENTS[one.type].split()), address
        assert set(one.inputs) >= REQUIRED.get(one.type, set()), address


def test_ibm_databases_are_private_and_encrypted_with_the_tenants_key_disk_and_backups():
    database = ibm()["ibm_database.tenant"].inputs

    assert database["service"] == "databases-for-postgresql"
    assert database["service_endpoints"] == "private"  # the default is public
    assert database["key_protect_key"]
    assert database["backup_encryption_key_crn"] == database["key_protect_key"]
    assert ibm()["ibm_resource_key.database"].inputs["parameters"] == {"service-endpoints": "private"}


def test_ibm_buckets_are_encrypted_versioned_and_not_emptied():
    bucket = ibm()["ibm_cos_bucket.tenant"].inputs

    assert bucket["key_protect"]
    assert bucket["object_versioning"] == [{"enable": True}]
    assert bucket["endpoint_type"] == "private"
    assert bucket["force_delete"] is False


def test_ibm_keys_rotate_and_are_not_forced_away():
    key = ibm()["ibm_kms_key_with_policy_overrides.tenant"].inputs

    assert key["rotation"] == [{"enabled": True, "interval_month": 12}]
    assert key["force_delete"] is False
    assert key["standard_key"] is False


def test_ibm_trusts_one_service_account_of_one_cluster():
    link = ibm()["ibm_iam_trusted_profile_link.pods"].inputs

    assert link["link"] == [{"crn": "crn:cluster", "namespace": "tenant-abcd1234", "name": "tenant"}]


def test_ibm_networks_have_no_way_to_the_internet():
    shown = ibm()

    assert not any(one.type == "ibm_is_public_gateway" for one in shown.values())
    assert "public_gateway" not in shown["ibm_is_subnet.private"].inputs
    assert shown["ibm_is_vpc.tenant"].inputs["no_sg_acl_rules"] is True


def test_what_holds_data_is_marked_protected_and_retained():
    held = {name for name, one in ibm().items() if one.data}

    assert {"ibm_database.tenant", "ibm_cos_bucket.tenant", "ibm_kms_key_with_policy_overrides.tenant"} <= held
    assert all(one.options.protect and one.options.retain for one in ibm().values() if one.data)
    assert not any(one.options.retain for one in ibm(retain=False).values())


@pytest.mark.parametrize(
    ("changed", "there", "absent"),
    [
        ({"model": "Silo"}, {"vpc", "db", "bucket", "key"}, set()),
        ({"model": "Bridge", "level": "Database", "database": None}, {"bucket", "key"}, {"vpc", "db"}),
        ({"model": "Pooled", "level": "Schema", "database": None}, set(), {"vpc", "db", "bucket", "key"}),
    ],
    ids=["Silo", "Bridge", "Pooled"],
)
@pytest.mark.parametrize("provider", ["AWS", "IBM"])
def test_a_model_decides_what_there_is(provider: str, changed: dict[str, Any], there: set[str], absent: set[str]):
    kinds = {
        "AWS": {"vpc": "aws_vpc", "db": "aws_db_instance", "bucket": "aws_s3_bucket", "key": "aws_kms_key"},
        "IBM": {
            "vpc": "ibm_is_vpc",
            "db": "ibm_database",
            "bucket": "ibm_cos_bucket",
            "key": "ibm_kms_key_with_policy_overrides",
        },
    }[provider]
    foundation = AWS_CELL if provider == "AWS" else IBM_CELL

    shown = {one.type for one in render(inputs(provider=provider, foundation=foundation, **changed))}

    assert {kinds[name] for name in there} <= shown
    assert not {kinds[name] for name in absent} & shown


def test_names_and_settings_follow_from_the_inputs():
    shown = {one.address: one for one in render(inputs(foundation=AWS_CELL))}

    bucket = shown["module.stack.aws_s3_bucket.tenant[0]"]
    assert bucket.physical == "pb-abcd1234-g1-123456789012"
    database = shown["module.stack.aws_db_instance.tenant[0]"]
    assert database.inputs["engine_version"] == "18"
    assert database.inputs["deletion_protection"] is True
    assert database.options.timeouts == {"create": "60m", "update": "80m", "delete": "60m"}
    assert "module.stack.aws_db_subnet_group.tenant[0]" in database.depends_on


def test_what_the_cell_does_not_give_is_named():
    with pytest.raises(RenderError, match="cluster_crn"):
        render(inputs(provider="IBM", foundation={}))


def test_a_cloud_without_a_module_is_said_so():
    with pytest.raises(RenderError, match="GCP"):
        render(inputs(provider="GCP"))


def test_the_module_for_ibm_says_how_far_it_was_tried():
    assert "unverified" in (MODULES / "ibm" / "versions.tf").read_text()


@pytest.mark.parametrize("model", ["Silo", "Bridge", "Pooled"])
def test_ibm_is_what_the_golden_file_says(model: str) -> None:
    """PAYBILL_GOLDEN=write pytest tests/engines/terraform/test_rendering.py    # then read the difference"""
    resources = rendered(example("IBM", model, None), engine=None, examples=True).resources
    found = {one.address: one.model_dump(mode="json", exclude={"address"}) for one in resources}
    path = Path(__file__).parent / "golden" / f"ibm-{model.lower()}.json"
    if os.environ.get("PAYBILL_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(found))


def test_ibm_is_rendered_on_the_command_line_without_a_cloud() -> None:
    done = CliRunner().invoke(main, ["render", "--provider", "ibm", "--model", "silo", "--output", "json"])
    assert done.exit_code == 0, done.output
    assert "ibm_database" in done.output
