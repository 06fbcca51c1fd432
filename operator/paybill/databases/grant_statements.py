"""Repairs of schemas and of what is granted on and in them: one statement for each difference."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.databases.statement import Statement, grantee, listed
from paybill.desired import sql_names as names
from paybill.desired.database import describe
from paybill.desired.database_facts import EVERYWHERE, DefaultGrant, Grant, ObservedDatabase, Schema
from paybill.desired.database_tenant import TenantDatabase

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
            yield Statement(f"create schema {schema.name}", create, as_member=True)
            yield Statement(f"mark schema {schema.name}", comment, as_owner=True)
        elif owners[schema.name] != schema.owner:
            back = SQL("ALTER SCHEMA {} OWNER TO {}").format(name, owner)
            yield Statement(f"give schema {schema.name} back to {schema.owner}", back)


def grants(want: frozenset[Grant], seen: frozenset[Grant]) -> Iterator[Statement]:
    """Revoke what is not wanted, then grant what is missing, several grantees at once."""
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
            as_owner=grant.kind == "SCHEMA",
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
            as_owner=kind == "SCHEMA",
        )


def default_grants(want: frozenset[DefaultGrant], seen: frozenset[DefaultGrant]) -> Iterator[Statement]:
    """The same for what new objects are granted."""
    for grant in sorted(seen - want):
        yield Statement(
            f"revoke {describe(grant)}",
            SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} REVOKE ALL ON {} FROM {} CASCADE").format(
                Identifier(grant.role), _in_schema(grant), SQL(grant.objects), grantee(grant.grantee)
            ),
            as_owner=True,
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
            as_owner=True,
        )


def _in_schema(grant: DefaultGrant) -> Composable:
    return SQL(" IN SCHEMA {}").format(Identifier(grant.schema)) if grant.schema else SQL("")


def strays(desired: TenantDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """Revoke what strangers hold inside, and outside what this administrator can; the rest stays a difference."""
    for stray in sorted(observed.strays):
        word = _GRANTABLE.get(stray.kind)
        here = stray.database in (desired.database, EVERYWHERE) and (stray.inside or observed.traits.superuser)
        if word is None or stray.owned or not here:
            continue
        what = _WRITES.get(word, "ALL") if stray.role == names.role(desired.id, "r") else "ALL"
        yield Statement(
            f"revoke what {stray}",
            # pg_identify_object quotes the identity itself; it is the server's text, not a tenant's.
            SQL("REVOKE {} ON {} {} FROM {} CASCADE").format(
                SQL(what), SQL(word), SQL(stray.identity), grantee(stray.role)
            ),
            as_owner=stray.inside,
        )


_WRITES: Final = {"TABLE": "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER", "SEQUENCE": "USAGE, UPDATE"}
"""What the reading role of a tenant may not be given."""
