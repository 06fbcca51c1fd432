"""The identity of the tenant's pods: a managed identity that one ServiceAccount of one cluster may act as."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import managedidentity

from paybill.engines.pulumi.programs.azure.scope import Place
from paybill.engines.pulumi.programs.stack import Stack

AUDIENCE = "api://AzureADTokenExchange"


def build(stack: Stack, place: Place) -> managedidentity.UserAssignedIdentity:
    """The identity and its only credential: tokens of the tenant's ServiceAccount, and no secret."""
    inputs = stack.inputs
    who = managed(stack, place, "identity", named=stack.name, options=stack.options())
    managedidentity.FederatedIdentityCredential(
        "identity-pods",
        resource_group_name=place.group,
        resource_name_=who.name,
        federated_identity_credential_resource_name="pods",
        issuer=inputs.required("oidc_issuer"),
        subject=f"system:serviceaccount:{inputs.namespace}:{inputs.service_account}",
        audiences=[AUDIENCE],
        opts=stack.options(),
    )
    return who


def managed(
    stack: Stack, place: Place, what: str, *, named: str, options: pulumi.ResourceOptions
) -> managedidentity.UserAssignedIdentity:
    """An identity that has no secret and that Azure itself keeps the keys of."""
    # By keywords: the SDK cannot take the Args class of a resource that has a resourceName of its own (3.29).
    return managedidentity.UserAssignedIdentity(
        what,
        resource_group_name=place.group,
        location=place.location,
        resource_name_=named,
        tags=stack.tags,
        opts=options,
    )
