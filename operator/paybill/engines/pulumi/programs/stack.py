"""What the programs of all clouds share: names, tags, and the options that no resource may lack.

A program gets a ``Stack`` and declares resources by the SDK's typed classes. Explicit providers only: with the default
ones disabled, a resource that forgot its provider fails instead of using whatever login the machine has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from paybill.desired.stack import StackInputs

Handed = dict[str, Any]
"""What a program returns: keys of StackOutputs (database as a dict of DatabaseOutput's), values plain or Outputs."""

SLOW = pulumi.CustomTimeouts(create="60m", update="80m", delete="60m")
"""For databases and networks: the clouds need up to an hour for them."""
USUAL = pulumi.CustomTimeouts(create="15m", update="15m", delete="15m")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One tenant's stack while its program runs. ``cloud`` is the explicit provider that every resource gets."""

    inputs: StackInputs
    cloud: pulumi.ProviderResource
    data_types: set[str] = field(default_factory=set)
    guarded: bool = True
    """Whether data resources are protected, by the engine and by the clouds' own deletion protection. False only in the
    run before a destruction that may take data away: both are lifted by an update, which clouds ask for first."""

    @property
    def name(self) -> str:
        """The stem of physical names."""
        return self.inputs.name

    @property
    def tags(self) -> dict[str, str]:
        """The marks of every resource that can carry them."""
        return self.inputs.tags()

    @property
    def silo(self) -> bool:
        """Whether the tenant gets a network of its own."""
        return self.inputs.model == "Silo"

    @property
    def dedicated(self) -> bool:
        """Whether the tenant gets a bucket and a key of its own (Bridge and Silo)."""
        return self.inputs.model != "Pooled"

    def options(
        self, *, slow: bool = False, parent: pulumi.Resource | None = None, after: Sequence[pulumi.Resource] = ()
    ) -> pulumi.ResourceOptions:
        """Options of a resource that holds no data: it may go with the stack."""
        return pulumi.ResourceOptions(
            provider=self.cloud,
            parent=parent,
            depends_on=list(after) or None,
            custom_timeouts=SLOW if slow else USUAL,
        )

    def holding(
        self,
        *,
        slow: bool = False,
        after: Sequence[pulumi.Resource] = (),
        ignore: Sequence[str] = (),
    ) -> pulumi.ResourceOptions:
        """Options of a resource that holds a customer's data: protected, and left where the deletion policy says so."""
        return pulumi.ResourceOptions(
            provider=self.cloud,
            depends_on=list(after) or None,
            custom_timeouts=SLOW if slow else USUAL,
            protect=self.guarded,
            retain_on_delete=self.inputs.retain,
            ignore_changes=list(ignore) or None,
        )

    def carrying(
        self, *, slow: bool = False, parent: pulumi.Resource | None = None, after: Sequence[pulumi.Resource] = ()
    ) -> pulumi.ResourceOptions:
        """Options of what retained data stands on or is guarded by: networks, groups, policies of a bucket.

        It stays whenever the data stays: clouds refuse to delete a network that a database is in, and a bucket without
        its policies would be an open one.
        """
        return pulumi.ResourceOptions(
            provider=self.cloud,
            parent=parent,
            depends_on=list(after) or None,
            custom_timeouts=SLOW if slow else USUAL,
            retain_on_delete=self.inputs.retain,
        )
