"""The repairs that make an observed tenant be as desired, in the order in which they may run.

They are pure values, so a test can stop after any of them, and a tenant that is nowhere is just one with everything
to repair: making and healing are the same code.
"""

from collections.abc import Mapping

from paybill.databases import grant_statements, role_statements
from paybill.databases.statement import Statement
from paybill.desired import sql_names as names
from paybill.desired.database import comparable, strangers, wanted
from paybill.desired.database_facts import ObservedDatabase
from paybill.desired.database_tenant import TenantDatabase


def repairs(desired: TenantDatabase, observed: ObservedDatabase, passwords: Mapping[str, str]) -> tuple[Statement, ...]:
    """What makes ``observed`` be as ``desired``; ``passwords`` maps logins to SCRAM verifiers."""
    want, seen = wanted(desired, observed.traits), comparable(desired, observed)
    return (
        *role_statements.roles(desired, want, seen, passwords, observed),
        *role_statements.memberships(want.memberships, seen.memberships, observed.traits),
        *role_statements.settings(want.settings, seen.settings),
        *grant_statements.schemas(want.schemas, seen.schemas, desired.mark),
        *grant_statements.grants(want.grants, seen.grants, names.role(desired.id, "owner")),
        *grant_statements.default_grants(want.default_grants, seen.default_grants),
        *grant_statements.strays(strangers(desired, observed), desired.id, desired.database, observed.traits),
    )
