"""The functions that an agent goes through, one per operation and table, owned by a role that nobody logs in as.

The login holds nothing but EXECUTE on them. What a call may name is written into its function when the policy is
compiled, so a name out of a call is looked up and never put into SQL; values are quoted and cast by the server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from paybill.agents.facts import Collection
from paybill.api.agent_policy import CollectionPolicy
from paybill.databases.statement import Statement, listed

WRITES: Final = ("create", "update", "delete")
_LOSSY: Final = ("Decimal",)
"""Kinds that JSON's readers round: they are shown as text."""


@dataclass(frozen=True)
class Gate:
    """One table of one agent: where its functions are and who owns them."""

    policy: CollectionPolicy
    collection: Collection
    table: Identifier
    schema: str
    owner: str
    login: str
    telling: frozenset[str] = frozenset()
    """The operations whose refusal tells of rows that the agent may not see (hidden.py)."""


def gates(gate: Gate) -> Iterator[Statement]:
    """Every function of one table."""
    for operation, (arguments, returns, body) in _functions(gate):
        name = Identifier(gate.schema, f"{gate.collection.name}_{operation}")
        kinds = SQL(", ").join(SQL(one.split()[1]) for one in arguments)
        yield Statement(
            f"function {gate.schema}.{gate.collection.name}_{operation}",
            SQL(
                "CREATE FUNCTION {}({}) RETURNS {} LANGUAGE plpgsql SECURITY DEFINER"
                " SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO' AS {}"
            ).format(name, SQL(", ".join(arguments)), SQL(returns), Literal(body.as_string(None))),
        )
        yield Statement("", SQL("ALTER FUNCTION {}({}) OWNER TO {}").format(name, kinds, Identifier(gate.owner)))
        yield Statement("", SQL("REVOKE ALL ON FUNCTION {}({}) FROM PUBLIC").format(name, kinds))
        yield Statement("", SQL("GRANT EXECUTE ON FUNCTION {}({}) TO {}").format(name, kinds, Identifier(gate.login)))


_Function = tuple[tuple[str, ...], str, Composed]


def _functions(gate: Gate) -> Iterator[tuple[str, _Function]]:
    policy = gate.policy
    granted: tuple[tuple[str, bool, Callable[[Gate], _Function]], ...] = (
        ("get", policy.read is not None, _get),
        ("list", policy.read is not None, _list),
        ("aggregate", policy.aggregate is not None, _aggregate),
        ("create", policy.create is not None, _create),
        ("update", policy.update is not None, _update),
        ("delete", policy.delete is not None, _delete),
    )
    yield from ((operation, made(gate)) for operation, there, made in granted if there)


def _get(gate: Gate) -> _Function:
    query = _query("SELECT {} FROM (SELECT {} FROM {} WHERE %s) r", *_shown(gate), gate.table)
    body = SQL("""
DECLARE
  v_row jsonb;
BEGIN
  EXECUTE format({}, pb.key(key, {})) INTO v_row;
  PERFORM pb.saw({}, 'get', CASE WHEN v_row IS NULL THEN 0 ELSE 1 END, jsonb_build_object('key', key), v_row, {});
  RETURN v_row;
END""").format(query, _key(gate), Literal(gate.collection.name), _key(gate))
    return ("key jsonb",), "jsonb", body


def _list(gate: Gate) -> _Function:
    read = gate.policy.read
    assert read is not None  # noqa: S101 - _functions looked
    query = _query("SELECT {} FROM (SELECT {} FROM {} WHERE %s ORDER BY %s LIMIT %s) r", *_shown(gate), gate.table)
    body = SQL("""
DECLARE
  v_row jsonb;
  v_first jsonb;
  v_rows bigint := 0;
BEGIN
  FOR v_row IN EXECUTE format({}, pb.clauses(conditions, {}, {}), pb.sorting(sort, {}, {}),
                              least(greatest(most, 0), {})) LOOP
    v_rows := v_rows + 1;
    v_first := coalesce(v_first, v_row);
    RETURN NEXT v_row;
  END LOOP;
  PERFORM pb.saw({}, 'list', v_rows, jsonb_build_object('where', conditions, 'sort', sort, 'limit', most), v_first, {});
END""").format(
        query,
        _types(gate, read.filterable),
        _array(read.require_eq),
        _array(read.sortable),
        Literal(listed(gate.collection.primary_key).as_string(None)),
        Literal(read.max_rows),
        Literal(gate.collection.name),
        _types(gate, read.filterable),
    )
    arguments = ("conditions jsonb DEFAULT '[]'", "sort jsonb DEFAULT '[]'", f"most integer DEFAULT {read.max_rows}")
    return arguments, "SETOF jsonb", body


