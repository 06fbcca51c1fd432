"""The tenant's key in the region's shared ring, and the services that may use it on the tenant's behalf.

Neither a ring nor a key can be deleted; what ends a key is the destruction of its versions, after a waiting period.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import kms

from paybill.engines.pulumi.programs.gcp.labels import labels
from paybill.engines.pulumi.programs.stack import Stack

ROTATION = f"{90 * 86400}s"
WAITING = f"{30 * 86400}s"
AGENTS = {
    "storage": "service-{number}@gs-project-accounts.iam.gserviceaccount.com",
    "sql": "service-{number}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
    "secrets": "service-{number}@gcp-sa-secretmanager.iam.gserviceaccount.com",
}
"""The accounts as which Google's services encrypt; each project has its own."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """The key, and what must be there before a service can use it."""

    key: kms.CryptoKey
    usable: tuple[kms.CryptoKeyIAMMember, ...]


def build(stack: Stack) -> Key:
    """A key of the tenant's own; the rights of services stay as long as the data, which is unreadable without."""
    number = stack.inputs.required("project_number")
    key = kms.CryptoKey(
        "key",
        kms.CryptoKeyArgs(
            key_ring=stack.inputs.required("key_ring"),
            name=stack.inputs.suffixed,
            purpose="ENCRYPT_DECRYPT",
            rotation_period=ROTATION,
            destroy_scheduled_duration=WAITING,
            deletion_policy=deletion_policy(stack),
            version_template=kms.CryptoKeyVersionTemplateArgs(
                algorithm="GOOGLE_SYMMETRIC_ENCRYPTION", protection_level="SOFTWARE"
            ),
            labels=labels(stack.inputs),
        ),
        stack.holding(),
    )
    usable = tuple(
        kms.CryptoKeyIAMMember(
            f"key-{service}",
            kms.CryptoKeyIAMMemberArgs(
                crypto_key_id=key.id,
                role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
                member=f"serviceAccount:{agent.format(number=number)}",
            ),
            stack.carrying(),
        )
        for service, agent in AGENTS.items()
    )
    return Key(key=key, usable=usable)


def deletion_policy(stack: Stack) -> pulumi.Input[str]:
    """What the provider does when it is told to delete data: refuses, but for a destruction that was asked for."""
    return "PREVENT" if stack.guarded else "DELETE"
