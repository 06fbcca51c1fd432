"""Which Postgres is refused, warned of, taken; and what somebody may take knowingly."""

from __future__ import annotations

import pytest

from paybill.api.failures import Blocked
from paybill.databases.versions import REFUSED_BELOW, WARNED_BELOW, gate


@pytest.mark.parametrize("major", sorted(REFUSED_BELOW))
def test_a_release_whose_row_security_is_broken_is_refused_unless_it_is_named(major):
    last = REFUSED_BELOW[major][0] - 1
    with pytest.raises(Blocked, match=f"Postgres {major}.{last} is refused: .*; update to {major}.{last + 1}"):
        gate(major * 10_000 + last)
    with pytest.raises(Blocked):
        gate(major * 10_000 + last, {f"{major}.{last - 1}"})

    (said,) = gate(major * 10_000 + last, {f"{major}.{last}"})

    assert f"Postgres {major}.{last} is accepted, and does not keep tenants apart" in said


@pytest.mark.parametrize("major", sorted(WARNED_BELOW))
def test_a_release_with_known_holes_is_warned_of(major):
    floor, why = WARNED_BELOW[major]
    assert gate(major * 10_000 + floor - 1) == (
        f"Postgres {major}.{floor - 1}: {why}; update to {major}.{floor} or newer",
    )
    assert gate(major * 10_000 + floor) == ()


def test_a_major_that_is_too_old_cannot_be_accepted():
    with pytest.raises(Blocked, match="too old"):
        gate(140_020, {"14.20"})
