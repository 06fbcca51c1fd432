"""Azure: what must be so, one by one."""

import re

import pytest

from tests.engines import clouds

MUST: list[tuple[str, str, str, object, str]] = [
    ("silo", "group", "resourceGroupName", "pb-k3x9m2qd", "a group of the tenant's own"),
    ("silo", "vault", "properties.enablePurgeProtection", True, "a purged vault takes all data with it"),
    ("silo", "vault", "properties.enableSoftDelete", True, "a deleted key can be had back"),
    ("silo", "vault", "properties.softDeleteRetentionInDays", 90, "for as long as Azure allows"),
    ("silo", "vault", "properties.enableRbacAuthorization", True, "one way of giving rights, not two"),
    ("silo", "vault", "properties.publicNetworkAccess", "Disabled", "reached from inside only"),
    ("silo", "vault", "properties.networkAcls.defaultAction", "Deny", "and by nobody who is not named"),
    ("silo", "vault", "vaultName", "pb-k3x9m2qd-g1", "the name stays taken, so it bears a mark of its own"),
    ("silo", "key", "properties.keySize", 3072, "what Postgres and storage take, and not the least"),
    ("silo", "key", "properties.attributes.exportable", False, "it never leaves the vault"),
    ("silo", "key", "properties.attributes.expires", None, "an expired key would make the database unreachable"),
    ("silo", "key", "properties.rotationPolicy.lifetimeActions.0.action.type", "rotate", "rotated by itself"),
    ("silo", "bucket", "allowBlobPublicAccess", False, "no public access"),
    ("silo", "bucket", "allowSharedKeyAccess", False, "no key that opens everything"),
    ("silo", "bucket", "allowCrossTenantReplication", False, "no copy into another directory"),
    ("silo", "bucket", "minimumTlsVersion", "TLS1_2", "TLS"),
    ("silo", "bucket", "enableHttpsTrafficOnly", True, "TLS only"),
    ("silo", "bucket", "publicNetworkAccess", "Disabled", "reached from inside only"),
    ("silo", "bucket", "networkRuleSet.defaultAction", "Deny", "and by nobody who is not named"),
    ("silo", "bucket", "isLocalUserEnabled", False, "no logins beside Entra's"),
    ("silo", "bucket", "encryption.keySource", "Microsoft.Keyvault", "encrypted with the tenant's key"),
    ("silo", "bucket", "encryption.requireInfrastructureEncryption", True, "and once more below it"),
    ("silo", "bucket", "sku.name", "Standard_ZRS", "survives the loss of a zone"),
    ("silo", "bucket-keeping", "isVersioningEnabled", True, "overwritten blobs can be had back"),
    ("silo", "bucket-keeping", "deleteRetentionPolicy.enabled", True, "deleted blobs can be had back"),
    ("silo", "bucket-keeping", "deleteRetentionPolicy.days", 30, "for a month"),
    ("silo", "bucket-keeping", "containerDeleteRetentionPolicy.enabled", True, "deleted containers too"),
    ("silo", "container", "publicAccess", "None", "no public access"),
    ("silo", "database", "network.publicNetworkAccess", "Disabled", "reached from inside only"),
    ("silo", "database", "dataEncryption.type", "AzureKeyVault", "encrypted with the tenant's key"),
    (
        "silo",
        "database",
        "dataEncryption.primaryKeyURI",
        "key-key.keyUri",
        "without a version, so rotation is followed",
    ),
    ("silo", "database", "backup.backupRetentionDays", 7, "backups for a week at least"),
    ("silo", "database", "backup.geoRedundantBackup", "Disabled", "no key in the paired region is given"),
    ("silo", "database", "highAvailability.mode", "ZoneRedundant", "a standby in another zone"),
    ("silo", "database", "authConfig.activeDirectoryAuth", "Enabled", "people and their tools log in by Entra"),
    ("silo", "database", "authConfig.passwordAuth", "Enabled", "the operator and the logins it makes use passwords"),
    ("silo", "database", "administratorLogin", "paybill", "whom the operator logs in as"),
    ("silo", "database", "administratorLoginPassword", "[secret]", "its password, encrypted in the state"),
    ("silo", "database-administrator", "principalName", "paybill-operator", "the principal of the foundation"),
    ("silo", "database", "storage.storageSizeGB", 32, "the next size that is sold"),
    ("silo", "database", "version", "18", "the version that was asked for"),
    ("bridge-server", "database", "highAvailability.mode", "Disabled", "no standby where the Plan has none"),
    ("silo", "database-require-secure-transport", "value", "on", "TLS only"),
    ("silo", "database-ssl-min-protocol-version", "value", "TLSv1.2", "TLS"),
    ("silo", "databases", "defaultOutboundAccess", False, "no way to the internet"),
    ("silo", "endpoints", "defaultOutboundAccess", False, "no way to the internet"),
    ("silo", "databases", "delegations.0.serviceName", "Microsoft.DBforPostgreSQL/flexibleServers", "the server's own"),
    ("silo", "network-rules", "securityRules.2.access", "Deny", "nothing else comes in"),
    ("silo", "network-rules", "securityRules.0.sourceAddressPrefix", "10.0.0.0/16", "the cluster comes in"),
    ("silo", "peering-to-cluster", "allowForwardedTraffic", False, "no way through to other tenants"),
    ("silo", "bucket-lock", "level", "CanNotDelete", "not deleted in the portal either"),
    ("silo", "database-lock", "level", "CanNotDelete", "not deleted in the portal either"),
    ("silo", "vault-lock", "level", "CanNotDelete", "not deleted in the portal either"),
    ("silo", "identity-pods", "audiences", ["api://AzureADTokenExchange"], "tokens made for this and nothing else"),
    (
        "pooled",
        "identity-pods",
        "subject",
        "system:serviceaccount:paybill-pool-example:tenant",
        "one ServiceAccount of one namespace",
    ),
    ("pooled", "container", "accountName", "cellpooled", "a container in the shared account"),
    ("pooled", "container-role", "scope", "blobcontainer-container", "the right to this container alone"),
    ("pooled", "secret", "vaultName", "cell-pooled", "a secret in the shared vault"),
]

