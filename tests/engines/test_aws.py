"""The AWS program: each setting that a customer's data depends on, with the reason why it is one."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from paybill.engines.rendered import SECRET
from tests.engines.rendered import MODELS, at, drawn, needs, only, resources

pytestmark = needs("AWS")

TENANT = "k3x9m2qd"
DEDICATED = ("Bridge", "Silo")
ENDS = {
    "aws:ec2/route:Route": "a part of a route table",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "a part of a route table",
    "aws:iam/rolePolicy:RolePolicy": "a part of a role",
    "aws:kms/alias:Alias": "a part of a key",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "a setting of a bucket",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "a setting of a bucket",
    "aws:s3/bucketPolicy:BucketPolicy": "a setting of a bucket",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "a setting of a bucket",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "a setting of a bucket",
    "aws:s3/bucketVersioning:BucketVersioning": "a setting of a bucket",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "a setting of a secret",
    "aws:secretsmanager/secretVersion:SecretVersion": "a part of a secret",
}
"""What AWS lets nobody tag."""

DATABASE = [
    ("storageEncrypted", True, "a disk that leaves the building is of no use to anyone"),
    (
        "kmsKeyId",
        "arn:aws:kms:eu-central-1:000000000000:key-key",
        "destroying the tenant's key destroys its data alone",
    ),
    ("publiclyAccessible", False, "there is no address on the internet to attack"),
    ("deletionProtection", True, "a click in the console deletes nothing"),
    ("skipFinalSnapshot", False, "whatever deletes it, a snapshot is left"),
    ("finalSnapshotIdentifier", "pb-k3x9m2qd-g1-final", "a final snapshot needs a name, or the deletion fails"),
    ("backupRetentionPeriod", 7, "a mistake is noticed after a weekend"),
    ("deleteAutomatedBackups", False, "backups outlive the server"),
    ("copyTagsToSnapshot", True, "snapshots are found by the tenant too"),
    ("multiAz", True, "a zone may fail"),
    ("manageMasterUserPassword", True, "no password is in the state"),
    ("masterUserSecretKmsKeyId", "arn:aws:kms:eu-central-1:000000000000:key-key", "nor readable by another's key"),
    ("password", None, "no password is in the state"),
    ("iamDatabaseAuthenticationEnabled", True, "people log in as themselves"),
    ("caCertIdentifier", "rds-ca-rsa2048-g1", "verify-full needs an authority that is known"),
    ("allowMajorVersionUpgrade", False, "a major upgrade is a decision"),
    ("dbSubnetGroupName", "pb-k3x9m2qd-g1", "never the account's default network"),
]
NETWORK = [
    ("Subnet", "network-0", "mapPublicIpOnLaunch", False, "nothing gets a public address"),
    ("Subnet", "network-1", "mapPublicIpOnLaunch", False, "nothing gets a public address"),
    ("Subnet", "network-2", "mapPublicIpOnLaunch", False, "nothing gets a public address"),
    ("Subnet", "network-2", "cidrBlock", "10.64.0.128/26", "ranges do not overlap"),
    ("Vpc", "network", "ipv4IpamPoolId", "ipam-pool-tenants", "two tenants never have one range: both are peered"),
    ("FlowLog", "network", "trafficType", "ALL", "who talked to whom can be told afterwards"),
    ("FlowLog", "network", "logDestinationType", "s3", "records outlive the tenant"),
    ("SecurityGroupIngressRule", "database", "cidrIpv4", "10.0.0.0/16", "the cluster alone gets in"),
    ("SecurityGroupIngressRule", "database", "fromPort", 5432, "to Postgres alone"),
    ("SecurityGroupIngressRule", "database", "toPort", 5432, "to Postgres alone"),
    ("VpcEndpoint", "endpoint-s3", "vpcEndpointType", "Gateway", "S3 without the internet"),
    ("VpcEndpoint", "endpoint-kms", "privateDnsEnabled", True, "KMS without the internet"),
    ("VpcEndpoint", "endpoint-secretsmanager", "privateDnsEnabled", True, "secrets without the internet"),
]
DEDICATED_SETTINGS = [
    ("Key", "enableKeyRotation", True, "a key that leaks once does not open everything forever"),
    ("Key", "deletionWindowInDays", 30, "a deletion by mistake can be taken back"),
    ("Bucket", "forceDestroy", False, "a bucket with data in it is not deleted"),
    ("BucketPublicAccessBlock", "blockPublicAcls", True, "never public"),
    ("BucketPublicAccessBlock", "blockPublicPolicy", True, "never public"),
    ("BucketPublicAccessBlock", "ignorePublicAcls", True, "never public"),
    ("BucketPublicAccessBlock", "restrictPublicBuckets", True, "never public"),
    ("BucketOwnershipControls", "rule.objectOwnership", "BucketOwnerEnforced", "no access lists beside the policies"),
    ("BucketVersioning", "versioningConfiguration.status", "Enabled", "what is overwritten can be had back"),
    (
        "BucketServerSideEncryptionConfiguration",
        "rules.0.applyServerSideEncryptionByDefault.sseAlgorithm", "aws:kms", "encrypted with the tenant's key",
    ),
    ("BucketServerSideEncryptionConfiguration", "rules.0.bucketKeyEnabled", True, "a hundredth of the KMS calls"),
    ("BucketLifecycleConfiguration", "rules.0.status", "Enabled", "old versions are not kept, and paid, forever"),
]  # fmt: skip
ALWAYS = [
    (
        "Role",
        "permissionsBoundary",
        "arn:aws:iam::000000000000:policy/paybill-tenants",
        "no role exceeds what the house says",
    ),
    ("Role", "name", "pb-k3x9m2qd-g1", "found by its name"),
    ("Secret", "recoveryWindowInDays", 30, "a deletion by mistake can be taken back"),
    ("Secret", "name", "pb-k3x9m2qd-g1", "a deleted name stays taken"),
    ("SecretPolicy", "blockPublicPolicy", True, "never public"),
    ("SecretVersion", "secretStringWo", SECRET, "write-only: in no state"),
    ("SecretVersion", "secretString", None, "write-only: in no state"),
]


@pytest.mark.parametrize(("path", "value", "why"), DATABASE, ids=[path for path, _, _ in DATABASE])
def test_the_database(path, value, why):
    assert at(only(resources("AWS", "Silo"), "Instance", "database").inputs, path) == value, why


@pytest.mark.parametrize(("type_", "name", "path", "value", "why"), NETWORK)
def test_the_network(type_, name, path, value, why):
    assert at(only(resources("AWS", "Silo"), type_, name).inputs, path) == value, why


@pytest.mark.parametrize("model", DEDICATED)
@pytest.mark.parametrize(("type_", "path", "value", "why"), DEDICATED_SETTINGS)
def test_key_and_bucket(model, type_, path, value, why):
    assert at(only(resources("AWS", model), type_).inputs, path) == value, why


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("type_", "path", "value", "why"), ALWAYS)
def test_identity_and_secret(model, type_, path, value, why):
    assert at(only(resources("AWS", model), type_).inputs, path) == value, why


def test_the_server_refuses_connections_without_tls():
    listed = only(resources("AWS", "Silo"), "ParameterGroup").inputs["parameters"]
    assert {one["name"]: one["value"] for one in listed} == {
        "rds.force_ssl": "1",
        "ssl_min_protocol_version": "TLSv1.2",
    }


def test_the_default_group_of_the_network_lets_nothing_through():
    group = only(resources("AWS", "Silo"), "DefaultSecurityGroup").inputs
    assert not group.get("ingress")
    assert not group.get("egress")


def test_nothing_is_open_to_the_internet_and_no_group_has_rules_inside():
    listed = resources("AWS", "Silo")
    assert "0.0.0.0/0" not in json.dumps([one.inputs for one in listed])
    groups = [one for one in listed if one.type.endswith(":SecurityGroup")]
    assert groups
    assert all("ingress" not in one.inputs and "egress" not in one.inputs for one in groups)
    assert not [one for one in listed if one.type.rpartition(":")[2] in {"InternetGateway", "NatGateway"}]


@pytest.mark.parametrize("model", MODELS)
def test_only_the_tenants_pods_can_take_on_the_role(model):
    policy = json.loads(only(resources("AWS", model), "Role").inputs["assumeRolePolicy"])
    (statement,) = policy["Statement"]
    namespace = "paybill-pool-example" if model == "Pooled" else f"t-{TENANT}"
    issuer = "oidc.eks.eu-central-1.amazonaws.com/id/CELL"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:sub": f"system:serviceaccount:{namespace}:tenant",
            f"{issuer}:aud": "sts.amazonaws.com",
        }
    }
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"


@pytest.mark.parametrize("model", MODELS)
def test_the_role_names_every_resource_that_it_may_use(model):
    policy = json.loads(only(resources("AWS", model), "RolePolicy").inputs["policy"])
    assert "*" not in [resource for one in policy["Statement"] for resource in one["Resource"]]
    assert not [action for one in policy["Statement"] for action in one["Action"] if action in {"*", "s3:*", "kms:*"}]


def test_a_pooled_tenant_sees_its_prefix_alone():
    policy = json.loads(only(resources("AWS", "Pooled"), "RolePolicy").inputs["policy"])
    statements = {one["Sid"]: one for one in policy["Statement"]}
    assert statements["Objects"]["Resource"] == [f"arn:aws:s3:::cell-pooled-000000000000/{TENANT}/*"]
    assert statements["List"]["Condition"] == {"StringLike": {"s3:prefix": [f"{TENANT}/*"]}}
    assert drawn("AWS", "Pooled").outputs.prefix == f"{TENANT}/"


@pytest.mark.parametrize("model", DEDICATED)
def test_the_bucket_is_closed_to_plain_http_old_tls_and_other_tenants(model):
    policy = json.loads(only(resources("AWS", model), "BucketPolicy").inputs["policy"])
    assert {one["Effect"] for one in policy["Statement"]} == {"Deny"}
    conditions = {one["Sid"]: one["Condition"] for one in policy["Statement"]}
    assert conditions["OnlyTLS"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert conditions["OnlyTLS12"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
    assert conditions["NoOtherTenant"]["StringNotEquals"] == {"aws:PrincipalTag/paybill-tenant": TENANT}
    assert conditions["NoOtherTenant"]["Null"] == {"aws:PrincipalTag/paybill-tenant": "false"}


@pytest.mark.parametrize("model", DEDICATED)
def test_the_account_administers_the_key_and_reads_nothing_with_it_but_through_services(model):
    policy = json.loads(only(resources("AWS", model), "Key").inputs["policy"])
    statements = {one["Sid"]: one for one in policy["Statement"]}
    assert not [action for action in statements["Administration"]["Action"] if "crypt" in action or "DataKey" in action]
    assert "kms:*" not in statements["Administration"]["Action"]
    assert "kms:ViaService" in statements["UseThroughServices"]["Condition"]["StringEquals"]
    assert statements["NoOtherTenant"]["Effect"] == "Deny"


def test_the_worker_logs_in_to_no_other_account_and_with_nothing_of_the_machines():
    provider = drawn("AWS", "Silo").resources[-1]
    assert provider.type == "pulumi:providers:aws"
    assert json.loads(provider.inputs["allowedAccountIds"]) == ["000000000000"]
    assert provider.inputs["skipMetadataApiCheck"] == "true"
    assert not {"accessKey", "secretKey", "token", "profile"} & set(provider.inputs)


@pytest.mark.parametrize("model", MODELS)
def test_all_that_can_be_tagged_is(model):
    for one in resources("AWS", model):
        tags = one.inputs.get("tags")
        if one.type in ENDS:
            assert tags is None
            continue
        assert tags is not None, one.address
        assert tags["paybill-tenant"] == TENANT
        assert {"paybill-installation", "paybill-tenant-uid", "paybill-cell", "paybill-program"} <= set(tags)
        assert (tags["paybill-plan"], tags["paybill-tier"]) == ("team", "gold")


@pytest.mark.parametrize("type_", ENDS)
def test_what_carries_no_tags_cannot(type_):
    """The SDK's own source says what takes tags."""
    package = importlib.util.find_spec("pulumi_aws")
    assert package is not None
    module = re.sub(r"(?<!^)(?=[A-Z])", "_", type_.split(":")[1].split("/")[1]).lower()
    source = Path(package.origin).parent / type_.split(":")[1].split("/")[0] / f"{module}.py"
    assert "tags: " not in source.read_text(encoding="utf-8").split("class _", 1)[0]


def test_each_model_adds_to_the_one_before():
    count = {model: {(one.type, one.name) for one in resources("AWS", model)} for model in MODELS}
    assert count["Pooled"] < count["Bridge"] < count["Silo"]


@pytest.mark.parametrize("model", MODELS)
def test_what_holds_data(model):
    held = {one.type.rpartition(":")[2] for one in resources("AWS", model) if one.data}
    expected = {"Pooled": {"Secret"}, "Bridge": {"Secret", "Key", "Bucket"}}
    assert held == expected.get(model, {"Secret", "Key", "Bucket", "Instance"})


def test_the_network_stays_with_the_database_in_it():
    """AWS refuses to delete a network that something is in, so a destruction that keeps the data must keep it."""
    for one in resources("AWS", "Silo"):
        if one.type.split("/")[0] in {"aws:ec2", "aws:vpc", "aws:rds"} and not one.type.endswith(":FlowLog"):
            assert one.options.retain, one.address


def test_the_database_has_an_hour():
    assert only(resources("AWS", "Silo"), "Instance").options.timeouts == {
        "create": "60m",
        "update": "80m",
        "delete": "60m",
    }
