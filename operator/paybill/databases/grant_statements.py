"""Repairs of schemas and of what is granted on and in them: one statement for each difference."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.databases.statement import Statement, grantee, listed
from paybill.desired import sql_names as names
from paybill.desired.database import describe
from paybill.desired.database_facts import EVERYWHERE, DefaultGrant, Grant, Schema, ServerTraits, Stray

_GRANTABLE: Final = {
    "table": "TABLE",
    "view": "TABLE",
    "materialized view": "TABLE",
    "foreign table": "TABLE",
    "sequence": "SEQUENCE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "schema": "SCHEMA",
    "type": "TYPE",
    "parameter ACL": "PARAMETER",
}


def schemas(want: frozenset[Schema], seen: frozenset[Schema], mark: str) -> Iterator[Statement]:
    """Create what is missing with ``mark``, and give back what has another owner."""
    owners = {schema.name: schema.owner for schema in seen}
    for schema in sorted(want):
        name, owner = Identifier(schema.name), Identifier(schema.owner)
        if schema.name not in owners:
            create = SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(name, owner)
            comment = SQL("COMMENT ON SCHEMA {} IS {}").format(name, Literal(mark))
            yield Statement(f"create schema {schema.name}", create, member=schema.owner)
            yield Statement(f"mark schema {schema.name}", comment, owner=schema.owner)
        elif owners[schema.name] != schema.owner:
            back = SQL("ALTER SCHEMA {} OWNER TO {}").format(name, owner)
            yield Statement(f"give schema {schema.name} back to {schema.owner}", back)


def grants(want: frozenset[Grant], seen: frozenset[Grant], owner: str = "") -> Iterator[Statement]:
    """Revoke what is not wanted, then grant what is missing; ``owner`` is the role that owns the schemas."""
    if any(grant.kind == "DATABASE" for grant in want ^ seen):
        # All grants on a database share one catalog row, which two transactions cannot change at a time.
        yield Statement("", SQL("SELECT pg_advisory_xact_lock(hashtextextended('paybill database grants', 0))"))
    kept = {(g.kind, g.name, g.grantee) for g in want}
    again = set()
    for grant in sorted(seen - want):
        again |= {(grant.kind, grant.name, grant.grantee)} & kept
        yield Statement(
            f"revoke {describe(grant)}",
            SQL("REVOKE ALL ON {} {} FROM {} CASCADE").format(
                SQL(grant.kind), Identifier(grant.name), grantee(grant.grantee)
            ),
            owner=owner if grant.kind == "SCHEMA" else "",
        )
    missing: defaultdict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for grant in sorted(want):
        if grant not in seen or (grant.kind, grant.name, grant.grantee) in again:
            missing[(grant.kind, grant.name, grant.privileges)].append(grant.grantee)
    for (kind, name, privileges), grantees in missing.items():
        yield Statement(
            f"grant {', '.join(privileges)} on {kind.lower()} {name} to {', '.join(grantees)}",
            SQL("GRANT {} ON {} {} TO {}").format(
                SQL(", ".join(privileges)), SQL(kind), Identifier(name), listed(grantees)
            ),
            owner=owner if kind == "SCHEMA" else "",
        )


def default_grants(want: frozenset[DefaultGrant], seen: frozenset[DefaultGrant]) -> Iterator[Statement]:
    """The same for what new objects are granted."""
    for grant in sorted(seen - want):
        yield Statement(
            f"revoke {describe(grant)}",
            SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} REVOKE ALL ON {} FROM {} CASCADE").format(
                Identifier(grant.role), _in_schema(grant), SQL(grant.objects), grantee(grant.grantee)
            ),
            owner=grant.role,
        )
    changed = {(g.schema, g.objects, g.grantee) for g in seen - want}
    missing: defaultdict[tuple[str, str, str, tuple[str, ...]], list[DefaultGrant]] = defaultdict(list)
    for grant in sorted(want):
        if grant not in seen or (grant.schema, grant.objects, grant.grantee) in changed:
            missing[(grant.role, grant.schema, grant.objects, grant.privileges)].append(grant)
    for (role, schema, objects, privileges), grants in missing.items():
        what = SQL("GRANT {} ON {} TO {}").format(
            SQL(", ".join(privileges)), SQL(objects), listed(g.grantee for g in grants)
        )
        if not schema:
            # What the owner keeps after PUBLIC's EXECUTE is gone is the entry that was looked for.
            what = SQL("REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC").format()
        yield Statement(
            "; ".join(describe(grant) for grant in grants),
            SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} {}").format(Identifier(role), _in_schema(grants[0]), what),
            owner=role,
        )


def _in_schema(grant: DefaultGrant) -> Composable:
    return SQL(" IN SCHEMA {}").format(Identifier(grant.schema)) if grant.schema else SQL("")


def strays(found: Iterable[Stray], tenant: str, database: str, traits: ServerTraits) -> Iterator[Statement]:
    """Revoke what strangers hold inside and ``tenant`` holds outside, where it can be done; the rest is left out."""
    for stray in sorted(found):
        word = _GRANTABLE.get(stray.kind)
        if word is None or stray.owned or stray.database not in (database, EVERYWHERE):
            continue
        owner = names.role(tenant, "owner") if stray.inside else _owner_of(stray)
        if not owner and not traits.superuser:
            continue
        what = _WRITES.get(word, "ALL") if stray.role == names.role(tenant, "r") and stray.inside else "ALL"
        yield Statement(
            f"revoke what {stray}",
            # pg_identify_object quotes the identity itself; it is the server's text, not a tenant's.
            SQL("REVOKE {} ON {} {} FROM {} CASCADE").format(
                SQL(what), SQL(word), SQL(stray.identity), grantee(stray.role)
            ),
            owner=owner,
        )


def _owner_of(stray: Stray) -> str:
    """The owner role of the other tenant in whose schema the object is; empty elsewhere."""
    match = _IN_TENANT_SCHEMA.match(stray.identity)
    return names.role(match.group(1), "owner") if match else ""


_IN_TENANT_SCHEMA: Final = re.compile(r"t_([0-9a-z]{8})(?:\.|$)")
_WRITES: Final = {"TABLE": "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER", "SEQUENCE": "USAGE, UPDATE"}
"""What the reading role of a tenant may not be given."""