def _aggregate(gate: Gate) -> _Function:
    granted, read = gate.policy.aggregate, gate.policy.read
    assert granted is not None  # noqa: S101 - _functions looked
    filterable = read.filterable if read is not None else ()
    query = _query(
        "SELECT jsonb_build_object('group', %s, 'value', (%s)::text) FROM {} WHERE %s %s HAVING count(*) >= {}"
        " ORDER BY 1 LIMIT {}",
        gate.table,
        Literal(granted.min_group_size),
        Literal(granted.max_groups),
    )
    body = SQL("""
DECLARE
  v_row jsonb;
  v_first jsonb;
  v_rows bigint := 0;
BEGIN
  IF NOT coalesce(function = ANY ({}), false) OR (grouped IS NOT NULL AND NOT grouped = ANY ({}))
     OR (function <> 'count' AND NOT coalesce(field = ANY ({}), false)) THEN
    RAISE EXCEPTION 'this cannot be counted' USING ERRCODE = 'PA006';
  END IF;
  FOR v_row IN EXECUTE format({},
      CASE WHEN grouped IS NULL THEN 'NULL' ELSE format('%I', grouped) END,
      CASE function WHEN 'count' THEN 'count(*)' ELSE format('%I(%I)', function, field) END,
      pb.clauses(conditions, {}, {}),
      CASE WHEN grouped IS NULL THEN '' ELSE format('GROUP BY %I', grouped) END) LOOP
    v_rows := v_rows + 1;
    v_first := coalesce(v_first, v_row);
    RETURN NEXT v_row;
  END LOOP;
  PERFORM pb.saw({}, 'aggregate', v_rows, jsonb_build_object(
    'function', function, 'field', field, 'groupBy', grouped, 'where', conditions), v_first, {});
END""").format(
        _array(granted.functions),
        _array(granted.group_by),
        _array(granted.fields),
        query,
        _types(gate, filterable),
        _array(read.require_eq if read is not None else ()),
        Literal(gate.collection.name),
        _types(gate, filterable),
    )
    arguments = (
        "function text",
        "field text DEFAULT NULL",
        "grouped text DEFAULT NULL",
        "conditions jsonb DEFAULT '[]'",
    )
    return arguments, "SETOF jsonb", body


def _create(gate: Gate) -> _Function:
    granted = gate.policy.create
    assert granted is not None  # noqa: S101 - _functions looked
    asked, given = _asked(gate, "create"), _types(gate, granted.fields)
    fixed = json.dumps({one.field: one.value for one in granted.set})
    types = _types(gate, (*granted.fields, *(one.field for one in granted.set)))
    key = SQL(", ").join(SQL("{}, {}").format(Literal(name), Identifier(name)) for name in gate.collection.primary_key)
    query = _query("INSERT INTO {} (%s) VALUES (%s) RETURNING jsonb_build_object({})", gate.table, key)
    body = SQL("""
DECLARE
  v_request text := pb.digest(jsonb_build_array({}, given)::text);
  v_parts record;
  v_key jsonb := pb.answered(v_request, {}, jsonb_build_object('values', given), {});
BEGIN
  IF v_key IS NOT NULL THEN
    RETURN v_key;
  END IF;
  PERFORM pb.assignments(given, {});
  v_parts := pb.assignments(given || {}, {});
  {}
  PERFORM pb.remember(v_request, v_key);
  RETURN v_key;
END""").format(
        asked,
        asked,
        given,
        given,
        Literal(fixed),
        types,
        _written(gate, "create", SQL("EXECUTE format({}, v_parts.columns, v_parts.given) INTO v_key;").format(query)),
    )
    return ("given jsonb",), "jsonb", body


