"""The bucket of a Bridge or Silo tenant; a pooled tenant has a prefix in the shared one, which its policy names."""

from __future__ import annotations

import pulumi
from pulumi_oci import objectstorage

from paybill.engines.pulumi.programs.oci.key import Key
from paybill.engines.pulumi.programs.stack import Stack


def build(stack: Stack, compartment: pulumi.Input[str], key: Key) -> objectstorage.Bucket:
    """A private, versioned bucket. Versions, not retention rules: Oracle refuses both on one bucket."""
    return objectstorage.Bucket(
        "bucket",
        objectstorage.BucketArgs(
            compartment_id=compartment,
            namespace=stack.inputs.required("object_namespace"),
            name=stack.name,
            access_type="NoPublicAccess",
            kms_key_id=key.key_id,
            versioning="Enabled",
            storage_tier="Standard",
            auto_tiering="Disabled",
            object_events_enabled=False,
            freeform_tags=stack.tags,
        ),
        stack.holding(after=key.usable),
    )