NAMES = {
    "StorageAccount": ("accountName", "[a-z0-9]{3,24}"),
    "Vault": ("vaultName", "[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]"),
    "Key": ("keyName", "[a-zA-Z0-9-]{1,127}"),
    "Secret": ("secretName", "[a-zA-Z0-9-]{1,127}"),
    "Server": ("serverName", "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
    "BlobContainer": ("containerName", "[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]"),
    "UserAssignedIdentity": ("resourceName", "[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}"),
    "RoleAssignment": ("roleAssignmentName", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}

NO_TAGS = {
    "azure-native:authorization:ManagementLockByScope",
    "azure-native:authorization:RoleAssignment",
    "azure-native:dbforpostgresql:Administrator",
    "azure-native:dbforpostgresql:Configuration",
    "azure-native:managedidentity:FederatedIdentityCredential",
    "azure-native:network:PrivateDnsZoneGroup",
    "azure-native:network:Subnet",
    "azure-native:network:VirtualNetworkPeering",
    "azure-native:storage:BlobContainer",
    "azure-native:storage:BlobServiceProperties",
}


@pytest.mark.parametrize(("scene", "name", "path", "value", "reason"), MUST, ids=[f"{m[1]}.{m[2]}" for m in MUST])
def test_it_must_be_so(scene, name, path, value, reason):
    assert clouds.setting(clouds.resources(clouds.stack("Azure", scene))[name], path) == value, reason


def test_what_holds_data_is_known():
    assert clouds.holding(clouds.stack("Azure", "silo")) == {
        "group",  # a group takes all that is in it along
        "vault",
        "key",
        "key-user",  # without it storage and database could not be decrypted
        "bucket",
        "container",
        "database",
        "administrator-password",  # the data stays, so the way to it does
        "secret",
    }
    assert clouds.holding(clouds.stack("Azure", "pooled")) == {"container", "secret"}


def test_databases_and_networks_may_take_long():
    rendered = clouds.resources(clouds.stack("Azure", "silo"))
    assert rendered["database"].options.timeouts == rendered["network"].options.timeouts == clouds.SLOW
    assert rendered["secret"].options.timeouts == clouds.USUAL


def test_what_others_change_is_left_alone():
    rendered = clouds.resources(clouds.stack("Azure", "silo"))
    assert rendered["secret"].options.ignore_changes == ("properties.value",)


def test_the_server_has_the_password_that_is_handed_over_whatever_was_set_in_the_portal():
    assert clouds.resources(clouds.stack("Azure", "silo"))["database"].options.ignore_changes == ()


def test_everything_that_can_carry_the_tenants_marks_does():
    assert clouds.unmarked(clouds.stack("Azure", "silo"), "tags") == NO_TAGS
    assert {one for one in NO_TAGS if clouds.takes("pulumi_azure_native", one, "tags")} == set()


def test_a_container_carries_them_as_metadata():
    metadata = clouds.setting(clouds.resources(clouds.stack("Azure", "pooled"))["container"], "metadata")
    assert metadata["paybill_tenant"] == "k3x9m2qd"


def test_names_are_within_azures_limits():
    rendered = clouds.stack("Azure", "silo")
    kinds = {one.type.rpartition(":")[2]: one for one in clouds.resources(rendered).values()}
    for kind, (field, pattern) in NAMES.items():
        assert re.fullmatch(pattern, clouds.setting(kinds[kind], field)), kind


def test_parameters_of_a_server_are_set_one_after_the_other():
    rendered = clouds.resources(clouds.stack("Azure", "silo"))
    parameters = [one for name, one in rendered.items() if one.type.endswith(":Configuration")]
    earlier = {one.address: {two.address for two in parameters if two.address in one.depends_on} for one in parameters}
    assert sorted(len(each) for each in earlier.values()) == [0, *[1] * (len(parameters) - 1)]
    assert len(set().union(*earlier.values())) == len(parameters) - 1


def test_a_server_waits_for_the_right_to_the_key_and_for_its_zone():
    rendered = clouds.resources(clouds.stack("Azure", "silo"))
    needed = set(rendered["database"].depends_on)
    assert {rendered[one].address for one in ("key-user-role", "zone-cluster", "zone-tenant")} <= needed


def test_the_operator_logs_in_by_a_password_and_checks_the_name_by_a_public_authority():
    database = clouds.stack("Azure", "silo").outputs.database
    assert database is not None
    assert (database.admin_user, database.admin_password, database.admin_secret) == ("paybill", "[secret]", None)
    assert (database.sslmode, database.ca) == ("verify-full", None)


def test_backups_are_kept_in_the_paired_region_too_where_a_key_is_there():
    database = clouds.resources(clouds.stack("Azure", "geo"))["database"]
    assert clouds.setting(database, "backup.geoRedundantBackup") == "Enabled"
    assert clouds.setting(database, "dataEncryption.geoBackupKeyURI") == "https://paired/keys/cell"
    assert set(clouds.setting(database, "identity.userAssignedIdentities")) == {
        "userassignedidentity-key-user",
        "/paired/cell",
    }
