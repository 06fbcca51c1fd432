"""The reference page of the API, from the same schema that the API server enforces: it cannot say something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from paybill.api.base import Resource
from paybill.api.crd import schema
from paybill.api.rules import INT_OR_STRING, LIST_MAP_KEYS, VALIDATIONS

HEAD = """\
<!-- Generated from operator/paybill/api by `paybill crds --docs`; do not edit. -->
# API reference

Group `paybill.dev`, version `v1alpha1`; all kinds are cluster-scoped and in the category `paybill`
(`kubectl get paybill`). Everything below is refused at admission when it is wrong, by the schema or by the rules
listed; `kubectl explain <kind>.spec` shows the same words. A name followed by `[]` is a list; lists marked *by* are
told apart by those fields, which server-side apply merges by. A field without a default may be absent.
"""


def page(kinds: Iterable[type[Resource]]) -> str:
    """The whole page, as Markdown."""
    return HEAD + "".join(_kind(kind) for kind in kinds)


def _kind(kind: type[Resource]) -> str:
    whole = schema(kind)
    short = "".join(f", short name `{name}`" for name in kind.short_names)
    selectable = ", ".join(f"`{path.removeprefix('.')}`" for path in kind.selectable_fields)
    return "\n".join((
        "", f"## {kind.kind}", "", whole["description"], "",
        f"`kubectl get {kind.plural}`{short}; `--field-selector` takes {selectable}.", "",
        *_table("spec", whole), "",
        *_rules(whole), "",
        *_table("status", whole), "",
    ))  # fmt: skip


def _table(part: str, whole: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {part}", "", "| field | type | default | meaning |", "|---|---|---|---|")
    yield from _rows(part, whole["properties"][part])


def _rows(path: str, node: dict[str, Any]) -> Iterator[str]:
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        needed = "**required**" if name in required else _default(child)
        below = f"{path}.{name}"
        yield f"| `{below}` | {_type(child)} | {needed} | {_cell(child.get('description', ''))} |"
        if child.get("type") == "array":
            yield from _rows(f"{below}[]", child["items"])
        else:
            yield from _rows(below, child)


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{value}`" for value in node["enum"])
    if node.get(INT_OR_STRING):
        return "integer or string"
    if node.get("type") == "array":
        keys = node.get(LIST_MAP_KEYS)
        return f"list of {_type(node['items'])}" + (f", by {' and '.join(keys)}" if keys else "")
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    if node.get("format") == "date-time":
        return "time"
    return f"{node.get('type', 'any')}{_range(node)}"


def _range(node: dict[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else ""


def _default(node: dict[str, Any]) -> str:
    if "default" not in node:
        return ""
    value = node["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _rules(whole: dict[str, Any]) -> Iterator[str]:
    yield from ("Rules:", "")
    for path, message in dict.fromkeys(_messages("", whole)):
        yield f"- {f'`{path}`: ' if path else ''}{_cell(message)}"


def _messages(path: str, node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for rule in node.get(VALIDATIONS, ()):
        yield path, rule["message"]
    for name, child in node.get("properties", {}).items():
        if name != "status":
            yield from _messages(f"{path}.{name}".removeprefix("."), child)
    if "items" in node:
        yield from _messages(f"{path}[]", node["items"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
