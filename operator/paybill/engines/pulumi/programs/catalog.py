"""Which program describes a tenant on which provider. Each is imported when it is asked for: one cloud per process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, cast

import pulumi

from paybill.api.cell import CellProvider
from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.stack import Handed, Stack

PROGRAMS: Mapping[CellProvider, str] = MappingProxyType(
    {
        "AWS": "paybill.engines.pulumi.programs.aws",
        "Azure": "paybill.engines.pulumi.programs.azure",
        "GCP": "paybill.engines.pulumi.programs.gcp",
        "OCI": "paybill.engines.pulumi.programs.oci",
        "Kubernetes": "paybill.engines.pulumi.programs.kubernetes",
    }
)
"""The module of each provider that Pulumi serves."""


class Program(Protocol):
    """What each module offers."""

    EXAMPLE: Mapping[str, str]
    """A foundation to render with, offline."""
    CANNOT: Sequence[str]
    """What of the must-have settings does not hold, in sentences for the documentation."""

    def provider(self, inputs: StackInputs) -> pulumi.ProviderResource:
        """The explicit provider of the stack's resources."""

    def describe(self, stack: Stack) -> Handed:
        """Declares the stack's resources; returns what it hands over."""


class NoProgramError(LookupError):
    """Pulumi has no program for this provider."""


def program(provider: CellProvider) -> Program:
    """The program of a provider; raises NoProgramError when there is none."""
    if provider not in PROGRAMS:
        raise NoProgramError(f"Pulumi has no program for {provider}: there is one for {', '.join(PROGRAMS)}")
    return cast("Program", importlib.import_module(PROGRAMS[provider]))


def declare(inputs: StackInputs, *, guarded: bool = True) -> Handed:
    """Run the program for these inputs, within a run of Pulumi; returns what the stack hands over."""
    chosen = program(inputs.provider)
    return chosen.describe(Stack(inputs=inputs, cloud=chosen.provider(inputs), guarded=guarded))
