"""The whole life of a Silo tenant on AWS: the built-in module, a real terraform and provider, an emulated cloud.

The tests run in this order and go on from one another, because making a Silo takes minutes.
"""

import json

from tests.engines.terraform.conftest import ACCOUNT, REGION, Making

NAME = "pb-abcd1234-g1"
BUCKET = f"{NAME}-{ACCOUNT}"
EMULATOR_DRIFT = {"module.stack.aws_db_parameter_group.tenant[0]"}
"""moto shows parameters to one in two refreshes; AWS does not do that."""


def drifted(result):
    return {change.address for change in result.changes} - EMULATOR_DRIFT


def test_what_was_approved_is_made(silo: Making):
    preview, result = silo.result()

    assert result.digest == preview.digest
    assert result.counts == {"create": 36, "same": 0}
    assert {change.type for change in result.changes if change.data} == {
        "aws_db_instance",
        "aws_kms_key",
        "aws_s3_bucket",
        "aws_secretsmanager_secret",
    }


def test_it_hands_over_where_everything_is(silo: Making, cloud):
    outputs = silo.result()[1].outputs

    assert outputs is not None
    assert outputs.bucket == BUCKET
    assert outputs.prefix is None
    assert outputs.database is not None
    assert outputs.database.admin_user == "paybill"
    assert outputs.database.admin_password is None
    assert outputs.database.sslmode == "verify-full"
    password = cloud.client("secretsmanager").get_secret_value(SecretId=outputs.database.admin_secret)
    assert json.loads(password["SecretString"])["password"]
    assert cloud.client("kms").describe_key(KeyId=outputs.key)["KeyMetadata"]["KeyState"] == "Enabled"
    assert cloud.client("ec2").describe_vpcs(VpcIds=[outputs.network])["Vpcs"]
    assert outputs.identity == "arn:aws:iam::123456789012:role/pb-abcd1234-g1"


def test_the_database_is_encrypted_private_protected_and_backed_up(silo: Making, cloud):
    key = silo.result()[1].outputs.key
    rds = cloud.client("rds")
    (found,) = rds.describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"]

    assert found["StorageEncrypted"]
    assert found["KmsKeyId"] == key
    assert found["MasterUserSecret"]["KmsKeyId"] == key
    assert found["DeletionProtection"]
    assert not found["PubliclyAccessible"]
    assert found["MultiAZ"]
    assert found["IAMDatabaseAuthenticationEnabled"]
    assert found["CopyTagsToSnapshot"]
    assert found["BackupRetentionPeriod"] == 7
    parameters = rds.describe_db_parameters(DBParameterGroupName=f"{NAME}-pg18")["Parameters"]
    set_here = {one["ParameterName"]: one.get("ParameterValue") for one in parameters}
    assert (set_here["rds.force_ssl"], set_here["ssl_min_protocol_version"]) == ("1", "TLSv1.2")


def test_the_bucket_is_private_encrypted_versioned_and_tls_only(silo: Making, cloud):
    key = silo.result()[1].outputs.key
    s3 = cloud.client("s3")

    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    assert rule["BucketKeyEnabled"]
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    ownership = s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    statements = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert {one["Effect"] for one in statements} == {"Deny"}
    assert {one["Sid"] for one in statements} == {"OnlyTLS", "OnlyTLS12", "NoOtherTenant"}


def test_the_key_rotates_and_is_used_through_services_only(silo: Making, cloud):
    kms, key = cloud.client("kms"), silo.result()[1].outputs.key

    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    by_name = {one["Sid"]: one for one in policy["Statement"]}
    assert "kms:Decrypt" not in by_name["Administration"]["Action"]
    assert "kms:*" not in by_name["Administration"]["Action"]
    assert set(by_name["UseThroughServices"]["Condition"]["StringEquals"]) == {"kms:ViaService"}
    assert by_name["NoOtherTenant"]["Effect"] == "Deny"


