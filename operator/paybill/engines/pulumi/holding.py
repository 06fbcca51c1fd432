"""Which resources hold a customer's data, so that losing one is never a side effect of something else.

What a program protects holds data, and so does everything of a type listed here: a protection is lifted before a
destruction, and a program of one's own may have forgotten it.
"""

from __future__ import annotations

import re

DATA_TYPES: frozenset[str] = frozenset(
    {
        "aws:dynamodb/table:Table",
        "aws:ebs/volume:Volume",
        "aws:efs/fileSystem:FileSystem",
        "aws:kms/key:Key",
        "aws:rds/cluster:Cluster",
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketV2:BucketV2",
        "aws:secretsmanager/secret:Secret",
        "azure-native:dbforpostgresql:Database",
        "azure-native:dbforpostgresql:Server",
        "azure-native:keyvault:Key",
        "azure-native:keyvault:Secret",
        "azure-native:keyvault:Vault",
        "azure-native:storage:BlobContainer",
        "azure-native:storage:StorageAccount",
        "gcp:kms/cryptoKey:CryptoKey",
        "gcp:secretmanager/secret:Secret",
        "gcp:sql/database:Database",
        "gcp:sql/databaseInstance:DatabaseInstance",
        "gcp:storage/bucket:Bucket",
        "kubernetes:core/v1:PersistentVolume",
        "kubernetes:core/v1:PersistentVolumeClaim",
        "oci:Kms/key:Key",
        "oci:Kms/vault:Vault",
        "oci:ObjectStorage/bucket:Bucket",
        "oci:Psql/dbSystem:DbSystem",
        "oci:Vault/secret:Secret",
    }
)
"""Databases, disks, buckets, keys and secrets; without the version that Azure puts into its types."""

_AZURE_VERSION = re.compile(r"^(azure-native:[a-z]+)/v\d+[a-z0-9]*:")


def holds_data(type_: str, *, protected: bool = False) -> bool:
    """Whether a resource of this type, protected or not, holds data."""
    return protected or _AZURE_VERSION.sub(r"\1:", type_) in DATA_TYPES
