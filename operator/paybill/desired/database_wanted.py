"""What the catalogs of a shared Postgres should show for a tenant: roles, memberships, settings, schema and grants.

Access is taken away by NOLOGIN and by membership, never by a setting, because a session overrides its settings at
will (research, attack 29). Taking the app logins out of the writing role costs the same however many tables there are
and gives nothing back that was not theirs.
"""

from collections.abc import Iterable

from paybill.desired import sql_names as names
from paybill.desired.database_facts import (
    SUPERUSER_SETTINGS,
    DefaultGrant,
    Facts,
    Grant,
    Membership,
    ObservedDatabase,
    Role,
    Schema,
    ServerTraits,
    Setting,
    Stray,
)
from paybill.desired.database_tenant import TenantDatabase


def wanted(desired: TenantDatabase, traits: ServerTraits) -> Facts:
    """The facts the catalogs should show; what the server refuses to a managed administrator is left out."""
    own = names.schema(desired.id)
    owner = names.role(desired.id, "owner")
    return Facts(
        roles=frozenset(_roles(desired)),
        memberships=frozenset(_memberships(desired, traits)),
        settings=frozenset(s for s in _settings(desired) if _may_set(s, traits)),
        schemas=frozenset({Schema(own, owner)} if desired.level == "Schema" else ()),
        grants=frozenset(_grants(desired, traits)),
        default_grants=frozenset(_default_grants(desired)),
    )


def comparable(desired: TenantDatabase, observed: ObservedDatabase) -> Facts:
    """What was seen, without what others look after: the logins of jobs, which open, fill and close them, and agents.

    An agent's grants are its policy's business (agents/drift.py) while there is one; then they are strays.
    """
    jobs = {names.role(desired.id, f"{kind}_{slot}") for kind in names.JOB_KINDS for slot in names.SLOTS}
    seen = observed.facts
    return Facts(
        roles=frozenset(r for r in seen.roles if r.name not in jobs),
        memberships=frozenset(m for m in seen.memberships if m.member not in jobs),
        settings=frozenset(s for s in seen.settings if s.role not in jobs),
        schemas=seen.schemas,
        grants=frozenset(g for g in seen.grants if g.grantee not in desired.agent_roles),
        default_grants=seen.default_grants,
    )


def strangers(desired: TenantDatabase, observed: ObservedDatabase) -> frozenset[Stray]:
    """The strays that are nobody's business here: what agents hold in the tenant's schema is their policies'."""
    allowed = desired.agent_roles
    return frozenset(one for one in observed.strays if not (one.inside and not one.owned and one.role in allowed))


def describe(fact: Membership | Setting | Grant | DefaultGrant) -> str:
    """A fact in a sentence's half, as status and audit show it."""
    match fact:
        case Membership():
            marks = [w for w, on in (("ADMIN", fact.admin), ("INHERIT", fact.inherit), ("SET", fact.set_role)) if on]
            return f"membership of {fact.member} in {fact.role} ({', '.join(marks) or 'no option'})"
        case Setting():
            where = f" in database {fact.database}" if fact.database else ""
            return f"setting {fact.name}={fact.value} of {fact.role}{where}"
        case Grant():
            more = " with grant option" if fact.grantable else ""
            what = ", ".join(fact.privileges)
            return f"{what} on {fact.kind.lower()} {fact.name} for {fact.grantee or 'PUBLIC'}{more}"
        case DefaultGrant():
            where = f" in schema {fact.schema}" if fact.schema else ""
            what = ", ".join(fact.privileges)
            return f"default {what} on {fact.objects.lower()} of {fact.role}{where} for {fact.grantee or 'PUBLIC'}"


def degraded(desired: TenantDatabase, traits: ServerTraits) -> tuple[str, ...]:
    """What is declared but this server's administrator may not do, for people."""
    refused = sorted({s.name for s in _settings(desired) if not _may_set(s, traits)})
    return tuple(f"{name} is not set: {traits.admin} may not set it on this server" for name in refused)


def _may_set(setting: Setting, traits: ServerTraits) -> bool:
    return setting.name not in SUPERUSER_SETTINGS or setting.name in traits.settable


