"""Google Cloud: what must be so, one by one."""

import re

import pytest

from tests.engines import clouds

KEY = "cryptokey-key"
MUST: list[tuple[str, str, str, object, str]] = [
    (
        "silo",
        "key",
        "keyRing",
        "projects/example-cell/locations/europe-west1/keyRings/tenants",
        "no ring can be deleted",
    ),
    ("silo", "key", "rotationPeriod", "7776000s", "rotated by itself every 90 days"),
    ("silo", "key", "destroyScheduledDuration", "2592000s", "a destroyed version can be had back for 30 days"),
    ("silo", "key", "purpose", "ENCRYPT_DECRYPT", "the only purpose that rotates"),
    ("silo", "key", "deletionPolicy", "PREVENT", "its versions are never destroyed by mistake"),
    ("silo", "key", "name", "pb-k3x9m2qd-g1", "the name stays taken for ever, so it bears a mark of its own"),
    ("silo", "key-sql", "role", "roles/cloudkms.cryptoKeyEncrypterDecrypter", "no more than to encrypt"),
    ("silo", "bucket", "uniformBucketLevelAccess", True, "one way of giving rights, not two"),
    ("silo", "bucket", "publicAccessPrevention", "enforced", "no public access"),
    ("silo", "bucket", "encryption.defaultKmsKeyName", KEY, "encrypted with the tenant's key"),
    ("silo", "bucket", "versioning.enabled", True, "overwritten objects can be had back"),
    ("silo", "bucket", "softDeletePolicy.retentionDurationSeconds", 2592000, "deleted ones too, for 30 days"),
    ("silo", "bucket", "forceDestroy", False, "a bucket with objects is not deleted"),
    ("silo", "bucket", "deletionPolicy", "PREVENT", "nor is an empty one by mistake"),
    ("silo", "bucket", "lifecycleRules.0.condition.withState", "ARCHIVED", "live objects are never touched"),
    ("silo", "bucket", "location", "EUROPE-WEST1", "in the cell's region"),
    ("silo", "database", "encryptionKeyName", KEY, "encrypted with the tenant's key"),
    ("silo", "database", "deletionProtection", True, "not deleted by the engine"),
    ("silo", "database", "deletionPolicy", "PREVENT", "not deleted by the engine"),
    ("silo", "database", "settings.deletionProtectionEnabled", True, "not deleted by anybody"),
    ("silo", "database", "settings.ipConfiguration.ipv4Enabled", False, "no public address"),
    ("silo", "database", "settings.ipConfiguration.privateNetwork", "network-network", "in the tenant's network"),
    ("silo", "database", "settings.ipConfiguration.sslMode", "ENCRYPTED_ONLY", "TLS only"),
    ("silo", "database", "settings.ipConfiguration.pscConfigs.0.pscEnabled", True, "the cluster reaches it"),
    (
        "silo",
        "database",
        "settings.ipConfiguration.pscConfigs.0.allowedConsumerProjects",
        ["example-cell"],
        "and no other project does",
    ),
    ("bridge-server", "database", "settings.ipConfiguration.pscConfigs", None, "it is in the cluster's network"),
    ("silo", "database", "settings.backupConfiguration.enabled", True, "backups"),
    ("silo", "database", "settings.backupConfiguration.pointInTimeRecoveryEnabled", True, "to any moment"),
    (
        "silo",
        "database",
        "settings.backupConfiguration.backupRetentionSettings.retainedBackups",
        7,
        "for a week at least",
    ),
    ("silo", "database", "settings.retainBackupsOnDelete", True, "backups outlive the server"),
    ("silo", "database", "settings.finalBackupConfig.enabled", True, "a last one is made"),
    ("silo", "database", "settings.availabilityType", "REGIONAL", "a standby in another zone"),
    ("bridge-server", "database", "settings.availabilityType", "ZONAL", "no standby where the Plan has none"),
    ("silo", "database", "settings.edition", "ENTERPRISE", "the machines are of this edition"),
    ("silo", "database", "settings.databaseFlags.0.name", "cloudsql.iam_authentication", "for people and their tools"),
    ("silo", "database", "name", "pb-k3x9m2qd-g1", "taken for a week after a deletion"),
    ("silo", "database-login", "type", "BUILT_IN", "the operator logs in with a password"),
    ("silo", "database-login", "name", "paybill", "whom it logs in as"),
    ("silo", "database-login", "password", "[secret]", "encrypted in the state"),
    ("silo", "database-login", "databaseRoles", None, "Cloud SQL makes it a cloudsqlsuperuser where none is named"),
    ("silo", "database-administrator", "type", "CLOUD_IAM_SERVICE_ACCOUNT", "people and tools: without a password"),
    ("silo", "database-administrator", "name", "paybill-operator@example-cell.iam", "the account of the foundation"),
    ("silo", "database-administrator", "password", None, "there is none"),
    ("silo", "network", "autoCreateSubnetworks", False, "no subnetworks in other regions"),
    ("silo", "network", "deleteDefaultRoutesOnCreate", True, "no way to the internet"),
    ("silo", "subnetwork", "privateIpGoogleAccess", True, "Google's services without the internet"),
    ("silo", "subnetwork", "logConfig.flowSampling", 0.5, "what flowed is written down"),
    ("silo", "deny-ingress", "denies.0.protocol", "all", "nothing comes in"),
    ("silo", "deny-egress", "denies.0.protocol", "all", "nothing goes out"),
    ("silo", "services-range", "purpose", "VPC_PEERING", "a range for Google's own side"),
    ("silo", "services", "deletionPolicy", "REMOVE_PEERING", "the connection alone would block the network for days"),
    ("silo", "secret", "deletionProtection", True, "not deleted by the engine"),
    ("silo", "secret", "versionDestroyTtl", "2592000s", "a destroyed version can be had back"),
    (
        "silo",
        "secret",
        "replication.userManaged.replicas.0.customerManagedEncryption.kmsKeyName",
        KEY,
        "encrypted with the tenant's key",
    ),
    ("silo", "secret", "replication.userManaged.replicas.0.location", "europe-west1", "in the cell's region alone"),
    (
        "pooled",
        "identity-pods",
        "member",
        "serviceAccount:example-cell.svc.id.goog[paybill-pool-example/tenant]",
        "one ServiceAccount of one namespace",
    ),
    ("pooled", "bucket", "name", "pb-k3x9m2qd/", "a folder in the shared bucket"),
    ("pooled", "bucket", "forceDestroy", False, "a folder with objects is not deleted"),
    ("pooled", "bucket-pods", "managedFolder", "pb-k3x9m2qd/", "the right to this folder alone"),
]

