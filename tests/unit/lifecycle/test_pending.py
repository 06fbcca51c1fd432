"""When another Plan takes effect: at once, after a payment, or with the period that was paid when it was asked for."""

import pytest

from paybill.lifecycle.pending import Pending, asked_for, due, waits
from tests.unit.lifecycle.contracts import SECOND, START, at

ASKED = Pending(plan="starter", asked=at(3), period_end=at(30))


@pytest.mark.parametrize(
    ("before", "has", "wanted", "timing", "found"),
    [
        pytest.param(None, "growth", "starter", "AtPeriodEnd", ASKED, id="asked for now"),
        pytest.param(None, "growth", "starter", "Immediately", None, id="nothing is pending that happens at once"),
        pytest.param(None, None, "starter", "AtPeriodEnd", None, id="who is on no Plan waits for none"),
        pytest.param(ASKED, "growth", "growth", "AtPeriodEnd", None, id="taken back"),
        pytest.param(ASKED, "starter", "starter", "AtPeriodEnd", None, id="done"),
        pytest.param(
            Pending(plan="silo", asked=at(1), period_end=at(2)), "growth", "starter", "AtPeriodEnd", ASKED,
            id="another one was asked for before",
        ),
        pytest.param(
            Pending(plan="starter", asked=at(1), period_end=at(20)), "growth", "starter", "AtPeriodEnd",
            Pending(plan="starter", asked=at(1), period_end=at(20)), id="what was paid then counts, not what is now",
        ),
    ],
)  # fmt: skip
def test_what_is_pending(before, has, wanted, timing, found):
    assert asked_for(before, has, wanted, timing, at(30), at(3)) == found


def test_with_the_period_that_was_paid_whatever_is_paid_meanwhile():
    for paid_until in (at(30), at(60)):
        assert waits(ASKED, "AtPeriodEnd", paid_until, at(30) - SECOND, billed=None)
        assert waits(ASKED, "AtPeriodEnd", paid_until, at(30), billed=None) is None
    assert due(ASKED, "AtPeriodEnd") == at(30)
    assert due(ASKED, "AfterPayment") is None


def test_who_has_no_period_waits_for_the_end_of_none():
    assert waits(Pending(plan="starter", asked=START), "AtPeriodEnd", None, START, billed=None) is None


@pytest.mark.parametrize(
    ("period_end", "billed", "goes"),
    [
        pytest.param(at(30), None, False, id="nothing was paid since"),
        pytest.param(at(60), None, True, id="more was paid"),
        pytest.param(None, None, False, id="nothing is paid at all"),
        pytest.param(at(60), False, False, id="the provider still bills the other Plan"),
        pytest.param(at(30), True, True, id="the provider bills it"),
    ],
)
def test_after_a_payment(period_end, billed, goes):
    assert (waits(ASKED, "AfterPayment", period_end, at(99), billed=billed) is None) is goes


def test_who_never_paid_has_the_plan_with_the_first_payment():
    never = Pending(plan="starter", asked=START)
    assert waits(never, "AfterPayment", None, at(1), billed=None)
    assert waits(never, "AfterPayment", at(30), at(1), billed=None) is None
