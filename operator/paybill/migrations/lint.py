"""Refuses what would break isolation, or would not be the same at every level, before anything of it runs.

The files are read in their order with Postgres' own parser. What is allowed is a list, so a statement that nobody
thought of is refused and not let through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from paybill.migrations import keys, rules
from paybill.migrations.files import DIRECTIVES, Bundle, File, Kind
from paybill.migrations.rules import Rule
from paybill.migrations.syntax import Node, Statement, SyntaxTrouble, statements, strings, walk


@dataclass(frozen=True)
class Finding:
    """One thing in one file that a rule refuses."""

    file: str
    line: int
    statement: str
    rule: Rule
    what: str = ""

    def __str__(self) -> str:
        about = f" ({self.what})" if self.what else ""
        at = f": {self.statement}" if self.statement else ""
        return f"{self.file}:{self.line}: {self.rule.name}: {self.rule.wrong}{about}; write {self.rule.instead}{at}"


@dataclass
class Seen:
    """What the files before have made."""

    tenant_indexes: set[str] = field(default_factory=set)
    """Unique indexes that begin with tenant_id, which a constraint may be made of."""


DATA: Final = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
_PLAIN: Final = {
    "AlterDomainStmt", "AlterEnumStmt", "AlterStatsStmt", "CompositeTypeStmt", "CreateDomainStmt", "CreateEnumStmt",
    "CreateRangeStmt", "CreateStatsStmt",
}  # fmt: skip
_REFUSED: Final = {
    "TransactionStmt": rules.TRANSACTION,
    "CreateExtensionStmt": rules.EXTENSION,
    "AlterExtensionStmt": rules.EXTENSION,
    "GrantStmt": rules.PRIVILEGE,
    "GrantRoleStmt": rules.PRIVILEGE,
    "AlterDefaultPrivilegesStmt": rules.PRIVILEGE,
    "AlterOwnerStmt": rules.PRIVILEGE,
    "CreateRoleStmt": rules.PRIVILEGE,
    "AlterRoleStmt": rules.PRIVILEGE,
    "AlterRoleSetStmt": rules.PRIVILEGE,
    "DropRoleStmt": rules.PRIVILEGE,
    "ReassignOwnedStmt": rules.PRIVILEGE,
    "DropOwnedStmt": rules.PRIVILEGE,
    "CreatePolicyStmt": rules.ROW_SECURITY,
    "AlterPolicyStmt": rules.ROW_SECURITY,
    "VariableSetStmt": rules.SETTING,
    "CreateSchemaStmt": rules.QUALIFIED,
    "AlterObjectSchemaStmt": rules.QUALIFIED,
    "TruncateStmt": rules.WIDE,
    "LockStmt": rules.WIDE,
    "CreateSeqStmt": rules.SEQUENCE,
    "AlterSeqStmt": rules.SEQUENCE,
    "DoStmt": rules.OPAQUE,
    "CallStmt": rules.OPAQUE,
    "SelectStmt": rules.OPAQUE,
    "CopyStmt": rules.OPAQUE,
    "RuleStmt": rules.VIEW_NOT_INVOKER,
    "RefreshMatViewStmt": rules.MATERIALIZED_VIEW,
}
_OPEN_SCHEMAS: Final = {"pg_catalog", "ext", "information_schema"}
_DROPPABLE: Final = {
    "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_INDEX", "OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_FUNCTION",
    "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_TRIGGER", "OBJECT_STATISTIC_EXT", "OBJECT_MATVIEW",
}  # fmt: skip
_COMMENTED: Final = _DROPPABLE | {"OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_DOMCONSTRAINT"}
_PARTED: Final = {"OBJECT_TRIGGER"}
"""What is dropped by two names, the first of which is its table's."""

Broken = Iterator[tuple[Rule, str]]


def lint(files: Bundle) -> tuple[Finding, ...]:
    """Everything that the rules refuse, in the order of the files; empty when all of them may run."""
    seen = Seen()
    return tuple(finding for file in files.files for finding in _file(file, seen))


def kind(file: File) -> Kind:
    """Whether a file that may run changes data or structure."""
    return "Data" if all(one.kind in DATA for one in statements(file.sql)) else "Structure"


def _file(file: File, seen: Seen) -> Iterator[Finding]:
    name = file.file_name
    for word in sorted(file.directives - set(DIRECTIVES)):
        yield Finding(name, 1, "", rules.DIRECTIVE, word)
    try:
        found = statements(file.sql)
    except SyntaxTrouble as trouble:
        yield Finding(name, trouble.line, "", rules.SYNTAX, str(trouble))
        return
    if not found:
        yield Finding(name, 1, "", rules.EMPTY)
        return
    for statement in found:
        broken = [*_statement(statement, seen), *_names(statement)]
        yield from (Finding(name, statement.line, statement.says, rule, what) for rule, what in broken)
    first_data = next((one for one in found if one.kind in DATA), None)
    if first_data is not None and any(one.kind not in DATA for one in found):
        yield Finding(name, first_data.line, first_data.says, rules.MIXED)
    yield from _concurrently(file, found)


