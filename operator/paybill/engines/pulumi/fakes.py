"""What a cloud would answer, made up: ids, addresses and the like, the same ones at every rendering.

Under the SDK's mocks a resource knows nothing of itself but what it was told. A program that goes on with what a cloud
gives (an ARN, a host name) gets it from here: each text that the SDK's class of the resource declares and nobody gave
is named after where it comes from. What must look like something (a range of addresses) has a table.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pulumi
from pulumi import _types as sdk_types

ACCOUNT = "000000000000"
_MAPPING, _SEQUENCE = typing.get_origin(Mapping[str, str]), typing.get_origin(Sequence[str])
DEEPEST = 3
"""How far into nested values anything is made up; some types contain themselves."""

SHAPED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "aws:ec2/vpc:Vpc": {"cidrBlock": "10.64.0.0/24"},
        "azure-native:network:VirtualNetwork": {"addressSpace": {"addressPrefixes": ["10.64.0.0/24"]}},
    }
)
"""Values that programs calculate with, by type."""


def identifier(type_: str, name: str, inputs: Mapping[str, Any]) -> str:
    """The id of a resource: that of Kubernetes is its place and name, all others are opaque."""
    if type_.startswith("kubernetes:"):
        metadata = inputs.get("metadata") or {}
        return "/".join(part for part in (metadata.get("namespace"), metadata.get("name") or name) if part)
    return f"{type_.rpartition(':')[2]}-{name}".lower()


def state(type_: str, name: str, inputs: Mapping[str, Any], *, region: str) -> dict[str, Any]:
    """What a resource knows of itself once it is made: what it was told, and what the cloud adds."""
    own = identifier(type_, name, inputs)
    added: dict[str, Any] = dict(SHAPED.get(type_, {}))
    if type_.startswith("aws:"):
        service = type_.split(":")[1].partition("/")[0]
        added["arn"] = f"arn:aws:{service}:{region}:{ACCOUNT}:{own}"
    if type_ == "pulumi:index:Stash":
        added["output"] = inputs.get("input")  # what it was told first is what it keeps
    known = {**added, **inputs}
    declared = next((cls for cls in _classes(pulumi.CustomResource) if _token(cls) == type_), None)
    return _filled(sdk_types.resource_types(declared), known, own, 1) if declared is not None else known


def _filled(declared: Mapping[str, Any], known: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
    """``known``, with what else is declared and can be made up."""
    filled = dict(known)
    for field, type_ in declared.items():
        made = _made(type_, known.get(field), f"{path}.{field}", depth)
        if made is not None:
            filled[field] = made
    return filled


def _made(type_: Any, known: Any, path: str, depth: int) -> Any:
    """A value of a declared type; None where nothing is to be made up (numbers, switches)."""
    if known is None and type_ is str:
        return path
    container = typing.get_origin(type_)
    if isinstance(known, list) and container is _MAPPING:
        # Azure takes a list of identities and answers with what it knows of each.
        return {each: {} for each in known if isinstance(each, str)}
    if depth >= DEEPEST:
        return known
    if isinstance(type_, type) and sdk_types.is_output_type(type_):
        # A secret travels as a marked dict, which must stay what it is.
        plain = known is None or (isinstance(known, dict) and pulumi.runtime.rpc._special_sig_key not in known)
        return _filled(sdk_types.output_type_types(type_), known or {}, path, depth + 1) if plain else known
    if known is None and container in (list, _SEQUENCE):
        one = _made(typing.get_args(type_)[0], None, f"{path}[0]", depth + 1)
        return None if one is None else [one]
    return known


def _classes(parent: type[pulumi.Resource]) -> Iterator[type[pulumi.Resource]]:
    for cls in parent.__subclasses__():
        yield cls
        yield from _classes(cls)


def _token(cls: type) -> str | None:
    # Of the class itself: a subclass inherits the attribute.
    return cls.__dict__.get("pulumi_type")
