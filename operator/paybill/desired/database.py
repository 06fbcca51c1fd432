"""Compares what a tenant should have in Postgres with what the catalogs show, in words for people.

Kept apart from the builders because it is the probe: it runs on every reconcile, for every tenant, and an empty
answer means that nothing is done and nothing is written.
"""

from collections.abc import Iterable

from paybill.desired import sql_names as names
from paybill.desired.database_beyond import judged
from paybill.desired.database_facts import DefaultGrant, Facts, Grant, Membership, ObservedDatabase, Role, Setting
from paybill.desired.database_tenant import PoolDatabase, TenantDatabase
from paybill.desired.database_wanted import comparable, degraded, describe, strangers, wanted
from paybill.desired.sql_names import pool_database_name

__all__ = [
    "ObservedDatabase",
    "PoolDatabase",
    "TenantDatabase",
    "comparable",
    "conflicts",
    "degraded",
    "describe",
    "differences",
    "foreign",
    "judged",
    "narrows",
    "pool_database_name",
    "strangers",
    "wanted",
]


def differences(desired: TenantDatabase, observed: ObservedDatabase) -> tuple[str, ...]:
    """What is not as it should be, one sentence each; empty when the tenant is in place."""
    if observed.absent:
        return (f"tenant {desired.id} has no roles and no schema in database {desired.database}",)
    observed, _ = judged(desired, observed)
    want, seen = wanted(desired, observed.traits), comparable(desired, observed)
    return (
        *conflicts(desired, observed),
        *_roles(want, seen),
        *_others(want, seen),
        *(str(stray) for stray in sorted(strangers(desired, observed))),
        *_sessions(desired, observed),
        *_passwords(desired, observed),
    )


def narrows(desired: TenantDatabase, observed: ObservedDatabase) -> bool:
    """Whether a login that is open would be closed, or one that may write would only read."""
    closed = set(desired.closed_logins)
    if any(role.name in closed and "LOGIN" in role.attributes for role in observed.facts.roles):
        return desired.access != "Full"
    writers = names.role(desired.id, "rw")
    logins = set(desired.login_names)
    writes = any(one.role == writers and one.member in logins for one in observed.facts.memberships)
    return desired.access != "Full" and writes


def conflicts(desired: TenantDatabase, observed: ObservedDatabase) -> tuple[str, ...]:
    """Objects with this tenant's names that are not marked as this tenant's; nothing may be changed then."""
    return foreign(observed, desired.mark)


def foreign(observed: ObservedDatabase, mark: str) -> tuple[str, ...]:
    """What was seen under a tenant's names and does not carry ``mark``."""
    return tuple(
        f"{what} is marked {found!r}, not {mark!r}" if found else f"{what} exists and is not marked as Paybill's"
        for what, found in sorted(observed.marks.items())
        if found != mark
    )


def _roles(want: Facts, seen: Facts) -> Iterable[str]:
    wanted_roles = {role.name: role for role in want.roles}
    seen_roles = {role.name: role for role in seen.roles}
    for name in sorted(wanted_roles.keys() | seen_roles.keys()):
        should, does = wanted_roles.get(name), seen_roles.get(name)
        if does is None:
            yield f"role {name} is missing"
        elif should is None:
            if retired(does) is False:
                yield f"role {name} is not in use but {_attributes(does)}"
        elif should != does:
            yield f"role {name} is {_attributes(does)}, should be {_attributes(should)}"


def retired(role: Role) -> bool:
    """Whether a role that is not in use is as harmless as one can be: no login, no attribute of power."""
    return set(role.attributes) <= {"INHERIT"}


def _attributes(role: Role) -> str:
    expires = f" until {role.expires}" if role.expires else ""
    return f"{' '.join(role.attributes) or 'without attributes'} limit {role.connections}{expires}"


def _others(want: Facts, seen: Facts) -> Iterable[str]:
    for schema in sorted(want.schemas - seen.schemas):
        yield f"schema {schema.name} owned by {schema.owner} is missing"
    for schema in sorted(seen.schemas - want.schemas):
        yield f"schema {schema.name} owned by {schema.owner} should not be"
    pairs: tuple[tuple[frozenset[Membership | Setting | Grant | DefaultGrant], ...], ...] = (
        (frozenset(want.memberships), frozenset(seen.memberships)),
        (frozenset(want.settings), frozenset(seen.settings)),
        (frozenset(want.grants), frozenset(seen.grants)),
        (frozenset(want.default_grants), frozenset(seen.default_grants)),
    )
    for should, does in pairs:
        yield from (f"missing: {describe(fact)}" for fact in sorted(should - does, key=repr))
        yield from (f"not declared: {describe(fact)}" for fact in sorted(does - should, key=repr))


def _sessions(desired: TenantDatabase, observed: ObservedDatabase) -> Iterable[str]:
    for login, count in sorted(observed.sessions.items()):
        if login in desired.closed_logins and count:
            yield f"login {login} is closed but has {count} open sessions"


def _passwords(desired: TenantDatabase, observed: ObservedDatabase) -> Iterable[str]:
    if observed.passwords is None:
        return
    there = {role.name for role in observed.facts.roles}
    for login in desired.handed_names:
        if login in there and login not in observed.passwords:
            yield f"login {login} has no password"
    for login in sorted(observed.passwords.keys() - set(desired.login_names)):
        if names.login_kind(login.removeprefix(f"pb_{desired.id}_")) not in names.JOB_KINDS:
            yield f"login {login} is not in use but has a password"
