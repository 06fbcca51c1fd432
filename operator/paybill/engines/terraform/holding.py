"""Which resources hold a customer's data, and what must stay with them when the rest of a stack is destroyed.

Terraform has no protection that a variable could switch (``prevent_destroy`` takes literals only), so the engine
protects: it looks at every plan. A resource holds data by its type, or because the module says so in an output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

DATA_OUTPUT = "data_resources"
"""The output by which a module of one's own names its other resources that hold data: a list of addresses."""
MODULE = "module.stack."
"""Where a stack's resources are in the root that the engine generates."""

DATA_TYPES: frozenset[str] = frozenset(
    [
        "aws_backup_vault",
        "aws_db_cluster_snapshot",
        "aws_db_instance",
        "aws_db_snapshot",
        "aws_docdb_cluster",
        "aws_dynamodb_table",
        "aws_ebs_snapshot",
        "aws_ebs_volume",
        "aws_efs_file_system",
        "aws_fsx_lustre_file_system",
        "aws_fsx_ontap_file_system",
        "aws_kms_key",
        "aws_kms_replica_key",
        "aws_neptune_cluster",
        "aws_opensearch_domain",
        "aws_rds_cluster",
        "aws_redshift_cluster",
        "aws_s3_bucket",
        "aws_s3_directory_bucket",
        "aws_secretsmanager_secret",
        "aws_ssm_parameter",
        "azurerm_cosmosdb_account",
        "azurerm_key_vault",
        "azurerm_key_vault_key",
        "azurerm_key_vault_secret",
        "azurerm_managed_disk",
        "azurerm_mssql_database",
        "azurerm_postgresql_flexible_server",
        "azurerm_postgresql_flexible_server_database",
        "azurerm_storage_account",
        "azurerm_storage_container",
        "azurerm_storage_share",
        "google_alloydb_cluster",
        "google_bigquery_dataset",
        "google_bigquery_table",
        "google_compute_disk",
        "google_filestore_instance",
        "google_firestore_database",
        "google_kms_crypto_key",
        "google_kms_key_ring",
        "google_secret_manager_secret",
        "google_spanner_database",
        "google_spanner_instance",
        "google_sql_database",
        "google_sql_database_instance",
        "google_storage_bucket",
        "ibm_cos_bucket",
        "ibm_database",
        "ibm_is_volume",
        "ibm_kms_key",
        "ibm_kms_key_with_policy_overrides",
        "ibm_resource_instance",
        "ibm_sm_arbitrary_secret",
        "kubernetes_persistent_volume",
        "kubernetes_persistent_volume_claim",
        "kubernetes_persistent_volume_claim_v1",
        "oci_core_volume",
        "oci_database_autonomous_database",
        "oci_database_db_system",
        "oci_file_storage_file_system",
        "oci_kms_key",
        "oci_kms_vault",
        "oci_objectstorage_bucket",
        "oci_psql_db_system",
        "oci_vault_secret",
        "postgresql_database",
    ]
)
"""Types whose destruction loses data, or the key or secret without which it is lost."""

_GUARDS = re.compile(r"^(aws_s3_bucket_|aws_secretsmanager_secret_|aws_kms_alias$|aws_kms_key_policy$|ibm_cos_bucket_)")
"""Types that keep what they belong to private, encrypted or findable: they stay with it."""
_INDEX = re.compile(r'\[(?:\d+|"(?:[^"\\]|\\.)*")\]')


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A resource that outlives its stack."""

    address: str
    id: str
    """Its physical id: an ARN, CRN or URL where it has one."""
    data: bool


@dataclass(frozen=True)
class Holding:
    """Knows which resources of a stack hold data."""

    named: frozenset[str] = frozenset()
    """Addresses, without the module and without indexes, that the module itself names."""

    @classmethod
    def of_plan(cls, document: dict[str, Any]) -> Holding:
        """From a plan, by what the module says now and by what it said before: protection is not lost by an edit."""
        states = (document.get("planned_values"), document.get("prior_state", {}).get("values"))
        return cls(frozenset().union(*(_named(values or {}) for values in states)))

    @classmethod
    def of_state(cls, document: dict[str, Any]) -> Holding:
        """From a state."""
        return cls(_named(document.get("values") or {}))

    def holds_data(self, kind: str, address: str) -> bool:
        """Whether the resource of this type and address holds a customer's data."""
        return kind in DATA_TYPES or plain(address).removeprefix(MODULE) in self.named


def plain(address: str) -> str:
    """An address without the indexes of its instances."""
    return _INDEX.sub("", address)


def resources(document: dict[str, Any]) -> list[dict[str, Any]]:
    """All managed resources of a state that ``terraform show -json`` printed."""
    found: list[dict[str, Any]] = []
    due = [(document.get("values") or {}).get("root_module", {})]
    while due:
        module = due.pop()
        found += [one for one in module.get("resources", ()) if one.get("mode") == "managed"]
        due += module.get("child_modules", ())
    return sorted(found, key=lambda one: str(one["address"]))


def kept(document: dict[str, Any]) -> tuple[Kept, ...]:
    """What of a state must stay when its data is retained: the data, what it rests on, and what guards it."""
    listed = resources(document)
    holding = Holding.of_state(document)
    data = {one["address"] for one in listed if holding.holds_data(one["type"], one["address"])}
    stays = {plain(address) for address in data}
    stays |= {
        plain(one["address"])
        for one in listed
        if _GUARDS.match(one["type"]) and stays.intersection(map(plain, one.get("depends_on", ())))
    }
    stays |= _needed(listed, stays)
    found = [
        Kept(address=one["address"], id=_physical(one), data=one["address"] in data)
        for one in listed
        if plain(one["address"]) in stays
    ]
    return tuple(sorted(found, key=lambda one: (not one.data, one.address)))


def _needed(listed: list[dict[str, Any]], stays: set[str]) -> set[str]:
    """What ``stays`` depends on, and what that depends on."""
    needs: dict[str, set[str]] = {}
    for one in listed:
        needs.setdefault(plain(one["address"]), set()).update(plain(other) for other in one.get("depends_on", ()))
    found: set[str] = set()
    due = set(stays)
    while due:
        due = {need for one in due for need in needs.get(one, ())} - found
        found |= due
    return found


def _physical(one: dict[str, Any]) -> str:
    values = one.get("values") or {}
    return str(next((values[name] for name in ("arn", "crn", "id") if values.get(name)), one["address"]))


def _named(values: dict[str, Any]) -> frozenset[str]:
    said = (values.get("outputs") or {}).get(DATA_OUTPUT, {}).get("value")
    return frozenset(plain(str(one)) for one in said) if isinstance(said, list) else frozenset()
