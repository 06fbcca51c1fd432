"""What texts of the CLI and of the clouds mean."""

import pytest

from paybill.engines.operation import Exit
from paybill.engines.pulumi.errors import classify
from paybill.engines.pulumi.events import Complaint
from tests.engines.asked import request


@pytest.mark.parametrize(
    ("said", "exit_code", "reason"),
    [
        ("error: could not decrypt: incorrect passphrase", Exit.USER, "PassphraseWrong"),
        ("unable to replace resource \"urn\" as it is currently marked for protection", Exit.POLICY, "DataProtected"),
        ("Default provider for 'aws' disabled. 'aws:s3/bucket:Bucket' must use an explicit provider.", Exit.USER,
         "ProviderMissing"),
        ("no resource plugin 'pulumi-resource-aws' found in the workspace", Exit.USER, "PluginMissing"),
        ("creating RDS DB Instance: operation error RDS: api error Throttling: Rate exceeded", Exit.TRANSIENT,
         "Throttled"),
        ("googleapi: Error 429: Quota exceeded for quota metric 'Queries'", Exit.TRANSIENT, "Throttled"),
        ("api error InstanceQuotaExceeded: you have too many", Exit.USER, "QuotaExceeded"),
        ("api error VpcLimitExceeded: The maximum number of VPCs has been reached.", Exit.USER, "QuotaExceeded"),
        ("InsufficientDBInstanceCapacity: not in this zone", Exit.TRANSIENT, "CapacityMissing"),
        ("Out of host capacity.", Exit.TRANSIENT, "CapacityMissing"),
        ("api error ExpiredToken: The security token included in the request is expired", Exit.USER,
         "CredentialsRefused"),
        ("api error AccessDenied: User is not authorized to perform: kms:CreateKey", Exit.USER, "PermissionMissing"),
        ("StatusCode=403 AuthorizationFailed: the client does not have authorization", Exit.USER, "PermissionMissing"),
        ("BucketAlreadyOwnedByYou: yours already", Exit.USER, "NameTaken"),
        ("unable to open bucket s3://state: NoSuchBucket", Exit.USER, "StateUnreachable"),
        ("dial tcp: lookup rds.eu-west-1.amazonaws.com: no such host", Exit.TRANSIENT, "CloudUnreachable"),
        ("StatusCode: 503, ServiceUnavailable", Exit.TRANSIENT, "CloudUnreachable"),
        ("InvalidParameterValue: storage must be at least 20", Exit.USER, "OperationFailed"),
        ("failed to load checkpoint: place 1: unexpected end of JSON input", Exit.USER, "StateCorrupt"),
    ],
)  # fmt: skip
def test_kind_of_error(tmp_path, said: str, exit_code: Exit, reason: str) -> None:
    error = classify(request(tmp_path), "", [Complaint("update failed"), Complaint(said, "urn:a")], failed={"urn:a"})
    assert (error.exit_code, error.failed.reason) == (exit_code, reason)
    assert said.split()[0] in error.failed.message
    assert "urn:a" in error.failed.message


def test_reason_is_the_first_complaint_that_is_understood(tmp_path) -> None:
    said = [Complaint("resource monitor shut down while waiting"), Complaint("something odd"), Complaint("Throttling")]
    assert classify(request(tmp_path), "", said, failed=set()).failed.reason == "Throttled"


def test_without_events_the_cli_is_quoted(tmp_path) -> None:
    text = " code: 255\n stdout: Previewing\n stderr: lots\nerror: no such thing\n"
    assert "error: no such thing" in classify(request(tmp_path), text, [], failed=set()).failed.message


def test_long_complaints_are_cut(tmp_path) -> None:
    error = classify(request(tmp_path), "", [Complaint("x " * 10_000)], failed=set())
    assert len(error.failed.message) < 1_000