def test_the_role_trusts_one_service_account_by_sub_and_aud(silo: Making, cloud):
    silo.result()
    role = cloud.client("iam").get_role(RoleName=NAME)["Role"]

    issuer = f"oidc.eks.{REGION}.amazonaws.com/id/CELL"
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": "system:serviceaccount:tenant-abcd1234:tenant",
        }
    }
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("policy/paybill-tenant")


def test_the_network_is_closed(silo: Making, cloud):
    network = silo.result()[1].outputs.network
    ec2 = cloud.client("ec2")
    inside = [{"Name": "vpc-id", "Values": [network]}]

    subnets = ec2.describe_subnets(Filters=inside)["Subnets"]
    assert len({one["AvailabilityZone"] for one in subnets}) == 3
    assert not any(one["MapPublicIpOnLaunch"] for one in subnets)
    for group in ec2.describe_security_groups(Filters=inside)["SecurityGroups"]:
        open_to = {entry["CidrIp"] for rule in group["IpPermissions"] for entry in rule["IpRanges"]}
        assert "0.0.0.0/0" not in open_to, group["GroupName"]
        if group["GroupName"] == "default":
            assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])
    assert not ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [network]}])[
        "InternetGateways"
    ]


def test_everything_bears_the_tenants_marks(silo: Making, cloud):
    silo.result()
    tags = {one["Key"]: one["Value"] for one in cloud.client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]}

    assert tags == silo.inputs.tags()


def test_no_password_is_in_the_state(silo: Making, cloud):
    silo.result()
    listed = cloud.client("s3").list_objects_v2(Bucket="states", Prefix="silo/")["Contents"]
    state = cloud.client("s3").get_object(Bucket="states", Key=listed[0]["Key"])["Body"].read().decode()

    database = next(one for one in json.loads(state)["resources"] if one["type"] == "aws_db_instance")
    assert database["instances"][0]["attributes"]["password"] is None
    assert cloud.credentials["AWS_SECRET_ACCESS_KEY"] not in state


def test_what_somebody_changed_behind_our_back_is_found(silo: Making, cloud):
    silo.result()
    cloud.client("s3").delete_public_access_block(Bucket=BUCKET)

    result = silo.bench.run("drift", silo.inputs)

    assert drifted(result) == {"module.stack.aws_s3_bucket_public_access_block.tenant[0]"}


def test_it_is_remediated_and_then_nothing_is_left_to_do(silo: Making, cloud):
    silo.result()

    mended = silo.bench.run("up", silo.inputs)
    preview = silo.bench.run("preview", silo.inputs)

    assert [change.address for change in mended.changes] == ["module.stack.aws_s3_bucket_public_access_block.tenant[0]"]
    assert all(cloud.client("s3").get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert preview.changes == ()


def test_destroying_retains_data_what_guards_it_and_what_it_rests_on(silo: Making, cloud):
    outputs = silo.result()[1].outputs

    result = silo.bench.run("destroy", silo.inputs)

    assert f"arn:aws:s3:::{BUCKET}" in result.retained
    assert outputs.key in result.retained
    assert outputs.secret in result.retained
    assert any(one.endswith(f":db:{NAME}") for one in result.retained)
    assert any(one.endswith(outputs.network) for one in result.retained)
    assert len(set(result.retained)) == len(result.retained)
    gone = {change.type for change in result.changes}
    assert {"aws_iam_role", "aws_iam_role_policy", "aws_flow_log"} <= gone
    assert not any(kind.startswith(("aws_s3_", "aws_db_", "aws_kms_", "aws_secrets")) for kind in gone)


def test_what_was_retained_is_still_there_and_still_guarded(silo: Making, cloud):
    outputs = silo.result()[1].outputs

    assert all(cloud.client("s3").get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert cloud.client("rds").describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"]
    assert cloud.client("kms").describe_key(KeyId=outputs.key)["KeyMetadata"]["KeyState"] == "Enabled"
