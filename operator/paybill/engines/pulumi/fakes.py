"""What a cloud would answer, made up: ids, addresses and the like, the same ones at every rendering.

Under the SDK's mocks a resource knows nothing of itself but what it was told. A program that goes on with what a cloud
gives (an ARN, a range of addresses) gets it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = Mapping[str, Any]

ACCOUNT = "000000000000"


def identifier(type_: str, name: str, inputs: Fields) -> str:
    """The id of a resource: that of Kubernetes is its place and name, all others are opaque."""
    if type_.startswith("kubernetes:"):
        metadata = inputs.get("metadata") or {}
        return "/".join(part for part in (metadata.get("namespace"), metadata.get("name") or name) if part)
    return f"{type_.rpartition(':')[2]}-{name}".lower()


def state(type_: str, name: str, inputs: Fields, *, region: str) -> dict[str, Any]:
    """What a resource knows of itself once it is made: what it was told, and what the cloud adds."""
    package = type_.partition(":")[0]
    added = BY_PACKAGE.get(package, _nothing)(type_, name, inputs, region)
    return {**added, **inputs}


def _aws(type_: str, name: str, inputs: Fields, region: str) -> dict[str, Any]:
    service = type_.split(":")[1].partition("/")[0]
    own = identifier(type_, name, inputs)
    fields: dict[str, Any] = {"arn": f"arn:aws:{service}:{region}:{ACCOUNT}:{own}", "keyId": own}
    match type_:
        case "aws:ec2/vpc:Vpc":
            fields["cidrBlock"] = "10.64.0.0/24"
        case "aws:rds/instance:Instance":
            fields["address"] = f"{inputs.get('identifier', name)}.example.{region}.rds.amazonaws.com"
            fields["masterUserSecrets"] = [
                {"secretArn": f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:rds!example"}
            ]
    return fields


def _nothing(_type: str, _name: str, _inputs: Fields, _region: str) -> dict[str, Any]:
    return {}


BY_PACKAGE: Mapping[str, Callable[[str, str, Fields, str], dict[str, Any]]] = {"aws": _aws}
