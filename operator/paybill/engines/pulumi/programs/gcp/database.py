"""The tenant's own Postgres server (Cloud SQL), without a public address.

Databases and logins in it are not made here: the operator makes them over SQL, as it does on every server. It logs in
as a built-in user with a password that is drawn here (password.py); Cloud SQL makes each such user a cloudsqlsuperuser,
who may create roles and databases. A service account is an administrator beside it, for people and their tools.
"""

from __future__ import annotations

import pulumi
from pulumi_gcp import compute, sql

from paybill.desired.stack import DatabaseInputs
from paybill.engines.pulumi.programs import password
from paybill.engines.pulumi.programs.gcp.key import Key, deletion_policy
from paybill.engines.pulumi.programs.gcp.labels import labels
from paybill.engines.pulumi.programs.gcp.network import Grounds
from paybill.engines.pulumi.programs.stack import Handed, Stack

ADMIN = "paybill"
TIERS = ((100, "db-custom-1-3840"), (200, "db-custom-2-7680"), (400, "db-custom-4-15360"), (800, "db-custom-8-30720"))
"""The machines (processors and MiB) by the connections they carry."""
FLAGS = {
    "cloudsql.iam_authentication": "on",
    "log_connections": "on",
    "log_disconnections": "on",
    "password_encryption": "scram-sha-256",
}
LOG_DAYS = 7
"""Days of transaction logs, for recovery to a point in time: the most that this edition keeps."""
FINAL_DAYS = 30


def build(stack: Stack, wanted: DatabaseInputs, grounds: Grounds, key: Key) -> Handed:
    """The server, its administrators and the way to it; gives what DatabaseOutput takes.

    Storage grows by itself and is left as it grew: to the provider a smaller number is a reason to replace the server.
    """
    server = sql.DatabaseInstance(
        "database",
        sql.DatabaseInstanceArgs(
            name=stack.inputs.suffixed,  # taken for about a week after a deletion
            project=stack.inputs.required("project"),
            region=stack.inputs.region,
            database_version=f"POSTGRES_{wanted.version}",
            encryption_key_name=key.key.id,
            deletion_protection=stack.guarded,
            deletion_policy=deletion_policy(stack),
            settings=_settings(stack, wanted, grounds),
        ),
        stack.holding(slow=True, after=[*key.usable, *grounds.ready], ignore=["settings.diskSize"]),
    )
    login = password.drawn(stack)
    _administrators(stack, server, login)
    host = _door(stack, server) if grounds.own else server.private_ip_address
    return {
        "host": host,
        "port": 5432,
        "admin_user": ADMIN,
        "admin_password": login,
        # The host is an address, and a certificate names none (it names project:instance), so a name cannot be checked.
        # The authority is this server's alone: whoever has a certificate of it is this server.
        "sslmode": "verify-ca",
        "ca": server.server_ca_certs.apply(lambda certs: certs[0].cert if certs else None),
    }


def _settings(stack: Stack, wanted: DatabaseInputs, grounds: Grounds) -> sql.DatabaseInstanceSettingsArgs:
    return sql.DatabaseInstanceSettingsArgs(
        tier=next((tier for most, tier in TIERS if wanted.connections <= most), TIERS[-1][1]),
        edition="ENTERPRISE",  # newer versions default to another, which has other machines
        availability_type="REGIONAL" if wanted.high_availability else "ZONAL",
        disk_type="PD_SSD",
        disk_size=max(10, wanted.storage_gib),
        disk_autoresize=True,
        deletion_protection_enabled=stack.guarded,
        retain_backups_on_delete=True,
        final_backup_config=sql.DatabaseInstanceSettingsFinalBackupConfigArgs(enabled=True, retention_days=FINAL_DAYS),
        backup_configuration=_backup(stack, wanted),
        ip_configuration=_addresses(stack, grounds),
        database_flags=[
            sql.DatabaseInstanceSettingsDatabaseFlagArgs(name=name, value=value)
            for name, value in (FLAGS | {"max_connections": str(max(100, 2 * wanted.connections))}).items()
        ],
        insights_config=sql.DatabaseInstanceSettingsInsightsConfigArgs(
            query_insights_enabled=True, record_client_address=False, record_application_tags=False
        ),
        user_labels=labels(stack.inputs),
    )


def _backup(stack: Stack, wanted: DatabaseInputs) -> sql.DatabaseInstanceSettingsBackupConfigurationArgs:
    return sql.DatabaseInstanceSettingsBackupConfigurationArgs(
        enabled=True,
        location=stack.inputs.region,
        point_in_time_recovery_enabled=True,
        transaction_log_retention_days=LOG_DAYS,
        backup_retention_settings=sql.DatabaseInstanceSettingsBackupConfigurationBackupRetentionSettingsArgs(
            retained_backups=wanted.backup_days, retention_unit="COUNT"
        ),
    )


def _addresses(stack: Stack, grounds: Grounds) -> sql.DatabaseInstanceSettingsIpConfigurationArgs:
    connect = sql.DatabaseInstanceSettingsIpConfigurationPscConfigArgs(
        psc_enabled=True, allowed_consumer_projects=[stack.inputs.required("project")]
    )
    return sql.DatabaseInstanceSettingsIpConfigurationArgs(
        ipv4_enabled=False,
        private_network=grounds.network_id,
        ssl_mode="ENCRYPTED_ONLY",
        server_ca_mode="GOOGLE_MANAGED_INTERNAL_CA",
        psc_configs=[connect] if grounds.own else None,
    )


def _administrators(stack: Stack, server: sql.DatabaseInstance, login: pulumi.Output[str]) -> None:
    """The operator's login, and a service account, which logs in by its address without what all of them share."""
    inputs = stack.inputs
    first = sql.User(
        "database-login",
        sql.UserArgs(
            project=inputs.required("project"),
            instance=server.name,
            name=ADMIN,
            type="BUILT_IN",
            password=login,
            # The user owns what it made, so Postgres would refuse to drop it; it goes with the server.
            deletion_policy="ABANDON",
        ),
        stack.carrying(),
    )
    sql.User(
        "database-administrator",
        sql.UserArgs(
            project=inputs.required("project"),
            instance=server.name,
            name=inputs.required("admin_account").removesuffix(".gserviceaccount.com"),
            type="CLOUD_IAM_SERVICE_ACCOUNT",
            database_roles=["cloudsqlsuperuser"],
            deletion_policy="ABANDON",
        ),
        # One after the other: a server that is busy with one refuses the next.
        stack.carrying(after=[first]),
    )


def _door(stack: Stack, server: sql.DatabaseInstance) -> pulumi.Output[str]:
    """An address in the cluster's subnetwork that leads to the server and nowhere else."""
    inputs = stack.inputs
    address = compute.Address(
        "database-address",
        compute.AddressArgs(
            name=f"{stack.name}-database",
            project=inputs.required("project"),
            region=inputs.region,
            address_type="INTERNAL",
            subnetwork=inputs.required("cluster_subnetwork"),
            labels=labels(inputs),
        ),
        stack.options(),
    )
    compute.ForwardingRule(
        "database-door",
        compute.ForwardingRuleArgs(
            name=f"{stack.name}-database",
            project=inputs.required("project"),
            region=inputs.region,
            network=inputs.required("cluster_network"),
            ip_address=address.id,
            target=server.psc_service_attachment_link,
            load_balancing_scheme="",  # what the API asks for of a rule that leads to a service
            labels=labels(inputs),
        ),
        stack.options(),
    )
    return address.address