def _update(gate: Gate) -> _Function:
    granted = gate.policy.update
    assert granted is not None  # noqa: S101 - _functions looked
    asked, match = _asked(gate, "update"), granted.if_match
    query = _query("UPDATE {} SET %s WHERE %s AND %s", gate.table)
    matched: Composable = SQL("'true'")
    if match is not None:
        spelled = SQL(gate.collection.by_name[match].type)
        matched = SQL("format({}, matched)").format(_query("{} = %L::{}", Identifier(match), spelled))
    body = SQL("""
DECLARE
  v_request text := pb.digest(jsonb_build_array({}, key, given, matched)::text);
  v_parts record;
  v_rows bigint := pb.answered(
    v_request, {}, jsonb_build_object('key', key, 'values', given, 'ifMatch', matched), {}) #>> '{{}}';
BEGIN
  IF v_rows IS NOT NULL THEN
    RETURN v_rows;
  END IF;
  v_parts := pb.assignments(given, {});
  IF v_parts.changes IS NULL OR ({} AND matched IS NULL) THEN
    RAISE EXCEPTION 'an update says what changes, and what was read' USING ERRCODE = 'PA006';
  END IF;
  {}
  IF v_rows = 0 THEN
    RAISE EXCEPTION 'there is no such row as it was read' USING ERRCODE = 'PA007';
  END IF;
  PERFORM pb.remember(v_request, to_jsonb(v_rows));
  RETURN v_rows;
END""").format(
        asked,
        asked,
        _types(gate, {*gate.collection.primary_key, *granted.fields}, ifMatch=match),
        _types(gate, granted.fields),
        Literal(match is not None),
        _written(
            gate,
            "update",
            SQL("EXECUTE format({}, v_parts.changes, pb.key(key, {}), {}); GET DIAGNOSTICS v_rows = ROW_COUNT;").format(
                query, _key(gate), matched
            ),
        ),
    )
    return ("key jsonb", "given jsonb", "matched text DEFAULT NULL"), "bigint", body


def _delete(gate: Gate) -> _Function:
    asked, query = _asked(gate, "delete"), _query("DELETE FROM {} WHERE %s", gate.table)
    body = SQL("""
DECLARE
  v_request text := pb.digest(jsonb_build_array({}, key)::text);
  v_rows bigint := pb.answered(v_request, {}, jsonb_build_object('key', key), {}) #>> '{{}}';
BEGIN
  IF v_rows IS NOT NULL THEN
    RETURN v_rows;
  END IF;
  {}
  IF v_rows = 0 THEN
    RAISE EXCEPTION 'there is no such row' USING ERRCODE = 'PA007';
  END IF;
  PERFORM pb.remember(v_request, to_jsonb(v_rows));
  RETURN v_rows;
END""").format(
        asked,
        asked,
        _key(gate),
        _written(
            gate,
            "delete",
            SQL("EXECUTE format({}, pb.key(key, {})); GET DIAGNOSTICS v_rows = ROW_COUNT;").format(query, _key(gate)),
        ),
    )
    return ("key jsonb",), "bigint", body


def _written(gate: Gate, operation: str, statement: Composable) -> Composable:
    """The write itself. Postgres quotes values and names constraints, and tells one from another: one word does not."""
    asked = SQL("PERFORM pb.may_tell({}, {});").format(Literal(gate.collection.name), Literal(operation))
    return SQL("""{}
  BEGIN
    {}
  EXCEPTION WHEN integrity_constraint_violation THEN
    RAISE EXCEPTION 'the database does not take this' USING ERRCODE = 'PA010';
  END;""").format(asked if operation in gate.telling else SQL("-- What is refused tells of no other row."), statement)


def _shown(gate: Gate) -> tuple[Composable, Composable]:
    """The row as it is answered, and the columns that it is made of: text takes their place only after the sorting."""
    read = gate.policy.read
    fields = read.fields if read is not None else ()
    lossy = [name for name in fields if gate.collection.by_name[name].kind in _LOSSY]
    texts = SQL(", ").join(SQL("{}, r.{}::text").format(Literal(name), Identifier(name)) for name in lossy)
    return SQL("to_jsonb(r) || jsonb_build_object({})").format(texts), listed(fields)


def _query(template: str, *parts: Composable) -> Composable:
    """A query as the text that ``format`` is given: a % in a name is one, and no place for a value."""
    escaped = (SQL(part.as_string(None).replace("%", "%%")) for part in parts)
    return Literal(SQL(template).format(*escaped).as_string(None))


def _types(gate: Gate, names: Iterable[str], **more: str | None) -> Composable:
    """The type of each column; ``more`` are arguments that have another name than their column."""
    columns = {name: name for name in names} | {name: column for name, column in more.items() if column is not None}
    return Literal(json.dumps({name: gate.collection.by_name[columns[name]].type for name in sorted(columns)}))


def _asked(gate: Gate, operation: str) -> Composable:
    """What is asked, as the first part of what a request is known by."""
    return Literal(f"{gate.collection.name}.{operation}")


def _key(gate: Gate) -> Composable:
    return _types(gate, gate.collection.primary_key)


def _array(names: Iterable[str]) -> Composable:
    return SQL("ARRAY[{}]::text[]").format(SQL(", ").join(Literal(name) for name in names))