def _concurrently(file: File, found: tuple[Statement, ...]) -> Iterator[Finding]:
    """A statement that leaves half of its effect behind stands alone and can be run again."""
    apart = [one for one in found if one.node.get("concurrent")]
    if file.transactional:
        yield from (Finding(file.file_name, one.line, one.says, rules.CONCURRENT) for one in apart)
        return
    repeatable = len(found) == 1 and bool(apart)
    if repeatable and apart[0].kind == "IndexStmt":
        repeatable = bool(apart[0].node.get("idxname") and apart[0].node.get("if_not_exists"))
    elif repeatable:
        repeatable = bool(apart[0].node.get("missing_ok"))
    if not repeatable:
        yield Finding(file.file_name, found[0].line, found[0].says, rules.CONCURRENT)


def _statement(statement: Statement, seen: Seen) -> Broken:
    if statement.kind in _CHECKS:
        yield from _CHECKS[statement.kind](statement.node, seen)
    elif statement.kind in _REFUSED:
        yield _REFUSED[statement.kind], ""
    elif statement.kind not in DATA | _PLAIN:
        yield rules.UNKNOWN, statement.kind.removesuffix("Stmt")


def _table(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    if node["relation"].get("relpersistence", "p") != "p":
        yield rules.PERSISTENCE, node["relation"]["relname"]
    if "ofTypename" in node or ("inhRelations" in node and "partbound" not in node):
        yield rules.COLUMNS_HIDDEN, node["relation"]["relname"]
        return
    elements = node.get("tableElts", [])
    if "partbound" in node:  # its columns are its parent's
        for one in elements:
            yield from keys.of_constraint(one["Constraint"]) if "Constraint" in one else ()
        return
    if any("TableLikeClause" in one for one in elements):
        yield rules.COLUMNS_HIDDEN, node["relation"]["relname"]
        return
    yield from keys.of_table(node["relation"]["relname"], elements)


def _alter(node: Node, seen: Seen) -> Broken:
    if node.get("objtype", "OBJECT_TABLE") not in ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_INDEX", "OBJECT_TYPE"):
        yield rules.UNKNOWN, "ALTER " + node["objtype"].removeprefix("OBJECT_").replace("_", " ")
        return
    for command in node.get("cmds", []):
        yield from keys.of_command(command["AlterTableCmd"], seen.tenant_indexes)


def _index(node: Node, seen: Seen) -> Broken:
    if not node.get("unique"):
        return
    columns = [one["IndexElem"].get("name", "") for one in node.get("indexParams", [])]
    yield from keys.unique(columns)
    if columns[:1] == ["tenant_id"] and "idxname" in node:
        seen.tenant_indexes.add(node["idxname"])


def _view(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    options = {one["DefElem"]["defname"]: one["DefElem"].get("arg", {}) for one in node.get("options", [])}
    invoker = options.get("security_invoker")
    if invoker is None or not _true(invoker):
        yield rules.VIEW_NOT_INVOKER, node["view"]["relname"]
    if node["view"].get("relpersistence", "p") != "p":
        yield rules.PERSISTENCE, node["view"]["relname"]


def _true(value: Node) -> bool:
    """Whether an option's value is yes; one without a value is."""
    if not value:
        return True
    said = [str(one) for part in value.values() for one in part.values()] if isinstance(value, dict) else []
    return bool(said) and said[0].lower() in ("true", "on", "1", "yes", "t", "y")


def _function(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    options = [one["DefElem"] for one in node.get("options", [])]
    name = strings(node["funcname"])[-1]
    language = next((strings([one["arg"]]) for one in options if one["defname"] == "language"), ["sql"])
    if language[0].lower() not in ("sql", "plpgsql"):
        yield rules.OPAQUE, f"{name} is in language {language[0]}"
    definer = any(one["defname"] == "security" and _true(one.get("arg", {})) for one in options)
    pins = any(
        one["defname"] == "set" and one["arg"]["VariableSetStmt"].get("name", "").lower() == "search_path"
        and one["arg"]["VariableSetStmt"].get("kind") == "VAR_SET_VALUE"
        for one in options
    )  # fmt: skip
    if definer and not pins:
        yield rules.DEFINER_PATH_OPEN, name


def _alter_function(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    for one in node.get("actions", []):
        if one["DefElem"]["defname"] in ("security", "set"):
            yield rules.DEFINER_PATH_OPEN, "write CREATE OR REPLACE FUNCTION as a whole"


def _as(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    yield (rules.MATERIALIZED_VIEW if node.get("objtype") == "OBJECT_MATVIEW" else rules.COLUMNS_HIDDEN), ""


def _drop(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    kind = node["removeType"]
    if kind == "OBJECT_POLICY":
        yield rules.ROW_SECURITY, ""
        return
    if kind == "OBJECT_EXTENSION":
        yield rules.EXTENSION, ""
    elif kind not in _DROPPABLE:
        yield rules.UNKNOWN, "DROP " + kind.removeprefix("OBJECT_").replace("_", " ")
    for named in node.get("objects", []):
        parts = strings(_items(named))
        if len(parts) > (2 if kind in _PARTED else 1):
            yield rules.QUALIFIED, ".".join(parts)
        if parts and parts[-1].startswith("pb_"):
            yield rules.RESERVED, parts[-1]


def _items(named: Node) -> Any:
    """The parts of a name, which stands as a list, as a type or as a function with its arguments."""
    for key, value in named.items():
        if key == "List":
            return value.get("items", [])
        if key == "ObjectWithArgs":
            return value.get("objname", [])
        if key == "TypeName":
            return value.get("names", [])
    return [named]


def _rename(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    if node.get("renameType") in ("OBJECT_COLUMN", "OBJECT_ATTRIBUTE") and "tenant_id" in (
        node.get("subname"), node.get("newname"),
    ):  # fmt: skip
        yield rules.TENANT_COLUMN, "it is renamed"
    if node.get("renameType") in ("OBJECT_ROLE", "OBJECT_DATABASE", "OBJECT_SCHEMA"):
        yield rules.PRIVILEGE, ""
    for name in (node.get("subname", ""), node.get("newname", "")):
        if name.startswith("pb_"):
            yield rules.RESERVED, name


def _comment(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    if node["objtype"] not in _COMMENTED:
        yield rules.UNKNOWN, "COMMENT ON " + node["objtype"].removeprefix("OBJECT_").replace("_", " ")


def _trigger(node: Node, seen: Seen) -> Broken:  # noqa: ARG001
    if node["trigname"].startswith("pb_"):
        yield rules.RESERVED, node["trigname"]


_CHECKS: Final[dict[str, Callable[[Node, Seen], Broken]]] = {
    "AlterFunctionStmt": _alter_function,
    "AlterTableStmt": _alter,
    "CommentStmt": _comment,
    "CreateFunctionStmt": _function,
    "CreateStmt": _table,
    "CreateTableAsStmt": _as,
    "CreateTrigStmt": _trigger,
    "DropStmt": _drop,
    "IndexStmt": _index,
    "RenameStmt": _rename,
    "ViewStmt": _view,
}


def _names(statement: Statement) -> Broken:
    """Names that are Paybill's, or that have another schema in front of them, wherever in the statement they are."""
    top = {statement.kind: statement.node}
    for name, node in walk(top):
        relation = node.get("relname") if name == "RangeVar" or "relpersistence" in node else None
        if relation is not None:
            if node.get("schemaname", "pg_catalog") not in _OPEN_SCHEMAS or "catalogname" in node:
                yield rules.QUALIFIED, f"{node.get('schemaname')}.{relation}"
            if relation.startswith("pb_"):
                yield rules.RESERVED, relation
        for key in _NAME_LISTS.get(name, ()):
            yield from _qualified(strings(node.get(key)))
    if statement.kind == "IndexStmt" and statement.node.get("idxname", "").startswith("pb_"):
        yield rules.RESERVED, statement.node["idxname"]


_NAME_LISTS: Final = {
    "FuncCall": ("funcname",),
    "TypeName": ("names",),
    "typeName": ("names",),
    "returnType": ("names",),
    "CreateFunctionStmt": ("funcname",),
    "CreateTrigStmt": ("funcname",),
    "CreateEnumStmt": ("typeName",),
    "CreateDomainStmt": ("domainname",),
    "CreateRangeStmt": ("typeName",),
    "AlterEnumStmt": ("typeName",),
    "AlterDomainStmt": ("typeName",),
}


def _qualified(parts: Iterable[str]) -> Broken:
    named = list(parts)
    if len(named) > 1 and named != ["paybill", "tenant"] and named[0] not in _OPEN_SCHEMAS:
        yield rules.QUALIFIED, ".".join(named)
    if len(named) == 1 and named[0].startswith("pb_"):
        yield rules.RESERVED, named[0]
