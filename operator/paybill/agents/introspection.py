"""Reads a tenant's database from its catalogs: what there is for a policy to grant, and what stands around it.

Everything is read in one snapshot, so a migration that runs meanwhile is seen whole or not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.pq import TransactionStatus

from paybill.agents import introspection_queries as queries
from paybill.agents import names
from paybill.agents.facts import (
    Collection,
    Column,
    ColumnKind,
    Facts,
    Guarded,
    Reference,
    ReferenceAction,
    Schema,
    Surroundings,
)
from paybill.agents.hardening import CATALOGS, FUNCTIONS
from paybill.api.failures import Blocked
from paybill.databases.failures import as_failure
from paybill.databases.server import Session

_INTEGERS: Final = {"int2": 16, "int4": 32, "int8": 64}
_KINDS: Final[Mapping[str, ColumnKind]] = {
    "bool": "Boolean", "int2": "Integer", "int4": "Integer", "int8": "Integer", "numeric": "Decimal",
    "float4": "Float", "float8": "Float", "text": "Text", "varchar": "Text", "bpchar": "Text", "uuid": "Uuid",
    "date": "Date", "timestamp": "Timestamp", "timestamptz": "Timestamp", "time": "Time", "jsonb": "Json",
}  # fmt: skip
_ACTIONS: Final[Mapping[str, ReferenceAction]] = {
    "a": "NoAction", "r": "Restrict", "c": "Cascade", "n": "SetNull", "d": "SetDefault",
}  # fmt: skip


async def introspect(session: Session, database: str, schema: str, tenant: str) -> Facts:
    """The facts of ``schema`` in the database that ``session`` is on, for the agents of ``tenant``.

    In the middle of a transaction it is what that sees. Raises ``Blocked("SchemaMissing")`` and what the loss of the
    server is.
    """
    values = {"schema": schema, "mine": f"{names.PREFIX}{tenant}\\_%", "agents": "pba\\_%"}
    with as_failure(database):
        fresh = session.info.transaction_status is TransactionStatus.IDLE
        async with session.transaction():
            if fresh:
                await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await session.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            found = await _rows(session, "SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s", values)
            if not found:
                raise Blocked("SchemaMissing", f"database {database} has no schema {schema}")
            values["schema"] = schema
            return Facts(
                database=database,
                schema_=await _schema(session, schema, values),
                surroundings=await _surroundings(session, values),
            )


async def _rows(session: Session, query: str, values: Mapping[str, Any]) -> list[Sequence[Any]]:
    return list(await (await session.execute(query.encode(), values)).fetchall())


async def _schema(session: Session, schema: str, values: Mapping[str, Any]) -> Schema:
    columns: defaultdict[tuple[str, str], list[Column]] = defaultdict(list)
    for name, kind, *rest in await _rows(session, queries.COLUMNS, values):
        columns[name, kind].append(_column(*rest))
    primary: dict[str, tuple[str, ...]] = {}
    unique: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for name, is_primary, key in await _rows(session, queries.KEYS, values):
        if is_primary:
            primary[name] = tuple(key)
        else:
            unique[name].append(tuple(key))
    references: defaultdict[str, list[Reference]] = defaultdict(list)
    for name, key, target, to, on_delete, on_update in await _rows(session, queries.REFERENCES, values):
        references[name].append(
            Reference(
                columns=tuple(key),
                collection=target,
                to=tuple(to),
                on_delete=_ACTIONS[on_delete],
                on_update=_ACTIONS[on_update],
            )
        )
    return Schema(
        name=schema,
        collections=tuple(
            Collection(
                name=name,
                kind=kind,
                columns=tuple(listed),
                primary_key=primary.get(name, ()),
                unique=tuple(unique[name]),
                references=tuple(references[name]),
            )
            for (name, kind), listed in columns.items()
        ),
    )


def _column(
    name: str,
    spelled: str,
    base: str,
    base_type: str,
    builtin: bool,
    modifier: int,
    nullable: bool,
    defaulted: bool,
    generated: bool,
    labels: Sequence[str],
    sequence: str,
) -> Column:
    kind: ColumnKind = _KINDS.get(base, "Opaque") if builtin else "Enum" if base_type == "e" else "Opaque"
    precision, scale = _decimal(modifier) if kind == "Decimal" else (None, None)
    return Column(
        name=name,
        type=spelled,
        kind=kind,
        nullable=nullable,
        defaulted=defaulted or generated,
        generated=generated,
        bits=_INTEGERS.get(base) if kind == "Integer" else None,
        precision=precision,
        scale=scale,
        length=modifier - 4 if kind == "Text" and modifier >= 4 else None,
        labels=tuple(labels),
        sequence=sequence,
    )


def _decimal(modifier: int) -> tuple[int | None, int | None]:
    """Precision and scale out of ``atttypmod``: the scale has 11 bits and a sign (numeric.c, numeric_typmod_scale)."""
    if modifier < 4:
        return None, None
    scale = (modifier - 4) & 0x7FF
    return (modifier - 4) >> 16 & 0xFFFF, scale - 0x800 if scale >= 0x400 else scale


async def _surroundings(session: Session, values: Mapping[str, Any]) -> Surroundings:
    [(version, superuser, roles, insiders)] = await _rows(session, queries.SERVER, values)
    memberships = await _rows(session, queries.MEMBERSHIPS, values)
    databases = await _rows(session, queries.OPEN_DATABASES, values)
    schemas = await _rows(session, queries.OPEN_SCHEMAS, values)
    functions = await _rows(session, queries.OPEN_FUNCTIONS, {"closed": f"^({'|'.join(FUNCTIONS)})$"})
    catalogs = await _rows(session, queries.OPEN_CATALOGS, {"closed": list(CATALOGS)})
    definers = await _rows(session, queries.OPEN_DEFINERS, values)
    strays = await _rows(session, queries.STRAYS, values)
    return Surroundings(
        version=version,
        superuser=superuser,
        roles=tuple(roles),
        memberships=tuple((role, member) for role, member in memberships),
        insiders=tuple(insiders),
        open_databases=tuple(name for (name,) in databases),
        open_schemas=tuple(name for (name,) in schemas),
        open_functions=tuple(name for (name,) in functions),
        open_catalogs=tuple(name for (name,) in catalogs),
        open_definers=tuple(name for (name,) in definers),
        strays=tuple(name for (name,) in strays),
        guarded=tuple(
            Guarded(
                collection=name,
                owner=owner,
                row_security=row_security,
                grantees=tuple(grantees),
                policies=tuple(policies),
            )
            for name, owner, row_security, grantees, policies in await _rows(session, queries.GUARDED, values)
        ),
    )
