"""Who is bound to a Tenant that was adopted with a contract, before the contract's Subscription is seen again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from paybill.control.claims import Claim
from paybill.lifecycle.binding import Candidate
from paybill.reconcile.binding import continuing
from tests.unit.lifecycle.contracts import at

CLAIM = cast("Claim", SimpleNamespace(continues_uid="old", subscription_name="acme"))
SAME = Candidate(name="acme", uid="new", created=at(9))
STRANGER = Candidate(name="acme-2", uid="other", created=at(0))


def bound(*found: Candidate, over: bool = False) -> str | None:
    binding = continuing(CLAIM, "tenant", list(found), over=over)
    return binding.bound.name if binding.bound is not None else None


@pytest.mark.parametrize(
    ("found", "over", "wanted", "reason"),
    [
        ([SAME], False, "acme", "it came back under its name"),
        ([STRANGER, SAME], False, "acme", "an older one of another name does not come before it"),
        ([Candidate(name="acme", uid="old", created=at(0), bound_to="tenant")], False, "acme", "it never was away"),
        ([STRANGER], False, None, "nobody takes its place while it is away"),
        ([Candidate(name="acme", uid="new", created=at(9), bound_to="tenant")], False, None, "it has its own contract"),
        ([Candidate(name="acme", uid="new", created=at(9), bound_to="another")], False, None, "it is another Tenant's"),
        ([STRANGER], True, "acme-2", "the contract is over, so another one may follow"),
        ([], False, None, "nothing is there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_goes_on_with_it(found: list[Candidate], over: bool, wanted: str | None, reason: str) -> None:
    assert bound(*found, over=over) == wanted, reason


def test_while_it_is_away_that_is_said_of_both_sides() -> None:
    binding = continuing(CLAIM, "tenant", [STRANGER], over=False)
    assert (binding.missing, binding.refused) == (True, ((STRANGER, "TenantTaken"),))
