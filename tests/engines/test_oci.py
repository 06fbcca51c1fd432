"""Oracle Cloud: what must be so, one by one."""

import ipaddress
import re

import pytest

from tests.engines import clouds
from tests.engines.rendered import inputs

MUST: list[tuple[str, str, str, object, str]] = [
    ("silo", "compartment", "enableDelete", True, "else a compartment of that name is silently taken over, and stays"),
    ("silo", "compartment", "name", "pb-k3x9m2qd-g1", "the name stays taken, so it bears a mark of its own"),
    ("silo", "vault", "vaultType", "DEFAULT", "virtual private vaults cost thousands a month"),
    ("silo", "key", "protectionMode", "HSM", "the key never leaves the hardware"),
    ("silo", "key", "keyShape", {"algorithm": "AES", "length": 32}, "AES-256"),
    ("silo", "bucket", "accessType", "NoPublicAccess", "no public access"),
    ("silo", "bucket", "kmsKeyId", "key-key", "encrypted with the tenant's key"),
    ("silo", "bucket", "versioning", "Enabled", "overwritten and deleted objects can be had back"),
    ("silo", "bucket", "retentionRules", None, "Oracle refuses them beside versions"),
    ("silo", "network-default", "ingressSecurityRules", [], "the default lets in SSH from everywhere"),
    ("silo", "network-default", "egressSecurityRules", [], "and lets out everything"),
    ("silo", "subnet", "prohibitPublicIpOnVnic", True, "no public addresses"),
    ("silo", "subnet", "prohibitInternetIngress", True, "nothing from the internet"),
    ("silo", "database-from-cluster", "source", "10.0.0.0/16", "the cluster comes in"),
    ("silo", "database-from-cluster", "direction", "INGRESS", "comes in"),
    ("silo", "database-from-cluster", "tcpOptions.destinationPortRange", {"max": 5432, "min": 5432}, "to Postgres"),
    ("silo", "routes", "routeRules.0.destinationType", "SERVICE_CIDR_BLOCK", "Oracle's services, not the internet"),
    ("silo", "routes", "routeRules.1.destination", "10.0.0.0/16", "the cluster, no other tenant"),
    ("silo", "database", "networkDetails.nsgIds", ["networksecuritygroup-database-rules"], "behind the rules"),
    ("silo", "database", "storageDetails.kmsKeyId", "key-key", "encrypted with the tenant's key"),
    ("silo", "database", "storageDetails.isRegionallyDurable", True, "survives the loss of a zone"),
    ("silo", "database", "credentials.passwordDetails.passwordType", "VAULT_SECRET", "read from the vault"),
    ("silo", "database", "credentials.passwordDetails.password", None, "and not told"),
    ("silo", "database", "credentials.passwordDetails.secretVersion", "1", "the first one stays"),
    ("silo", "database", "managementPolicy.backupPolicy.kind", "DAILY", "backups"),
    ("silo", "database", "managementPolicy.backupPolicy.retentionDays", 7, "for a week at least"),
    ("silo", "database", "instanceCount", 2, "a standby"),
    ("bridge-server", "database", "instanceCount", 1, "no standby where the Plan has none"),
    ("silo", "database", "allowMajorVersionUpgrade", True, "another version is an upgrade, not an empty system"),
    ("silo", "database-password", "enableAutoGeneration", None, "the operator must know it: not drawn by Oracle"),
    ("silo", "database-password", "secretContent.content", "[secret]", "encrypted in the state"),
    ("silo", "database-password", "secretContent.contentType", "BASE64", "as Oracle takes it"),
    ("silo", "database-password", "keyId", "key-key", "encrypted with the tenant's key"),
    ("silo", "secret", "keyId", "key-key", "encrypted with the tenant's key"),
    ("silo", "secret", "secretRules.0.ruleType", "SECRET_REUSE_RULE", "no old content comes back"),
    ("bridge", "secret", "vaultId", "ocid1.vault.oc1.eu-frankfurt-1.example", "vaults are few: Bridge shares one"),
    ("bridge", "secret", "keyId", "key-key", "but not its key"),
]

NAMES = {
    "Compartment": ("name", "[a-zA-Z0-9._-]{1,100}"),
    "Policy": ("name", "[a-zA-Z0-9._-]{1,100}"),
    "Bucket": ("name", "[a-zA-Z0-9._-]{1,256}"),
    "Secret": ("secretName", "[a-zA-Z0-9._-]{1,255}"),
    "Vcn": ("dnsLabel", "[a-zA-Z][a-zA-Z0-9]{0,14}"),
    "Subnet": ("dnsLabel", "[a-zA-Z][a-zA-Z0-9]{0,14}"),
}

NO_TAGS = {"oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule"}


