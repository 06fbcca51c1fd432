"""Which Subscription a Tenant is bound to.

The two claim each other by name and UID, in whatever order they come. The oldest candidate wins while nothing is
bound; after that the claim moves only when the bound Subscription is gone or terminal, and only to one that runs. A
Tenant of the same name with another UID never inherits a contract.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A Subscription that names the Tenant. ``bound_to`` is the UID of the Tenant it was bound to before, if any."""

    name: str
    uid: str
    created: datetime
    bound_to: str | None = None
    terminal: bool = False


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The outcome: who is bound, whether the bound one vanished, and why each of the others is not bound."""

    bound: Candidate | None
    missing: bool = False
    refused: tuple[tuple[Candidate, str], ...] = ()


def bind(tenant_uid: str | None, claimed_uid: str | None, candidates: Iterable[Candidate]) -> Binding:
    """Choose among ``candidates``; ``claimed_uid`` is the Subscription the registry holds for this Tenant.

    The reasons of the refused are ``NoTenant``, ``TenantTaken`` and ``TenantReplaced``.
    """
    ordered = sorted(candidates, key=lambda one: (one.created, one.name))
    if tenant_uid is None:
        return Binding(bound=None, refused=tuple((one, "NoTenant") for one in ordered))
    replaced = [one for one in ordered if one.bound_to not in (None, tenant_uid)]
    eligible = [one for one in ordered if one not in replaced]
    bound = next((one for one in eligible if one.uid == claimed_uid and not one.terminal), None)
    if bound is None:
        bound = next((one for one in eligible if not one.terminal), None)
    if bound is None:
        # A contract that ended is still the Tenant's own contract until another one takes over. But one that is over
        # takes over nothing: the bound one may only be missing, and its phase is held until it comes back.
        bound = next((one for one in eligible if claimed_uid in (None, one.uid)), None)
    refused = [(one, "TenantReplaced") for one in replaced]
    refused += [(one, "TenantTaken") for one in eligible if one is not bound]
    return Binding(bound=bound, missing=bound is None and claimed_uid is not None, refused=tuple(refused))
