"""What a tenant holds, or others hold of it, beyond what is declared: told apart from what is missing.

Where a Cell only reports that, it is left out of what is compared and repaired; everything else is still made so,
because the same statements create a tenant, suspend it and change its limits. So whatever ties a tenant's own roles to
each other is never beyond: a suspension consists of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from paybill.desired import sql_names as names
from paybill.desired.database_facts import DefaultGrant, Grant, Membership, ObservedDatabase
from paybill.desired.database_tenant import TenantDatabase
from paybill.desired.database_wanted import comparable, describe, strangers, wanted

AnyGrant = TypeVar("AnyGrant", Grant, DefaultGrant)


def judged(desired: TenantDatabase, observed: ObservedDatabase) -> tuple[ObservedDatabase, tuple[str, ...]]:
    """What is compared with what is declared, and what was left out of it, one sentence each.

    Nothing is left out where privileges too many are taken back.
    """
    if not desired.report_grants or observed.absent:
        return observed, ()
    want, seen = wanted(desired, observed.traits), comparable(desired, observed)
    ties = frozenset(one for one in seen.memberships - want.memberships if _leads_out(one, desired.id))
    grants, more_grants = _within(want.grants, seen.grants)
    defaults, more_defaults = _within(want.default_grants, seen.default_grants)
    facts = replace(
        observed.facts,
        memberships=observed.facts.memberships - ties,
        grants=frozenset(grants),
        default_grants=frozenset(defaults),
    )
    beyond = sorted([*map(describe, ties), *map(describe, more_grants), *map(describe, more_defaults)])
    beyond += [str(stray) for stray in sorted(strangers(desired, observed))]
    return replace(observed, facts=facts, strays=frozenset()), tuple(beyond)


def _leads_out(membership: Membership, tenant: str) -> bool:
    """Whether one end of a membership is not the tenant's."""
    own = names.role_names(tenant)
    return membership.role not in own or membership.member not in own


def _within(want: Iterable[AnyGrant], seen: Iterable[AnyGrant]) -> tuple[list[AnyGrant], list[AnyGrant]]:
    """What was seen, cut down to what is wanted; and what was cut off."""
    wanted_of = {_place(one): one for one in want}
    kept, beyond = [], []
    for one in seen:
        declared = wanted_of.get(_place(one))
        if declared is None:
            beyond.append(one)
            continue
        more = tuple(privilege for privilege in one.privileges if privilege not in declared.privileges)
        held = tuple(privilege for privilege in one.privileges if privilege in declared.privileges)
        kept.append(replace(declared, privileges=held))
        if more or one not in (declared, replace(declared, privileges=one.privileges)):
            beyond.append(replace(one, privileges=more or one.privileges))
    return kept, beyond


def _place(one: Grant | DefaultGrant) -> tuple[str, ...]:
    match one:
        case Grant():
            return one.kind, one.name, one.grantee
        case DefaultGrant():
            return one.role, one.schema, one.objects, one.grantee