def _roles(desired: TenantDatabase) -> Iterable[Role]:
    groups = names.GROUPS if desired.level == "Schema" else ("rw", "r")
    yield from (Role(names.role(desired.id, group), ("INHERIT",)) for group in groups)
    limits = {"app": desired.connections, "ro": max(1, desired.connections // 4), "mig": 2}
    for suffix in desired.suffixes:
        kind, name = names.login_kind(suffix), names.role(desired.id, suffix)
        # The migration login inherits nothing: whatever it makes it makes as the owner, so rotation moves no ownership.
        on = {"LOGIN"} if name not in desired.closed_logins else set()
        on |= {"INHERIT"} if kind != "mig" else set()
        yield Role(name, tuple(sorted(on)), limits[kind])


def _memberships(desired: TenantDatabase, traits: ServerTraits) -> Iterable[Membership]:
    rw, r = names.role(desired.id, "rw"), names.role(desired.id, "r")

    def holds(role: str, member: str) -> Membership:
        return Membership(role, member, set_role=not traits.grant_options)

    for group in (rw, r):
        yield holds(desired.database, group)
        if desired.level == "Rows":
            yield holds(names.TENANTS, group)
            yield holds(names.ROWS_WRITE if group == rw else names.ROWS_READ, group)
    if desired.level == "Schema":
        yield holds(desired.database, names.role(desired.id, "owner"))
    for suffix in desired.suffixes:
        login = names.role(desired.id, suffix)
        match names.login_kind(suffix):
            case "app":
                yield holds(rw if desired.access == "Full" else r, login)
            case "ro":
                yield holds(r, login)
            case _:
                yield Membership(names.role(desired.id, "owner"), login, inherit=not traits.grant_options)
                if traits.grant_options:
                    yield holds(desired.database, login)


def _settings(desired: TenantDatabase) -> Iterable[Setting]:
    for suffix in desired.suffixes:
        login, kind = names.role(desired.id, suffix), names.login_kind(suffix)
        yield Setting(login, desired.database, "search_path", f"{desired.schema}, {names.EXTENSIONS_SCHEMA}")
        if desired.temp_files_kb is not None:
            yield Setting(login, "", "temp_file_limit", str(desired.temp_files_kb))
        if kind == "mig":
            yield Setting(login, desired.database, "role", names.role(desired.id, "owner"))
            yield Setting(login, "", "log_statement", "ddl")
            continue
        if kind == "ro":
            yield Setting(login, "", "default_transaction_read_only", "on")
        if desired.statement_timeout_ms is not None:
            yield Setting(login, "", "statement_timeout", str(desired.statement_timeout_ms))
        if desired.idle_in_transaction_ms is not None:
            yield Setting(login, "", "idle_in_transaction_session_timeout", str(desired.idle_in_transaction_ms))


def _grants(desired: TenantDatabase, traits: ServerTraits) -> Iterable[Grant]:
    if desired.level == "Schema":
        for group in ("rw", "r"):
            yield Grant("SCHEMA", desired.schema, names.role(desired.id, group), ("USAGE",))
    if not traits.grant_options:
        # Before Postgres 16 a login that inherits nothing cannot hold CONNECT through the pool's group.
        for suffix in desired.suffixes:
            if names.login_kind(suffix) == "mig":
                yield Grant("DATABASE", desired.database, names.role(desired.id, suffix), ("CONNECT",))


def _default_grants(desired: TenantDatabase) -> Iterable[DefaultGrant]:
    if desired.level == "Rows":
        return
    owner, rw, r = (names.role(desired.id, group) for group in names.GROUPS)
    yield DefaultGrant(owner, desired.schema, "TABLES", rw, ("DELETE", "INSERT", "SELECT", "UPDATE"))
    yield DefaultGrant(owner, desired.schema, "TABLES", r, ("SELECT",))
    # A dump reads sequences, and backups log in with the reading role (design review, item 4).
    yield DefaultGrant(owner, desired.schema, "SEQUENCES", rw, ("SELECT", "USAGE"))
    yield DefaultGrant(owner, desired.schema, "SEQUENCES", r, ("SELECT",))
    yield DefaultGrant(owner, desired.schema, "FUNCTIONS", rw, ("EXECUTE",))
    yield DefaultGrant(owner, desired.schema, "FUNCTIONS", r, ("EXECUTE",))
    # Only the global form can take PUBLIC's EXECUTE away; it leaves the owner's own entry behind.
    yield DefaultGrant(owner, "", "FUNCTIONS", owner, ("EXECUTE",))
