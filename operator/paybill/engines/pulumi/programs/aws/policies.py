"""The policy documents of a tenant: plain functions of names, so that what is allowed can be read and tested alone.

Every tenant's role carries the tag ``paybill-tenant``. Key, bucket and secret refuse any principal that carries it with
another value, whatever that principal's own policies allow: one careless policy then opens no other tenant's data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Statement = dict[str, Any]

KEY_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:Describe*",
    "kms:Disable*",
    "kms:Enable*",
    "kms:Get*",
    "kms:List*",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:UpdateKeyDescription",
)
KEY_USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")
OBJECT_USE = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)


def document(*statements: Statement) -> str:
    """The statements as a policy, in one fixed form: another order of keys would look like a change."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True)


def trust(*, provider_arn: str, issuer: str, namespace: str, service_account: str) -> str:
    """Only pods of that ServiceAccount, and only with tokens that were issued for AWS."""
    return document(
        {
            "Sid": "TenantPods",
            "Effect": "Allow",
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": provider_arn},
            "Condition": {
                "StringEquals": {
                    f"{issuer}:sub": f"system:serviceaccount:{namespace}:{service_account}",
                    f"{issuer}:aud": "sts.amazonaws.com",
                }
            },
        }
    )


def other_tenants(tenant_id: str, action: str, resources: Sequence[str]) -> Statement:
    """Refuses the roles of other tenants. ``Null`` lets those pass that are no tenant's: people, the operator, AWS."""
    return {
        "Sid": "NoOtherTenant",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": list(resources),
        "Condition": {
            "Null": {"aws:PrincipalTag/paybill-tenant": "false"},
            "StringNotEquals": {"aws:PrincipalTag/paybill-tenant": tenant_id},
        },
    }


def key(*, root: str, tenant_id: str, region: str) -> str:
    """The account administers the key but reads nothing with it; use goes through the services that keep the data."""
    services = _services("rds", "s3", "secretsmanager", region=region)
    return document(
        {
            "Sid": "Administration",
            "Effect": "Allow",
            "Principal": {"AWS": root},
            "Action": list(KEY_ADMINISTRATION),
            "Resource": "*",
        },
        {
            "Sid": "UseThroughServices",
            "Effect": "Allow",
            "Principal": {"AWS": root},
            "Action": [*KEY_USE, "kms:CreateGrant"],
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:ViaService": services}},
        },
        other_tenants(tenant_id, "kms:*", ["*"]),
    )


def bucket(*, arn: str, tenant_id: str) -> str:
    """Nothing without TLS 1.2, nothing for another tenant."""
    everything = [arn, f"{arn}/*"]
    refused: Statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": everything}
    return document(
        refused | {"Sid": "OnlyTLS", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        refused | {"Sid": "OnlyTLS12", "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}},
        other_tenants(tenant_id, "s3:*", everything),
    )


def secret(tenant_id: str) -> str:
    """Nothing for another tenant."""
    return document(other_tenants(tenant_id, "secretsmanager:*", ["*"]))


def objects(*, arn: str, prefix: str) -> tuple[Statement, Statement]:
    """Use of one bucket's objects; with a prefix (``id/``) of those below it alone."""
    listing: Statement = {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]}
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}*"]}}
    use = {"Sid": "Objects", "Effect": "Allow", "Action": list(OBJECT_USE), "Resource": [f"{arn}/{prefix}*"]}
    return listing, use


def key_use(arn: Any, *, region: str) -> Statement:
    """Use of the key through S3 and Secrets Manager only: alone it opens nothing, also where tenants share it."""
    return {
        "Sid": "Key",
        "Effect": "Allow",
        "Action": list(KEY_USE),
        "Resource": [arn],
        "Condition": {"StringEquals": {"kms:ViaService": _services("s3", "secretsmanager", region=region)}},
    }


def secret_use(arn: Any) -> Statement:
    """Reading of one secret."""
    return {
        "Sid": "Secret",
        "Effect": "Allow",
        "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
        "Resource": [arn],
    }


def _services(*names: str, region: str) -> list[str]:
    return [f"{name}.{region}.amazonaws.com" for name in names]
