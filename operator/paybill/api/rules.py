"""How a model says what plain JSON Schema cannot: CEL rules, list types, and the phrases several kinds share.

A rule is refused or accepted by the API server before the operator sees the object (``x-kubernetes-validations``),
so an operator that is down lets nothing bad in. Messages are written for whoever reads them after ``kubectl apply``:
what is wrong, and what to write instead. Everything that a rule reads carries an upper bound, because the API server
refuses a rule whose worst case is too dear (https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints).
"""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.types import JsonValue

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"

LABEL_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_WORDS = "lower-case letters, digits and '-', starting and ending with a letter or digit, at most 63 characters"

Rule = dict[str, JsonValue]


def rule(expression: str, message: str) -> Rule:
    """One CEL rule: ``expression`` must be true of ``self``, else the write is refused with ``message``."""
    return {"rule": expression, "message": message}


def checks(*rules: Rule) -> dict[str, JsonValue]:
    """The rules of one field, to be given to ``Field(json_schema_extra=...)``."""
    return {VALIDATIONS: list(rules)}


def ruled(*rules: Rule) -> ConfigDict:
    """The rules of a whole object, to be given to ``model_config``."""
    return ConfigDict(json_schema_extra={VALIDATIONS: list(rules)})


def list_map(*keys: str) -> dict[str, JsonValue]:
    """A list whose items are told apart by ``keys``: server-side apply merges it and refuses duplicates."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}


def list_set() -> dict[str, JsonValue]:
    """A list of scalars without duplicates, merged by server-side apply."""
    return {LIST_TYPE: "set"}


def among(field: str, *values: str) -> str:
    """CEL: ``field`` is absent or one of ``values``."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"(!has({field}) || {field} in [{listed}])"


def unchanged(field: str) -> str:
    """CEL for a transition rule: ``field`` (a path below ``self``) is what it was, absent staying absent."""
    now, before = f"self.{field}", f"oldSelf.{field}"
    return f"has({now}) == has({before}) && (!has({now}) || {now} == {before})"


NAME_RULES: tuple[Rule, ...] = (
    rule(
        "self.metadata.name.size() <= 63",
        "metadata.name must have at most 63 characters: it is used as a label value; choose a shorter name",
    ),
    rule(
        f"self.metadata.name.matches('{LABEL_PATTERN}')",
        "metadata.name must be a DNS label (lower-case letters, digits and '-', starting and ending with a letter or "
        "digit): put anything else in spec.displayName",
    ),
)
