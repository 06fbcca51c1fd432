"""What a program told the engine, as people read it: secrets masked, references by name, numbers as they were written.

The SDK sends values as protobuf structs, in which marked dicts stand for secrets, references and unknown values.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import rpc

from paybill.engines.rendered import SECRET

LATER = "[known later]"
"""Stands where a value is that only the cloud will give."""


def values(sent: Struct) -> dict[str, Any]:
    """The fields of a resource, sorted by name."""
    return {name: _value(value) for name, value in sorted(MessageToDict(sent).items())}


def _value(value: Any) -> Any:
    match value:
        case rpc.UNKNOWN:
            return LATER
        case {rpc._special_sig_key: mark, **rest}:
            return _marked(mark, rest)
        case dict():
            return {name: _value(each) for name, each in sorted(value.items())}
        case list():
            return [_value(each) for each in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _marked(mark: object, rest: dict[Any, Any]) -> Any:
    match mark:
        case rpc._special_secret_sig:
            return SECRET
        case rpc._special_output_value_sig:
            if rest.get("secret"):
                return SECRET
            return _value(rest["value"]) if "value" in rest else LATER
        case rpc._special_resource_sig:
            return rest["urn"]
        case _:
            return f"[{', '.join(sorted(rest))}]"


def physical_name(type_: str, inputs: dict[str, Any]) -> str:
    """The name that a resource asks for in the cloud, whose field each cloud calls otherwise; empty: it asks for none.

    A field that is called as the type is (``bucket`` of Bucket, ``serverName`` of Server) is its own name; of any other
    type it refers to another resource.
    """
    metadata = inputs.get("metadata")
    if isinstance(metadata, dict):
        return str(metadata.get("name") or "")
    for field in _own_fields(type_.rpartition(":")[2]):
        value = inputs.get(field)
        if isinstance(value, str) and value not in (SECRET, LATER):
            return value
    return ""


def _own_fields(kind: str) -> list[str]:
    words = [kind[index:] for index, letter in enumerate(kind) if letter.isupper()]
    called = [f"{word[0].lower()}{word[1:]}" for word in words]
    named = [f"{word}{end}" for end in ("ResourceName", "Name") for word in called]
    # Last what is an id as often as a name: the account_id of a Google account is its name.
    return ["name", *called[:1], *named, "identifier", "resourceName", *(f"{word}Id" for word in called), "displayName"]