NAMES = {
    "Account": ("accountId", "[a-z](?:[-a-z0-9]{4,28}[a-z0-9])"),
    "Bucket": ("name", "[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]"),
    "CryptoKey": ("name", "[a-zA-Z0-9_-]{1,63}"),
    "DatabaseInstance": ("name", "[a-z][a-z0-9-]{0,80}[a-z0-9]"),
    "Secret": ("secretId", "[a-zA-Z0-9_-]{1,255}"),
    "Network": ("name", "[a-z]([-a-z0-9]{0,61}[a-z0-9])"),
    "Firewall": ("name", "[a-z]([-a-z0-9]{0,61}[a-z0-9])"),
    "GlobalAddress": ("name", "[a-z]([-a-z0-9]{0,61}[a-z0-9])"),
    "ForwardingRule": ("name", "[a-z]([-a-z0-9]{0,19})"),  # of Private Service Connect: at most 20
}

NO_LABELS = {
    "gcp:compute/firewall:Firewall",
    "gcp:compute/network:Network",
    "gcp:compute/subnetwork:Subnetwork",
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    "gcp:secretmanager/secretIamMember:SecretIamMember",
    "gcp:serviceaccount/account:Account",
    "gcp:serviceaccount/iAMMember:IAMMember",
    "gcp:servicenetworking/connection:Connection",
    "gcp:sql/databaseInstance:DatabaseInstance",  # in its settings, as userLabels
    "gcp:sql/user:User",
    "gcp:storage/bucketIAMMember:BucketIAMMember",
}


