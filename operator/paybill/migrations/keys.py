"""The rules of columns and keys: whose a row is stands in every table, first in every key.

That is what keeps one tenant from learning of another's rows where tables are shared, and what makes a tenant's tables
the same at every level, so that it can be moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from paybill.migrations import rules
from paybill.migrations.rules import Rule
from paybill.migrations.syntax import Node, strings

COLUMN: Final = "tenant_id"
Broken = Iterator[tuple[Rule, str]]

_KEYS: Final = ("CONSTR_PRIMARY", "CONSTR_UNIQUE")
_SERIALS: Final = {"serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"}
_CLEARING: Final = {"n", "d"}
_ALLOWED: Final = {
    "AT_AddColumn", "AT_ColumnDefault", "AT_DropNotNull", "AT_SetNotNull", "AT_DropExpression", "AT_SetExpression",
    "AT_SetStatistics", "AT_SetOptions", "AT_ResetOptions", "AT_SetStorage", "AT_SetCompression", "AT_DropColumn",
    "AT_AddConstraint", "AT_AlterConstraint", "AT_ValidateConstraint", "AT_DropConstraint", "AT_AlterColumnType",
    "AT_ClusterOn", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_EnableTrig", "AT_DisableTrig", "AT_AddIdentity",
    "AT_SetIdentity", "AT_DropIdentity", "AT_AttachPartition", "AT_DetachPartition",
}  # fmt: skip
_ROW_SECURITY: Final = {
    "AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity",
}  # fmt: skip
_ON_TENANT_COLUMN: Final = {
    "AT_ColumnDefault", "AT_DropNotNull", "AT_DropColumn", "AT_AlterColumnType", "AT_AddIdentity", "AT_SetExpression",
}  # fmt: skip
_MUST_KEEP: Final = {"security_invoker"}


def of_table(name: str, elements: Sequence[Node]) -> Broken:
    """A new table's columns and keys."""
    columns = [one["ColumnDef"] for one in elements if "ColumnDef" in one]
    constraints = [one["Constraint"] for one in elements if "Constraint" in one]
    own = next((one for one in columns if one["colname"] == COLUMN), None)
    if own is None:
        yield rules.TENANT_COLUMN_MISSING, name
    else:
        yield from _tenant_column(own)
    for column in columns:
        yield from _column(column)
    for constraint in constraints:
        yield from of_constraint(constraint)
    inline = [part["Constraint"] for column in columns for part in column.get("constraints", [])]
    if not any(one["contype"] == "CONSTR_PRIMARY" for one in (*constraints, *inline)):
        yield rules.PRIMARY_KEY_MISSING, name


def _tenant_column(column: Node) -> Broken:
    parts = [part["Constraint"] for part in column.get("constraints", [])]
    text = strings(column.get("typeName", {}).get("names"))[-1:] == ["text"]
    default: Node = next((one.get("raw_expr", {}) for one in parts if one["contype"] == "CONSTR_DEFAULT"), {})
    if not text or not _is_tenant(default) or not any(one["contype"] == "CONSTR_NOTNULL" for one in parts):
        yield rules.TENANT_COLUMN, ""


def _is_tenant(expression: Node) -> bool:
    call = expression.get("FuncCall", {})
    return strings(call.get("funcname")) == ["paybill", "tenant"] and not call.get("args")


def _column(column: Node) -> Broken:
    """What stands at a column itself: a key of one column is never a tenant's."""
    if strings(column.get("typeName", {}).get("names"))[-1:][0:1] and (
        strings(column["typeName"]["names"])[-1].lower() in _SERIALS
    ):
        yield rules.SEQUENCE, column["colname"]
    for part in column.get("constraints", []):
        constraint = part["Constraint"]
        if constraint["contype"] in _KEYS:
            yield from unique([column["colname"]])
        elif constraint["contype"] == "CONSTR_FOREIGN":
            yield rules.FOREIGN_KEY_NOT_PER_TENANT, column["colname"]
        yield from _reserved(constraint)


