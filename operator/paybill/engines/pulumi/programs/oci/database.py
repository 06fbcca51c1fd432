"""The tenant's own Postgres system, in a private subnet.

Databases and logins in it are not made here: the operator makes them over SQL, as it does on every server. It logs in
with a password that is drawn here (password.py) and put in the vault, where the system reads it. Oracle's systems
refuse every connection without TLS.
"""

from __future__ import annotations

import pulumi
from pulumi_oci import identity, psql, vault

from paybill.desired.stack import DatabaseInputs
from paybill.engines.pulumi.programs import password
from paybill.engines.pulumi.programs.oci import secret
from paybill.engines.pulumi.programs.oci.key import Key
from paybill.engines.pulumi.programs.oci.network import Grounds
from paybill.engines.pulumi.programs.stack import Handed, Stack

ADMIN = "paybill"
SHAPE = "VM.Standard.E5.Flex"
SIZES = ((200, 2), (400, 4), (800, 8))
"""Processors by the connections they carry."""
MEMORY_PER_PROCESSOR_GB = 16
IOPS = "75000"
"""The least that can be bought."""
MOST_BACKUP_DAYS = 35


def build(stack: Stack, wanted: DatabaseInputs, compartment: pulumi.Input[str], grounds: Grounds, key: Key) -> Handed:
    """The system with its parameters and its administrator's password; gives what DatabaseOutput takes."""
    login = password.drawn(stack)
    kept = secret.password(stack, compartment, key, login)
    readable = _readable(stack, compartment, kept)
    system = psql.DbSystem(
        "database",
        psql.DbSystemArgs(
            compartment_id=compartment,
            display_name=stack.name,
            description=f"Tenant {stack.inputs.tenant_id}",
            system_type="OCI_OPTIMIZED_STORAGE",
            db_version=wanted.version,
            allow_major_version_upgrade=True,  # otherwise another version would be another, empty system
            shape=SHAPE,
            instance_ocpu_count=_processors(wanted),
            instance_memory_size_in_gbs=_processors(wanted) * MEMORY_PER_PROCESSOR_GB,
            instance_count=2 if wanted.high_availability else 1,
            config_id=_parameters(stack, wanted, compartment).id,
            storage_details=psql.DbSystemStorageDetailsArgs(
                system_type="OCI_OPTIMIZED_STORAGE", is_regionally_durable=True, iops=IOPS, kms_key_id=key.key_id
            ),
            network_details=psql.DbSystemNetworkDetailsArgs(
                subnet_id=grounds.subnet_id, nsg_ids=[grounds.security_group_id], is_reader_endpoint_enabled=False
            ),
            credentials=_credentials(kept),
            management_policy=_management(wanted),
            freeform_tags=stack.tags,
        ),
        stack.holding(slow=True, after=[*key.usable, readable]),
    )
    return {
        "host": system.network_details.apply(lambda placed: placed.primary_db_endpoint_private_ip),
        "port": 5432,
        "admin_user": ADMIN,
        "admin_password": login,
        "admin_secret": kept.id,
        # The authority is told by a look-up only (see CANNOT).
        "sslmode": "require",
    }


def _processors(wanted: DatabaseInputs) -> int:
    return next((count for most, count in SIZES if wanted.connections <= most), SIZES[-1][1])


def _credentials(kept: vault.Secret) -> psql.DbSystemCredentialsArgs:
    return psql.DbSystemCredentialsArgs(
        username=ADMIN,
        password_details=psql.DbSystemCredentialsPasswordDetailsArgs(
            password_type="VAULT_SECRET",  # noqa: S106 - where the password is
            secret_id=kept.id,
            secret_version="1",  # noqa: S106 - which one it was made with
        ),
    )


def _management(wanted: DatabaseInputs) -> psql.DbSystemManagementPolicyArgs:
    days = min(wanted.backup_days, MOST_BACKUP_DAYS)
    return psql.DbSystemManagementPolicyArgs(
        backup_policy=psql.DbSystemManagementPolicyBackupPolicyArgs(
            kind="DAILY", retention_days=days, backup_start="02:00"
        ),
    )


def _parameters(stack: Stack, wanted: DatabaseInputs, compartment: pulumi.Input[str]) -> psql.Configuration:
    """What may be set and is not Oracle's own to set: TLS, the passwords' hashes and much else are fixed."""
    values = {"max_connections": str(max(100, 2 * wanted.connections))}
    return psql.Configuration(
        "database-parameters",
        psql.ConfigurationArgs(
            compartment_id=compartment,
            display_name=f"{stack.name}-pg{wanted.version}",
            description=f"Tenant {stack.inputs.tenant_id}",
            db_version=wanted.version,
            shape=SHAPE,
            is_flexible=True,
            db_configuration_overrides=psql.ConfigurationDbConfigurationOverridesArgs(
                items=[
                    psql.ConfigurationDbConfigurationOverridesItemArgs(config_key=name, overriden_config_value=value)
                    for name, value in values.items()
                ]
            ),
            freeform_tags=stack.tags,
        ),
        stack.carrying(),
    )


def _readable(stack: Stack, compartment: pulumi.Input[str], kept: vault.Secret) -> identity.Policy:
    """The database reads its administrator's password, and no other secret."""
    inputs = stack.inputs
    return identity.Policy(
        "database-password-reader",
        identity.PolicyArgs(
            compartment_id=compartment,
            name=f"{inputs.suffixed}-database",
            description=f"The database of tenant {inputs.tenant_id} reads its administrator's password",
            statements=[
                pulumi.Output.format(
                    "allow {0} to read secret-bundles in compartment id {1} where target.secret.id = '{2}'",
                    inputs.required("database_principal"),
                    compartment,
                    kept.id,
                )
            ],
            freeform_tags=stack.tags,
        ),
        stack.carrying(),
    )
