"""What a phase does to a tenant, in words for people: the same facts as the table of effects, said once.

``paybill forecast`` and ``paybill describe`` print them; a test holds them against the table, so that the words
cannot promise what the effects do not do.
"""

from __future__ import annotations

from paybill.api.plan import Payment
from paybill.lifecycle.phases import Phase

_BLOCKED = "a change of plan waits until it is paid"


def consequence(phase: Phase, policy: Payment, *, shared: bool) -> str:
    """What the tenant has in ``phase``; ``shared``: its compute is the provider's pool namespace."""
    match phase:
        case Phase.PENDING | Phase.AWAITING_PAYMENT:
            return "nothing is built yet; what exists already is kept, stopped"
        case Phase.TRIALING | Phase.ACTIVE:
            return "full access"
        case Phase.PAST_DUE:
            return f"full access; {_BLOCKED}"
        case Phase.RESTRICTED:
            return f"its logins may read, not write; pods go on running; {_BLOCKED}"
        case Phase.SUSPENDED:
            return f"{_stopped(shared=shared)}; data is kept"
        case Phase.ENDED:
            return f"{_stopped(shared=shared)}; data is kept for {policy.retain_days} days, and paying brings all back"
        case Phase.ARCHIVED:
            return f"only its final backup is left, for {policy.archive_days} days, and paying restores it"
        case Phase.DELETED:
            return "nothing is left but the record that it was"
        case Phase.ABANDONED:
            return "nothing was ever paid: nothing is built, and another Subscription may take the Tenant"


def _stopped(*, shared: bool) -> str:
    if shared:
        return "its logins are off and its entitlements say access: suspended; the pool's other tenants notice nothing"
    return "pods are evicted and no new ones admitted, then its logins are off"