@pytest.mark.parametrize(("scene", "name", "path", "value", "reason"), MUST, ids=[f"{m[1]}.{m[2]}" for m in MUST])
def test_it_must_be_so(scene, name, path, value, reason):
    assert clouds.setting(clouds.resources(clouds.stack("GCP", scene))[name], path) == value, reason


def test_what_holds_data_is_known():
    held = {"key", "bucket", "database", "administrator-password", "secret"}
    assert clouds.holding(clouds.stack("GCP", "silo")) == held
    assert clouds.holding(clouds.stack("GCP", "pooled")) == {"bucket", "secret"}


def test_databases_and_networks_may_take_long():
    rendered = clouds.resources(clouds.stack("GCP", "silo"))
    assert rendered["database"].options.timeouts == rendered["network"].options.timeouts == clouds.SLOW
    assert rendered["secret"].options.timeouts == clouds.USUAL


def test_storage_that_grew_is_no_reason_to_replace_a_server():
    assert clouds.resources(clouds.stack("GCP", "silo"))["database"].options.ignore_changes == ("settings.diskSize",)


def test_everything_that_can_carry_the_tenants_marks_does():
    rendered = clouds.stack("GCP", "silo")
    assert clouds.unmarked(rendered, "labels") == NO_LABELS
    assert {one for one in NO_LABELS if clouds.takes("pulumi_gcp", one, "labels")} == set()
    server = clouds.resources(rendered)["database"]
    assert clouds.setting(server, "settings.userLabels")["paybill-tenant"] == "k3x9m2qd"


def test_labels_are_in_the_letters_that_google_takes():
    labels = clouds.setting(clouds.resources(clouds.stack("GCP", "silo"))["bucket"], "labels")
    assert labels["paybill-tier"] == "gold"  # the Plan says Gold
    assert all(re.fullmatch("[a-z0-9_-]{0,63}", value) for value in labels.values())


def test_names_are_within_googles_limits():
    rendered = clouds.stack("GCP", "silo")
    kinds = {one.type.rpartition(":")[2]: one for one in clouds.resources(rendered).values()}
    for kind, (field, pattern) in NAMES.items():
        assert re.fullmatch(pattern, clouds.setting(kinds[kind], field)), kind


def test_what_is_encrypted_waits_until_its_service_may_use_the_key():
    rendered = clouds.resources(clouds.stack("GCP", "silo"))
    for name in ("bucket", "database", "secret"):
        assert {rendered[f"key-{one}"].address for one in ("storage", "sql", "secrets")} <= set(
            rendered[name].depends_on
        )


def test_the_clouds_own_protections_are_lifted_before_a_destruction_that_was_asked_for():
    lifted = clouds.resources(clouds.stack("GCP", "lifted"))
    assert clouds.setting(lifted["database"], "deletionProtection") is False
    assert clouds.setting(lifted["database"], "settings.deletionProtectionEnabled") is False
    assert clouds.setting(lifted["secret"], "deletionProtection") is False
    assert {clouds.setting(lifted[name], "deletionPolicy") for name in ("key", "bucket", "database", "secret")} == {
        "DELETE"
    }


def test_the_operator_logs_in_by_a_password_and_checks_the_servers_own_authority():
    """Not a name: the host is an address, and the certificate names none."""
    database = clouds.stack("GCP", "silo").outputs.database
    assert database is not None
    assert (database.admin_user, database.admin_password, database.admin_secret) == ("paybill", "[secret]", None)
    assert database.sslmode == "verify-ca"
    assert database.ca is not None
