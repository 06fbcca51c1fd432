"""What a bill sells, and when: more at once, less in its time, and nothing by what is not understood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.failures import Invalid
from paybill.lifecycle.sale import Agreed, Listed, Sale, billed, read, settle, wire

NOW = datetime(2026, 3, 10, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CATALOG = (
    Listed(plan="pro", base=True, prices=frozenset({"pro_m", "pro_y"})),
    Listed(plan="max", base=True, prices=frozenset({"max_m", "max_use"})),
    Listed(plan="seats", base=False, prices=frozenset({"seats_m"})),
    Listed(plan="sso", base=False, prices=frozenset({"sso_m", "twice"})),
    Listed(plan="logs", base=False, prices=frozenset({"logs_use", "twice"})),
    *(Listed(plan=f"extra-{number}", base=False, prices=frozenset({f"price_{number}"})) for number in range(33)),
    Listed(plan="free", base=True, prices=frozenset()),
)


@pytest.mark.parametrize(
    ("items", "metered", "sale"),
    [
        ([("pro_m", 3)], [], Sale(plan="pro", quantity=3)),
        ([("pro_m", 3), ("pro_y", 2)], [], Sale(plan="pro", quantity=5)),
        ([("pro_m", 1), ("sso_m", 1), ("seats_m", 4)], [], Sale(plan="pro", add_ons=(("seats", 4), ("sso", 1)))),
        ([("pro_m", 1), ("seats_m", 0)], [], Sale(plan="pro")),
        ([], ["max_use"], Sale(plan="max")),
        ([("max_m", 4)], ["max_use", "nobodys"], Sale(plan="max", quantity=4)),
        ([("pro_m", 1)], ["logs_use"], Sale(plan="pro", add_ons=(("logs", 1),))),
        ([("pro_m", 5_000_000)], [], Sale(plan="pro", quantity=1_000_000)),
    ],
    ids=["a Plan", "two prices of it", "add-ons", "none of one", "by use", "both", "an add-on by use", "too many"],
)
def test_what_a_bill_means(items, metered, sale):
    assert billed(items, metered, CATALOG) == sale
    assert billed(items[::-1], metered[::-1], CATALOG[::-1]) == sale


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([("pro_m", 1), ("nobodys", 1)], "no Plan has that price"),
        ([("seats_m", 1)], "no Plan of type Base"),
        ([], "no Plan of type Base"),
        ([("pro_m", 1), ("max_m", 1)], "max and pro"),
        ([("pro_m", 1), ("twice", 1)], "the price of logs and sso"),
        ([("pro_m", 0)], "0 times"),
        ([("pro_m", 1), *((f"price_{number}", 1) for number in range(33))], "33 add-ons"),
    ],
)
def test_what_means_nothing_or_two_things_is_refused(items, words):
    with pytest.raises(Invalid, match=words) as refused:
        billed(items, [], CATALOG)
    assert refused.value.reason == "BilledUnclear"


def look(before, bill, *, on="pro", held=False, timing="AtPeriodEnd", end=END, now=NOW):
    return settle(before, bill, on=on, held=held, timing=timing, period_end=end, now=now)


FIVE = Agreed(wanted="pro", sale=Sale(plan="pro", quantity=5, add_ons=(("seats", 2),)))


@pytest.mark.parametrize("timing", ["Immediately", "AfterPayment", "AtPeriodEnd"])
def test_more_counts_at_once(timing):
    more = Sale(plan="pro", quantity=7, add_ons=(("seats", 3), ("sso", 1)))
    assert look(FIVE, more, timing=timing) == Agreed(wanted="pro", sale=more)


def test_less_counts_at_once_or_with_the_period_that_was_paid_when_it_became_less():
    less = Sale(plan="pro", quantity=2, add_ons=(("sso", 1),))
    assert look(FIVE, less, timing="Immediately") == Agreed(wanted="pro", sale=less)
    waiting = look(FIVE, less)
    assert waiting == Agreed(
        wanted="pro", sale=Sale(plan="pro", quantity=5, add_ons=(("seats", 2), ("sso", 1))), until=END
    )
    renewed = look(waiting, less, end=END + 30 * DAY, now=END - timedelta(seconds=1))
    assert renewed == waiting, "a renewal does not move it"
    assert look(renewed, less, end=END + 30 * DAY, now=END) == Agreed(wanted="pro", sale=less)
    assert look(waiting, waiting.sale) == Agreed(wanted="pro", sale=waiting.sale), "taken back"
    assert look(FIVE, less, end=None) == Agreed(wanted="pro", sale=less), "no period, no wait"


def test_one_add_on_less_waits_as_units_do():
    for add_ons in ((), (("seats", 1),)):
        less = Sale(plan="pro", quantity=5, add_ons=add_ons)
        assert look(FIVE, less) == Agreed(wanted="pro", sale=FIVE.sale, until=END)


def test_while_something_is_owed_or_held_nothing_changes_but_what_is_wanted():
    for bill in (Sale(plan="pro", quantity=9), Sale(plan="pro", quantity=1)):
        for timing in ("Immediately", "AtPeriodEnd"):
            assert look(FIVE, bill, held=True, timing=timing) == FIVE
            assert look(FIVE, bill, held=False, timing=timing) != FIVE
    assert look(FIVE, Sale(plan="max", quantity=1), held=True) == Agreed(wanted="max", sale=FIVE.sale)


@pytest.mark.parametrize("timing", ["Immediately", "AfterPayment", "AtPeriodEnd"])
def test_the_units_of_another_plan_come_with_that_plan(timing):
    other = Sale(plan="max", quantity=1, add_ons=FIVE.sale.add_ons)
    waits = look(FIVE, other, timing=timing)
    assert waits == Agreed(wanted="max", sale=FIVE.sale)
    assert look(waits, other, on="max", timing=timing) == Agreed(wanted="max", sale=other)


def test_what_is_kept_is_read_back():
    for one in (FIVE, look(FIVE, Sale(plan="pro", quantity=1))):
        assert read(wire(one)) == one
    assert read(None) is None
    assert read({"wanted": 3}) is None


sales = st.builds(
    lambda plan, quantity, add_ons: Sale(plan=plan, quantity=quantity, add_ons=tuple(sorted(add_ons.items()))),
    st.sampled_from(["pro", "max"]),
    st.integers(1, 5),
    st.dictionaries(st.sampled_from(["seats", "sso"]), st.integers(1, 3)),
)
timings = st.sampled_from(["Immediately", "AfterPayment", "AtPeriodEnd"])
histories = st.lists(
    st.tuples(sales, st.booleans(), st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=8
)  # what is billed, whether changes are held, days until the next look, how often one looks


@given(histories, timings)
def test_however_a_bill_changes_it_ends_in_what_is_billed_and_nobody_loses_what_is_paid(history, timing):
    """Periods of 30 days; a Tenant is put on the wanted Plan when its time has come, as the operator does it."""
    now, on, agreed, seen = NOW, None, Agreed(wanted=history[0][0].plan, sale=history[0][0]), []
    for bill, held, days, looks in [*history, (history[-1][0], False, 31, 2), (history[-1][0], False, 31, 2)]:
        now += days * DAY
        end = NOW + 30 * DAY * ((now - NOW) // (30 * DAY) + 1)
        before = agreed
        for _ in range(looks):
            agreed = settle(agreed, bill, on=on, held=held, timing=timing, period_end=end, now=now)
        if not held or on is None:
            on = agreed.wanted
        again = settle(agreed, bill, on=on, held=held, timing=timing, period_end=end, now=now)
        assert settle(again, bill, on=on, held=held, timing=timing, period_end=end, now=now) == again
        agreed = again
        seen.append((before, agreed, bill, held, now))
    assert agreed == Agreed(wanted=bill.plan, sale=bill)
    for before, after, bill, held, now in seen:
        if held:
            assert after.sale == before.sale
        waits = timing == "AtPeriodEnd" and after.until is not None
        if waits and after.sale.plan == before.sale.plan:
            assert after.sale.quantity >= before.sale.quantity
            assert (
                dict(after.sale.add_ons).items()
                >= {name: max(number, dict(bill.add_ons).get(name, 0)) for name, number in before.sale.add_ons}.items()
                or held
            )
        assert after.until is None or after.until > now or held
    for (_, one, *_), (_, other, *_) in pairwise(seen):
        assert one.until is None or other.until in (None, one.until), "what was promised for a time is not put off"