@pytest.mark.parametrize(("scene", "name", "path", "value", "reason"), MUST, ids=[f"{m[1]}.{m[2]}" for m in MUST])
def test_it_must_be_so(scene, name, path, value, reason):
    assert clouds.setting(clouds.resources(clouds.stack("OCI", scene))[name], path) == value, reason


def test_what_holds_data_is_known():
    assert clouds.holding(clouds.stack("OCI", "silo")) == {
        "compartment",
        "vault",
        "key",
        "bucket",
        "database",
        "administrator-password",  # the data stays, so the way to it does
        "database-password",
        "secret",
    }
    assert clouds.holding(clouds.stack("OCI", "pooled")) == {"secret"}


def test_databases_and_networks_may_take_long():
    rendered = clouds.resources(clouds.stack("OCI", "silo"))
    assert rendered["database"].options.timeouts == rendered["network"].options.timeouts == clouds.SLOW
    assert rendered["secret"].options.timeouts == clouds.USUAL


@pytest.mark.parametrize("name", ["secret", "database-password"])
def test_what_others_write_into_a_secret_is_left_alone(name):
    assert clouds.resources(clouds.stack("OCI", "silo"))[name].options.ignore_changes == ("secretContent",)


def test_everything_that_can_carry_the_tenants_marks_does():
    assert clouds.unmarked(clouds.stack("OCI", "silo"), "freeformTags") == NO_TAGS
    assert {one for one in NO_TAGS if clouds.takes("pulumi_oci", one, "freeform_tags")} == set()


def test_names_are_within_oracles_limits():
    rendered = clouds.stack("OCI", "silo")
    for one in clouds.resources(rendered).values():
        kind = one.type.rpartition(":")[2]
        if kind in NAMES:
            field, pattern = NAMES[kind]
            assert re.fullmatch(pattern, clouds.setting(one, field)), one.name


def test_pods_get_one_bucket_and_one_secret_and_a_pooled_ones_only_its_prefix():
    silo, pooled = (
        clouds.setting(clouds.resources(clouds.stack("OCI", scene))["identity"], "statements")
        for scene in ("silo", "pooled")
    )
    for statements, namespace in ((silo, "t-k3x9m2qd"), (pooled, "paybill-pool-example")):
        principal = (
            "where all {request.principal.type = 'workload', "
            "request.principal.cluster_id = 'ocid1.cluster.oc1.eu-frankfurt-1.example', "
            f"request.principal.namespace = '{namespace}', request.principal.service_account = 'tenant', "
        )
        assert all(principal in statement for statement in statements)
    assert silo[0].endswith("target.bucket.name = 'pb-k3x9m2qd'}")
    assert pooled[0].endswith("target.bucket.name = 'cell-pooled', target.object.name = /pb-k3x9m2qd*/}")
    assert silo[1].endswith("target.secret.id = 'secret-secret'}")


def test_only_the_services_that_encrypt_may_use_the_key():
    silo, bridge = (
        clouds.setting(clouds.resources(clouds.stack("OCI", scene))["key-users"], "statements")
        for scene in ("silo", "bridge")
    )
    subjects = [statement.partition(" to use keys ")[0] for statement in silo]
    assert subjects == ["allow service objectstorage-eu-frankfurt-1", "allow dynamic-group postgres-systems"]
    assert len(bridge) == 1
    assert all(statement.endswith("where target.key.id = 'key-key'") for statement in (*silo, *bridge))


def test_the_operator_is_told_the_password_and_where_it_is():
    database = clouds.stack("OCI", "silo").outputs.database
    assert database is not None
    assert (database.admin_user, database.admin_password) == ("paybill", "[secret]")
    assert (database.sslmode, database.ca) == ("require", None)
    assert database.admin_secret == "secret-database-password"


RANGES = """
import json, sys
from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.oci.network import own_range
asked = json.load(sys.stdin)
print(json.dumps([own_range(StackInputs.model_validate(asked["inputs"] | one)) for one in asked["each"]]))
"""


def test_the_range_of_a_network_follows_from_the_tenant_and_can_be_given():
    # given: many tenants, one of them twice, and one with a range of its own
    given = inputs("OCI", "Silo").model_dump(mode="json")
    whole = {"silo_range": "10.64.0.0/10"}
    each = [{"tenant_id": f"{number:08d}", "foundation": whole} for number in (*range(200), 0)]
    each.append({"tenant_id": "00000000", "foundation": whole | {"silo_range_00000000": "10.200.0.0/26"}})

    # when
    *ranges, again, own = clouds.evaluated(RANGES, {"inputs": given, "each": each})

    # then
    assert again == ranges[0]
    assert own == "10.200.0.0/26"
    assert len(set(ranges)) >= 198  # 200 of 65,536 meet once in three times
    networks = [ipaddress.ip_network(one) for one in ranges]
    assert all(one.subnet_of(ipaddress.ip_network("10.64.0.0/10")) and one.prefixlen == 26 for one in networks)
