"""For programs of one's own: what a folder with a ``__main__.py`` gets, and how it hands over.

``spec.engine.programPath`` of a Cell names the folder. Its ``__main__.py`` is run in each operation, in the worker,
and declares resources as any Pulumi program does::

    import pulumi
    import pulumi_aws as aws
    from paybill.engines.pulumi.own import hand_over, inputs, stack

    tenant = inputs()                                        # the same StackInputs that the built-in programs get
    cloud = aws.Provider("cloud", region=tenant.region)      # default providers are disabled
    shared = stack(cloud)                                    # names, tags and the options no resource may lack
    bucket = aws.s3.Bucket("files", bucket=shared.name, tags=shared.tags, opts=shared.holding())
    hand_over(bucket=bucket.id)                              # the fields of StackOutputs, nothing else

It must be the same for the same inputs: no times, no random values, nothing that it looks up. After a crash the
engine asks the folder's ``recover.py``, where there is one, for what a cloud may have made without our knowing::

    def find(type: str, urn: str, inputs: dict[str, object]) -> str | None: ...   # the cloud's id, or None
"""

from __future__ import annotations

from typing import Any

import pulumi

from paybill.desired.stack import StackInputs, StackOutputs
from paybill.engines.pulumi.programs.stack import Stack

_current: list[tuple[StackInputs, bool]] = []
# One operation per process, and the programs of an operation one after the other: a plain value is enough.


def inputs() -> StackInputs:
    """What the tenant's stack follows from; raises RuntimeError outside of an operation."""
    return _now()[0]


def stack(cloud: pulumi.ProviderResource) -> Stack:
    """Names, tags and options for resources that are made with ``cloud``, as the built-in programs have them."""
    given, guarded = _now()
    return Stack(inputs=given, cloud=cloud, guarded=guarded)


def hand_over(**outputs: Any) -> None:
    """Hand over fields of StackOutputs, plain or Outputs; raises TypeError for a field that there is not."""
    unknown = sorted(set(outputs) - set(StackOutputs.model_fields))
    if unknown:
        known = ", ".join(StackOutputs.model_fields)
        raise TypeError(f"a stack cannot hand over {', '.join(unknown)}: there is {known}")
    for name, value in outputs.items():
        pulumi.export(name, value)


def begin(given: StackInputs, *, guarded: bool) -> None:
    """For the engine: the next program is run for these inputs."""
    _current[:] = [(given, guarded)]


def _now() -> tuple[StackInputs, bool]:
    if not _current:
        raise RuntimeError("there is no operation: this program is run by Paybill's Pulumi engine")
    return _current[0]
