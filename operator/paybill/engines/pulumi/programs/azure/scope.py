"""The resource group that a tenant's resources are in, and the locks that keep its data from being deleted.

A group takes everything in it along when it is deleted, also what no state knows of: it stays as long as data does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, resources

from paybill.engines.pulumi.programs.stack import Stack

NOTE = "Paybill keeps this: it holds the data of a tenant. Deletion goes by the tenant's deletion policy."


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where resources are put."""

    group: pulumi.Input[str]
    """The resource group's name."""
    location: str
    """The region."""


def shared(stack: Stack) -> Place:
    """The group that the cell's pooled tenants share."""
    return Place(group=stack.inputs.required("resource_group"), location=stack.inputs.region)


def own(stack: Stack) -> Place:
    """A group of the tenant's own."""
    group = resources.ResourceGroup(
        "group",
        resources.ResourceGroupArgs(resource_group_name=stack.name, location=stack.inputs.region, tags=stack.tags),
        stack.holding(),
    )
    return Place(group=group.name, location=stack.inputs.region)


def lock(stack: Stack, what: str, locked: pulumi.CustomResource) -> None:
    """Keep a data resource from being deleted by anybody, in the portal too.

    Each has a lock of its own, not the group: under a lock on the group no endpoint or identity could be replaced.
    """
    authorization.ManagementLockByScope(
        f"{what}-lock",
        authorization.ManagementLockByScopeArgs(
            level=authorization.LockLevel.CAN_NOT_DELETE,
            scope=locked.id,
            lock_name=f"{stack.name}-{what}",
            notes=NOTE,
        ),
        stack.carrying(after=[locked]),
    )
