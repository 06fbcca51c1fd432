"""Role assignments: who may do what with a tenant's resources.

Their names are ids that Azure wants unique; they are made of what they say, so that one that exists is found again.
"""

from __future__ import annotations

import uuid
from typing import Literal

import pulumi
from pulumi_azure_native import authorization

from paybill.engines.pulumi.programs.stack import Stack

Role = Literal["BlobData", "SecretReader", "KeyUser"]

IDS: dict[Role, str] = {
    "BlobData": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "SecretReader": "4633458b-17de-408a-b874-0445c86b69e6",
    "KeyUser": "e147488a-f6f5-4113-8e2d-b22465e65bf6",
}
"""Azure's own: Storage Blob Data Contributor, Key Vault Secrets User, Key Vault Crypto Service Encryption User."""


def grant(
    stack: Stack, what: str, *, role: Role, principal: pulumi.Input[str], scope: pulumi.Input[str]
) -> authorization.RoleAssignment:
    """Give a managed identity a role on one resource, never on a group or a subscription.

    An assignment stays with the data it is about: below a lock none can be deleted (ScopeLocked), and one whose
    principal is gone gives nobody anything.
    """
    subscription = stack.inputs.required("subscription")
    named = uuid.uuid5(uuid.NAMESPACE_URL, f"{stack.inputs.tenant_uid}/{stack.inputs.suffixed}/{what}/{role}")
    return authorization.RoleAssignment(
        f"{what}-role",
        authorization.RoleAssignmentArgs(
            principal_id=principal,
            principal_type=authorization.PrincipalType.SERVICE_PRINCIPAL,  # no look-up of what was just made
            role_definition_id=(
                f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{IDS[role]}"
            ),
            role_assignment_name=str(named),
            scope=scope,
        ),
        stack.carrying(),
    )
