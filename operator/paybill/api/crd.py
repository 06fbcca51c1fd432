"""The CustomResourceDefinition of a kind: its schema, and what kubectl shows, completes and selects by."""

from __future__ import annotations

from typing import Any

from paybill.api.base import Column, Resource
from paybill.api.rules import VALIDATIONS
from paybill.api.schema import structural, without_defaults

API_VERSION_DOC = "The version of this schema."
KIND_DOC = "The kind of this object."


def build(kind: type[Resource]) -> dict[str, Any]:
    """The CRD of ``kind``, as the API server takes it; raises ``Invalid`` (``NotStructural``)."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
                "categories": list(kind.categories),
            },
            "scope": kind.scope,
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema(kind)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "selectableFields": [{"jsonPath": path} for path in kind.selectable_fields],
                }
            ],
        },
    }


def schema(kind: type[Resource]) -> dict[str, Any]:
    """The schema of ``kind`` as a whole object; metadata is left to the API server, which knows it best."""
    whole = structural(kind)
    properties = whole["properties"]
    return {
        "description": whole["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": API_VERSION_DOC, "type": "string"},
            "kind": {"description": KIND_DOC, "type": "string"},
            "metadata": {"type": "object"},
            "spec": properties["spec"],
            "status": without_defaults(properties["status"]),
        },
        VALIDATIONS: whole[VALIDATIONS],
    }


def _column(column: Column) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        shown["description"] = column.description
    if column.priority:
        shown["priority"] = column.priority
    return shown
