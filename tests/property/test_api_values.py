"""Quantities and durations keep their worth, whatever their notation; conditions forget nothing."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from paybill.api import duration, quantity
from paybill.api.conditions import find_condition, set_condition
from paybill.api.failures import Invalid

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e+9"]
NUMBERS = st.from_regex("[-+]?([0-9]{1,12}([.][0-9]{0,6})?|[.][0-9]{1,6})", fullmatch=True)
QUANTITIES = st.builds("{}{}".format, NUMBERS, st.sampled_from(SUFFIXES))


def countable(written: str) -> Decimal:
    """The worth of a quantity that Kubernetes can count; other examples are thrown away."""
    try:
        return quantity.parse(written)
    except Invalid as refusal:
        assume("more than Kubernetes can count" not in refusal.message)
        raise


@given(QUANTITIES)
def test_canonical_form_is_a_fixed_point(written: str) -> None:
    countable(written)
    canonical = quantity.canonical(written)
    assert quantity.canonical(canonical) == canonical


@given(QUANTITIES)
def test_canonical_form_keeps_the_worth_but_for_less_than_a_thousandth_more(written: str) -> None:
    worth = countable(written)
    canonical = quantity.parse(quantity.canonical(written))
    assert abs(worth) <= abs(canonical) < abs(worth) + Decimal("0.001")
    assert canonical == 0 or (canonical > 0) == (worth > 0)


@given(QUANTITIES)
def test_a_whole_number_is_the_next_one_up(written: str) -> None:
    assert 0 <= quantity.whole(written) - countable(written) < 1 if abs(countable(written)) < 10**15 else True


@given(st.text(max_size=40))
def test_any_text_is_a_quantity_or_refused_as_invalid(written: str) -> None:
    with suppress(Invalid):
        assert quantity.canonical(quantity.canonical(written)) == quantity.canonical(written)


@given(st.timedeltas(min_value=timedelta(days=-10_000), max_value=timedelta(days=10_000)))
def test_a_duration_written_is_read_back(span: timedelta) -> None:
    assert duration.parse(duration.render(span)) == span


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_refused_as_invalid(written: str) -> None:
    with suppress(Invalid):
        assert duration.parse(duration.render(duration.parse(written))) == duration.parse(written)


STEPS = st.lists(
    st.tuples(st.sampled_from(["Ready", "Stalled", "Guarded"]), st.sampled_from(["True", "False", "Unknown"])),
    max_size=12,
)


@given(STEPS)
def test_a_condition_tells_since_when_it_is_so(steps: list[tuple[str, str]]) -> None:
    start, conditions = datetime(2026, 1, 1, tzinfo=UTC), ()
    since: dict[str, tuple[str, datetime]] = {}
    for minute, (type_, status) in enumerate(steps):
        now = start + timedelta(minutes=minute)
        if since.get(type_, ("", now))[0] != status:
            since[type_] = (status, now)
        conditions = set_condition(conditions, type_, status, "Because", "", 1, now)
    assert len(conditions) == len(since)
    for type_, (status, moment) in since.items():
        found = find_condition(conditions, type_)
        assert found is not None
        assert (found.status, found.last_transition_time) == (status, moment)
