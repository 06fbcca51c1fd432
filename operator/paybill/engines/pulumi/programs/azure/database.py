"""The tenant's own Postgres server (flexible server), without a public door.

Databases and logins in it are not made here: the operator makes them over SQL, as it does on every server. It logs in
with a password that is drawn here (password.py), as the administrator that Azure asks for when it makes the server; the
logins it makes use passwords too. An Entra principal is an administrator beside it, for people and their tools.
"""

from __future__ import annotations

import pulumi
from pulumi_azure_native import dbforpostgresql as postgres

from paybill.desired.stack import DatabaseInputs
from paybill.engines.pulumi.programs import password
from paybill.engines.pulumi.programs.azure.key import Vault
from paybill.engines.pulumi.programs.azure.network import Grounds
from paybill.engines.pulumi.programs.azure.scope import Place, lock
from paybill.engines.pulumi.programs.stack import Handed, Stack

ADMIN = "paybill"
SIZES = ((400, "Standard_D2ds_v5"), (800, "Standard_D4ds_v5"), (1600, "Standard_D8ds_v5"), (5000, "Standard_D16ds_v5"))
"""The sizes by the connections they carry; none is burstable, because those have no standby."""
STORAGE = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""The sizes that Azure sells, in GiB."""
PARAMETERS = {
    "require_secure_transport": "on",
    "ssl_min_protocol_version": "TLSv1.2",
    "password_encryption": "scram-sha-256",
    "log_connections": "on",
    "log_disconnections": "on",
}
MOST_BACKUP_DAYS = 35


def build(stack: Stack, wanted: DatabaseInputs, place: Place, grounds: Grounds, vault: Vault) -> Handed:
    """The server, its parameters and its administrators; gives what DatabaseOutput takes."""
    login = password.drawn(stack)
    server = postgres.Server(
        "database",
        _arguments(stack, wanted, place, grounds, vault, login),
        # The password is not ignored: the server has the one that is handed over, whatever was set in the portal.
        stack.holding(slow=True, after=[vault.usable, *grounds.ready]),
    )
    last: pulumi.Resource = server
    for name, value in PARAMETERS.items():
        # One after the other: a server that is busy with one refuses the next.
        last = postgres.Configuration(
            f"database-{name.replace('_', '-')}",
            postgres.ConfigurationArgs(
                resource_group_name=place.group,
                server_name=server.name,
                configuration_name=name,
                value=value,
                source="user-override",
            ),
            stack.carrying(slow=True, after=[last]),
        )
    _administrator(stack, place, server, after=last)
    lock(stack, "database", server)
    return {
        "host": server.fully_qualified_domain_name,
        "port": 5432,
        "admin_user": ADMIN,
        "admin_password": login,
        # The certificate is a public authority's and names the host: there is none to hand over.
        "sslmode": "verify-full",
    }


def _arguments(
    stack: Stack, wanted: DatabaseInputs, place: Place, grounds: Grounds, vault: Vault, login: pulumi.Output[str]
) -> postgres.ServerArgs:
    return postgres.ServerArgs(
        resource_group_name=place.group,
        location=place.location,
        server_name=stack.name,
        create_mode=postgres.CreateMode.CREATE,
        version=wanted.version,
        sku=postgres.SkuArgs(name=_size(wanted.connections), tier=postgres.SkuTier.GENERAL_PURPOSE),
        storage=postgres.StorageArgs(
            storage_size_gb=next((size for size in STORAGE if size >= wanted.storage_gib), STORAGE[-1]),
            auto_grow=postgres.StorageAutoGrow.ENABLED,
        ),
        administrator_login=ADMIN,
        administrator_login_password=login,
        auth_config=postgres.AuthConfigArgs(
            active_directory_auth=postgres.MicrosoftEntraAuth.ENABLED,
            password_auth=postgres.PasswordBasedAuth.ENABLED,
            tenant_id=stack.inputs.required("directory"),
        ),
        network=postgres.NetworkArgs(
            delegated_subnet_resource_id=grounds.database_subnet_id,
            private_dns_zone_arm_resource_id=grounds.database_zone_id,
            public_network_access=postgres.ServerPublicNetworkAccessState.DISABLED,
        ),
        high_availability=postgres.HighAvailabilityArgs(
            mode=postgres.PostgreSqlFlexibleServerHighAvailabilityMode.ZONE_REDUNDANT
            if wanted.high_availability
            else postgres.PostgreSqlFlexibleServerHighAvailabilityMode.DISABLED
        ),
        backup=_backup(stack, wanted),
        identity=_identities(stack, vault),
        data_encryption=_encryption(stack, vault),
        tags=stack.tags,
    )


def _size(connections: int) -> str:
    return next((size for most, size in SIZES if connections <= most), SIZES[-1][1])


def _geo(stack: Stack) -> tuple[str, str] | None:
    """The key in the paired region and the identity that uses it: backups go there only if both are given."""
    given = stack.inputs.foundation
    key, identity = given.get("geo_key_uri"), given.get("geo_identity_id")
    return (key, identity) if key and identity else None


def _backup(stack: Stack, wanted: DatabaseInputs) -> postgres.BackupArgs:
    either = postgres.GeographicallyRedundantBackup
    return postgres.BackupArgs(
        backup_retention_days=min(wanted.backup_days, MOST_BACKUP_DAYS),
        geo_redundant_backup=either.ENABLED if _geo(stack) else either.DISABLED,
    )


def _identities(stack: Stack, vault: Vault) -> postgres.UserAssignedIdentityArgs:
    geo = _geo(stack)
    users = pulumi.Output.all(vault.user.id, *([geo[1]] if geo else []))
    return postgres.UserAssignedIdentityArgs(
        type=postgres.IdentityType.USER_ASSIGNED,
        user_assigned_identities=users.apply(lambda ids: {one: postgres.UserIdentityArgs() for one in ids}),
    )


def _encryption(stack: Stack, vault: Vault) -> postgres.DataEncryptionArgs:
    """The tenant's key, by its URI without a version: the server takes up a rotated key by itself (since May 2025)."""
    geo = _geo(stack)
    return postgres.DataEncryptionArgs(
        type=postgres.DataEncryptionType.AZURE_KEY_VAULT,
        primary_key_uri=vault.key.key_uri,
        primary_user_assigned_identity_id=vault.user.id,
        geo_backup_key_uri=geo[0] if geo else None,
        geo_backup_user_assigned_identity_id=geo[1] if geo else None,
    )


def _administrator(stack: Stack, place: Place, server: postgres.Server, after: pulumi.Resource) -> None:
    """The Entra principal of the Cell's foundation."""
    inputs = stack.inputs
    postgres.Administrator(
        "database-administrator",
        postgres.AdministratorArgs(
            resource_group_name=place.group,
            server_name=server.name,
            object_id=inputs.required("admin_object_id"),
            principal_name=inputs.required("admin_name"),
            principal_type=postgres.PrincipalType.SERVICE_PRINCIPAL,
            tenant_id=inputs.required("directory"),
        ),
        stack.carrying(slow=True, after=[after]),
    )
