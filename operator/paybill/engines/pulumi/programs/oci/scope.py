"""The compartment that a Bridge or Silo tenant's resources are in."""

from __future__ import annotations

import pulumi
from pulumi_oci import identity

from paybill.engines.pulumi.programs.stack import Stack


def own(stack: Stack) -> pulumi.Output[str]:
    """A compartment of the tenant's own; gives its OCID.

    Without ``enable_delete`` the provider would silently take over a compartment of the same name, whoever's it is, and
    never delete it. With it a name that is taken is an error.
    """
    inputs = stack.inputs
    made = identity.Compartment(
        "compartment",
        identity.CompartmentArgs(
            compartment_id=inputs.required("parent_compartment"),
            name=inputs.suffixed,
            description=f"Tenant {inputs.tenant_uid} of {inputs.installation}",
            enable_delete=True,
            freeform_tags=stack.tags,
        ),
        stack.holding(),
    )
    return made.id