def of_constraint(constraint: Node, indexes: frozenset[str] | set[str] = frozenset()) -> Broken:
    """A constraint of a table. ``indexes`` are those that a key may be made of."""
    kind = constraint["contype"]
    if kind in _KEYS:
        if "indexname" in constraint:
            if constraint["indexname"] not in indexes:
                yield rules.UNIQUE_NOT_PER_TENANT, f"index {constraint['indexname']} is not known to begin with it"
        else:
            yield from unique(strings(constraint.get("keys")))
    elif kind == "CONSTR_EXCLUSION":
        pairs = [one["List"]["items"] for one in constraint.get("exclusions", [])]
        equal = [first["IndexElem"].get("name") for first, operator in pairs if strings(_operator(operator)) == ["="]]
        if COLUMN not in equal:
            yield rules.UNIQUE_NOT_PER_TENANT, "EXCLUDE without tenant_id WITH ="
    elif kind == "CONSTR_FOREIGN":
        yield from _foreign(constraint)
    yield from _reserved(constraint)


def _operator(node: Node) -> Any:
    return node.get("List", {}).get("items", [])


def _foreign(constraint: Node) -> Broken:
    mine, theirs = strings(constraint.get("fk_attrs")), strings(constraint.get("pk_attrs"))
    if mine[:1] != [COLUMN] or len(mine) < 2 or (theirs and theirs[:1] != [COLUMN]):
        yield rules.FOREIGN_KEY_NOT_PER_TENANT, ", ".join(mine)
    if constraint.get("fk_upd_action") in _CLEARING:
        yield rules.FOREIGN_KEY_CLEARS_TENANT, "ON UPDATE"
    cleared = strings(constraint.get("fk_del_set_cols")) or mine
    if constraint.get("fk_del_action") in _CLEARING and COLUMN in cleared:
        yield rules.FOREIGN_KEY_CLEARS_TENANT, "ON DELETE"


def unique(columns: Sequence[str]) -> Broken:
    """A key of these columns (an expression is the empty name)."""
    if COLUMN not in columns:
        yield rules.UNIQUE_NOT_PER_TENANT, ", ".join(column or "an expression" for column in columns)
    elif columns[0] != COLUMN:
        yield rules.TENANT_NOT_FIRST, ", ".join(column or "an expression" for column in columns)


def of_command(command: Node, indexes: set[str]) -> Broken:
    """One part of ALTER TABLE."""
    kind, name = command["subtype"], command.get("name", "")
    if kind in _ROW_SECURITY:
        yield rules.ROW_SECURITY, ""
    elif kind == "AT_ChangeOwner":
        yield rules.PRIVILEGE, ""
    elif kind in ("AT_SetUnLogged", "AT_SetLogged"):
        yield rules.PERSISTENCE, ""
    elif kind not in _ALLOWED:
        yield rules.UNKNOWN, f"ALTER TABLE: {kind.removeprefix('AT_')}"
    elif kind in _ON_TENANT_COLUMN and name == COLUMN:
        yield rules.TENANT_COLUMN, f"{kind.removeprefix('AT_')} of it"
    elif kind == "AT_AddColumn":
        yield from _column(command["def"]["ColumnDef"])
        if command["def"]["ColumnDef"]["colname"] == COLUMN:
            yield rules.TENANT_COLUMN, "it is there from the table's beginning"
    elif kind == "AT_AddConstraint":
        yield from of_constraint(command["def"]["Constraint"], indexes)
    elif kind in ("AT_SetRelOptions", "AT_ResetRelOptions"):
        options = {one["DefElem"]["defname"] for one in command.get("def", {}).get("List", {}).get("items", [])}
        if options & _MUST_KEEP:
            yield rules.VIEW_NOT_INVOKER, ""
    elif name.startswith("pb_"):
        yield rules.RESERVED, name


def _reserved(constraint: Node) -> Broken:
    if constraint.get("conname", "").startswith("pb_"):
        yield rules.RESERVED, constraint["conname"]
