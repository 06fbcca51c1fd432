"""Repairs of a tenant's roles, memberships and settings: one statement for each difference."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from paybill.databases.statement import Statement, listed
from paybill.desired.database import describe, retired
from paybill.desired.database_facts import Facts, Membership, ObservedDatabase, Role, ServerTraits, Setting
from paybill.desired.database_tenant import TenantDatabase

POWERS: Final = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")


def roles(
    desired: TenantDatabase, want: Facts, seen: Facts, passwords: Mapping[str, str], observed: ObservedDatabase
) -> Iterator[Statement]:
    """Create, alter and close roles; set the ``passwords`` (SCRAM verifiers by login) that are not there yet."""
    there = {role.name: role for role in seen.roles}
    for role in sorted(want.roles):
        found = there.pop(role.name, None)
        verifier = passwords.get(role.name)
        if found is None:
            yield from _create(role, desired.mark, verifier)
            continue
        if found != role:
            yield Statement(f"alter role {role.name}", _alter(role, found))
        if verifier is not None and (observed.passwords or {}).get(role.name) != verifier:
            yield Statement(f"set password of {role.name}", _password(role.name, verifier))
    for role in sorted(there.values()):
        empty = SQL("ALTER ROLE {} PASSWORD NULL").format(Identifier(role.name))
        if not retired(role):
            closed = Role(role.name, tuple(a for a in role.attributes if a == "INHERIT"), role.connections)
            yield Statement(f"close role {role.name}, which is not in use", _alter(closed, role))
            yield Statement("", empty)
        elif role.name in (observed.passwords or {}):
            yield Statement(f"remove password of {role.name}", empty)


def _create(role: Role, mark: str, verifier: str | None) -> Iterator[Statement]:
    parts: list[Composable] = [SQL("CREATE ROLE {}").format(Identifier(role.name)), _attributes(role, ())]
    if role.connections >= 0:
        parts.append(SQL("CONNECTION LIMIT {}").format(Literal(role.connections)))
    if verifier is not None:
        parts.append(SQL("PASSWORD {}").format(Literal(verifier)))
    yield Statement(f"create role {role.name}", SQL(" ").join(parts))
    yield Statement(
        f"mark role {role.name}", SQL("COMMENT ON ROLE {} IS {}").format(Identifier(role.name), Literal(mark))
    )


def _attributes(role: Role, off: Iterable[str]) -> Composable:
    words = ["LOGIN" if "LOGIN" in role.attributes else "NOLOGIN"]
    words.append("INHERIT" if "INHERIT" in role.attributes else "NOINHERIT")
    words.extend(f"NO{word}" for word in off)
    return SQL(" ".join(words))


def _alter(role: Role, found: Role) -> Composed:
    # Powers are named only when one is on: a managed administrator may not even say NOSUPERUSER.
    off = [word for word in POWERS if word in found.attributes]
    statement = SQL("ALTER ROLE {} {} CONNECTION LIMIT {}").format(
        Identifier(role.name), _attributes(role, off), Literal(role.connections)
    )
    return SQL("{} VALID UNTIL 'infinity'").format(statement) if found.expires else statement


def _password(login: str, verifier: str) -> Composed:
    return SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(login), Literal(verifier))


def memberships(want: frozenset[Membership], seen: frozenset[Membership], traits: ServerTraits) -> Iterator[Statement]:
    """Revoke what is not wanted, then grant what is missing, several members at once."""
    kept = {(m.role, m.member) for m in want}
    for membership in sorted(seen - want):
        by = SQL(" GRANTED BY {}").format(Identifier(membership.grantor)) if traits.grant_options else SQL("")
        yield Statement(
            f"revoke {describe(membership)}",
            SQL("REVOKE {} FROM {}{} CASCADE").format(Identifier(membership.role), Identifier(membership.member), by),
        )
    again = {(m.role, m.member) for m in seen - want} & kept
    missing: defaultdict[tuple[str, bool, bool], list[str]] = defaultdict(list)
    for membership in sorted(want):
        if membership not in seen or (membership.role, membership.member) in again:
            missing[(membership.role, membership.inherit, membership.set_role)].append(membership.member)
    for (role, inherit, set_role), members in missing.items():
        options = SQL(f" WITH INHERIT {inherit}, SET {set_role}") if traits.grant_options else SQL("")
        yield Statement(
            f"grant {role} to {', '.join(members)}",
            SQL("GRANT {} TO {}{}").format(Identifier(role), listed(members), options),
        )


def settings(want: frozenset[Setting], seen: frozenset[Setting]) -> Iterator[Statement]:
    """Remove what is not wanted and put what is."""
    kept = {(s.role, s.database, s.name) for s in want}
    for setting in sorted(seen - want):
        if (setting.role, setting.database, setting.name) not in kept:
            yield Statement(
                f"remove {describe(setting)}", SQL("ALTER ROLE {} RESET {}").format(_whose(setting), _name(setting))
            )
    for setting in sorted(want - seen):
        yield Statement(
            f"put {describe(setting)}",
            SQL("ALTER ROLE {} SET {} = {}").format(_whose(setting), _name(setting), _value(setting)),
        )


def _name(setting: Setting) -> Composable:
    return SQL(".").join(Identifier(part) for part in setting.name.split("."))


def _whose(setting: Setting) -> Composable:
    if not setting.database:
        return Identifier(setting.role)
    return SQL("{} IN DATABASE {}").format(Identifier(setting.role), Identifier(setting.database))


def _value(setting: Setting) -> Composable:
    if setting.name == "search_path":
        return listed(setting.value.split(", "))
    return Literal(setting.value)
