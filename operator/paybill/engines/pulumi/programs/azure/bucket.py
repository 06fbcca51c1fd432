"""The tenant's object storage: a container in an account of its own, or in the shared one."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import managedidentity, storage

from paybill.engines.pulumi.programs.azure import endpoint, roles
from paybill.engines.pulumi.programs.azure.key import Vault
from paybill.engines.pulumi.programs.azure.network import Grounds
from paybill.engines.pulumi.programs.azure.scope import Place, lock
from paybill.engines.pulumi.programs.stack import Stack

KEEP_DAYS = 30
RESTORE_DAYS = 29
"""Less than KEEP_DAYS, as Azure demands: what is restored must not have been purged."""


def shared(stack: Stack, place: Place, who: managedidentity.UserAssignedIdentity) -> pulumi.Output[str]:
    """A container in the pooled tenants' account, and the right to it alone; gives ``account/container``."""
    return _container(stack, place, stack.inputs.required("storage_account"), stack.name, who)


def build(
    stack: Stack, place: Place, grounds: Grounds, vault: Vault, who: managedidentity.UserAssignedIdentity
) -> pulumi.Output[str]:
    """An account with one container; gives ``account/container``."""
    account = _account(stack, place, vault)
    keeping = _keeping(stack, place, account)
    container = _container(stack, place, account.name, "data", who, after=[keeping])
    endpoint.build(
        stack, place, grounds, "bucket", target=account.id, part="blob", zone=stack.inputs.required("blob_zone_id")
    )
    lock(stack, "bucket", account)
    return container


def account_name(stack: Stack) -> str:
    """3 to 24 lower-case letters and digits: the stem without its dash."""
    return stack.name.replace("-", "")


def _account(stack: Stack, place: Place, vault: Vault) -> storage.StorageAccount:
    return storage.StorageAccount(
        "bucket",
        storage.StorageAccountArgs(
            resource_group_name=place.group,
            location=place.location,
            account_name=account_name(stack),
            kind=storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name=storage.SkuName.STANDARD_ZRS),
            access_tier=storage.AccessTier.HOT,
            allow_blob_public_access=False,
            allow_shared_key_access=False,
            allow_cross_tenant_replication=False,
            allowed_copy_scope=storage.AllowedCopyScope.AAD,
            default_to_o_auth_authentication=True,
            enable_https_traffic_only=True,
            is_local_user_enabled=False,
            is_sftp_enabled=False,
            minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
            public_network_access=storage.PublicNetworkAccess.DISABLED,
            network_rule_set=storage.NetworkRuleSetArgs(
                default_action=storage.DefaultAction.DENY, bypass=storage.Bypass.NONE
            ),
            identity=storage.IdentityArgs(
                type=storage.IdentityType.USER_ASSIGNED, user_assigned_identities=[vault.user.id]
            ),
            encryption=_encryption(vault),
            tags=stack.tags,
        ),
        stack.holding(after=[vault.usable]),
    )


def _encryption(vault: Vault) -> storage.EncryptionArgs:
    """The tenant's key, without a version: a rotated key is taken up by itself."""
    return storage.EncryptionArgs(
        key_source=storage.KeySource.MICROSOFT_KEYVAULT,
        key_vault_properties=storage.KeyVaultPropertiesArgs(
            key_name=vault.key.name, key_vault_uri=vault.vault.properties.vault_uri
        ),
        encryption_identity=storage.EncryptionIdentityArgs(encryption_user_assigned_identity=vault.user.id),
        require_infrastructure_encryption=True,
        services=storage.EncryptionServicesArgs(
            blob=storage.EncryptionServiceArgs(enabled=True, key_type=storage.KeyType.ACCOUNT)
        ),
    )


def _keeping(stack: Stack, place: Place, account: storage.StorageAccount) -> storage.BlobServiceProperties:
    """Old versions and deleted blobs and containers can be had back for a month."""
    kept = storage.DeleteRetentionPolicyArgs(enabled=True, days=KEEP_DAYS, allow_permanent_delete=False)
    return storage.BlobServiceProperties(
        "bucket-keeping",
        storage.BlobServicePropertiesArgs(
            resource_group_name=place.group,
            account_name=account.name,
            blob_services_name="default",
            is_versioning_enabled=True,
            change_feed=storage.ChangeFeedArgs(enabled=True, retention_in_days=KEEP_DAYS),
            delete_retention_policy=kept,
            container_delete_retention_policy=storage.DeleteRetentionPolicyArgs(enabled=True, days=KEEP_DAYS),
            restore_policy=storage.RestorePolicyPropertiesArgs(enabled=True, days=RESTORE_DAYS),
        ),
        stack.carrying(),
    )


def _container(
    stack: Stack,
    place: Place,
    account: pulumi.Input[str],
    name: str,
    who: managedidentity.UserAssignedIdentity,
    after: list[pulumi.Resource] | None = None,
) -> pulumi.Output[str]:
    made = storage.BlobContainer(
        "container",
        storage.BlobContainerArgs(
            resource_group_name=place.group,
            account_name=account,
            container_name=name,
            public_access=storage.PublicAccess.NONE,
            # Metadata, since a container takes no tags; its keys may have no dashes.
            metadata={key.replace("-", "_"): value for key, value in stack.tags.items()},
        ),
        stack.holding(after=after or ()),
    )
    roles.grant(stack, "container", role="BlobData", principal=who.principal_id, scope=made.id)
    return pulumi.Output.concat(account, "/", made.name)
