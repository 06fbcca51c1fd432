"""When a payment provider is to collect nothing: never by mistake, once, and never over somebody else's pause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.billing.stripe_words import PAUSED, collection, known
from paybill.lifecycle.collection import (
    COLLECTED,
    Collection,
    Move,
    Pause,
    again_after,
    asks,
    begun,
    failed_since,
    follows,
    mark,
    request_key,
    wanted,
)
from paybill.lifecycle.known import read, wire
from paybill.lifecycle.provider import Status

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OURS = mark("tests", "uid")


@pytest.mark.parametrize(
    ("before", "stalled", "working", "ready", "since"),
    [
        (None, True, False, False, NOW),
        (NOW - DAY, True, False, False, NOW - DAY),
        (NOW - DAY, False, False, False, NOW - DAY),
        (None, False, False, False, None),
        (NOW - DAY, False, True, False, None),
        (NOW - DAY, True, False, True, None),
    ],
    ids=["it begins", "it goes on", "a wait in between", "a wait alone", "it went through", "it was Ready once"],
)
def test_since_when_a_tenant_cannot_be_made(before, stalled, working, ready, since):
    assert failed_since(before, stalled=stalled, working=working, ready=ready, now=NOW) == since


@pytest.mark.parametrize("status", list(Status))
def test_collecting_is_to_pause_when_it_lasted_for_what_is_collected_at_all(status):
    assert wanted(NOW - DAY, DAY, status, NOW) is (status in COLLECTED)
    assert not wanted(NOW - DAY, DAY, status, NOW - timedelta(seconds=1))
    assert not wanted(None, DAY, status, NOW)


def subscription(**more: object) -> dict[str, object]:
    return {"id": "sub_1", "customer": "cus_1", "status": "active", "items": {"data": []}, **more}


@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ({}, Collection.RUNNING),
        ({"pause_collection": None, "metadata": {}}, Collection.RUNNING),
        ({"pause_collection": {"behavior": "void"}, "metadata": {PAUSED: OURS}}, Collection.OURS),
        ({"pause_collection": {"behavior": "void"}, "metadata": {}}, Collection.FOREIGN),
        ({"pause_collection": {"behavior": "void"}, "metadata": {PAUSED: "other/uid"}}, Collection.FOREIGN),
        ({"pause_collection": {"behavior": "keep_as_draft"}, "metadata": {PAUSED: OURS}}, Collection.FOREIGN),
        ({"metadata": {PAUSED: OURS}}, Collection.STALE),
    ],
)
def test_whose_a_pause_at_stripe_is(said, stands):
    found = known(subscription(**said), asked=NOW)
    assert collection(found, OURS) is stands
    assert read(wire(found)) == found


class Stripe:
    """How it stands, and what was done to it: as a provider would, with no memory of ours."""

    def __init__(self, stands: Collection = Collection.RUNNING) -> None:
        self.stands = stands
        self.deeds: list[str] = []

    def do(self, deed: str) -> None:
        self.deeds.append(deed)
        if deed == "Pause":
            assert self.stands in (Collection.RUNNING, Collection.STALE)
            self.stands = Collection.OURS
        elif deed == "Resume":
            assert self.stands is Collection.OURS, "only a pause of ours is taken back"
            self.stands = Collection.RUNNING
        else:
            assert self.stands is Collection.STALE
            self.stands = Collection.RUNNING


def look(stripe: Stripe, state, *, want: bool, ready: bool, failed: bool, lost: bool = False):
    """One look of the operator, which knows what Stripe says; ``lost``: it ends before it remembers what it did."""
    entered = begun(state, want=want, ready=ready, failed=failed, known=stripe.stands)
    if entered is None or not asks(entered, stripe.stands):
        return entered
    move = follows(entered, stripe.stands)
    if move.deed is not None:
        stripe.do(move.deed)
    return entered if lost else move.state


def test_paused_once_and_resumed_at_ready():
    stripe = Stripe()
    state = look(stripe, None, want=False, ready=False, failed=True)
    assert (state, stripe.deeds) == (None, [])
    for _ in range(3):
        state = look(stripe, state, want=True, ready=False, failed=True)
    assert (state, stripe.deeds) == ("Paused", ["Pause"])
    state = look(stripe, state, want=False, ready=False, failed=False)
    assert state == "Paused", "mended is not there yet"
    for _ in range(3):
        state = look(stripe, state, want=False, ready=True, failed=False)
    assert (state, stripe.deeds, stripe.stands) == (None, ["Pause", "Resume"], Collection.RUNNING)


def test_a_pause_of_somebody_elses_is_never_touched():
    stripe = Stripe(Collection.FOREIGN)
    state = None
    for ready in (False, False, True):
        state = look(stripe, state, want=not ready, ready=ready, failed=not ready)
    assert (state, stripe.deeds) == (None, [])
    assert begun(None, want=True, ready=False, failed=True, known=Collection.FOREIGN) is None, "nothing is written"
    for state in ("Pausing", "Paused", "Lifting"):
        assert follows(state, Collection.FOREIGN).deed is None, "it came between"


def test_what_somebody_took_back_is_not_paused_again_for_the_same_failure():
    stripe = Stripe()
    state = look(stripe, None, want=True, ready=False, failed=True)
    stripe.stands = Collection.STALE  # by hand: our mark stays
    for _ in range(3):
        state = look(stripe, state, want=True, ready=False, failed=True)
    assert (state, stripe.deeds, stripe.stands) == ("Lifted", ["Pause", "Unmark"], Collection.RUNNING)
    # Without the mark being taken off, his next pause would be taken for ours, and lifted.
    assert look(stripe, state, want=False, ready=True, failed=False) is None
    assert stripe.deeds == ["Pause", "Unmark"]


def test_a_pause_of_ours_that_nobody_remembers_is_found_by_its_mark():
    stripe = Stripe(Collection.OURS)
    assert look(stripe, None, want=False, ready=False, failed=False) == "Paused"
    assert look(stripe, None, want=False, ready=True, failed=False) is None
    assert stripe.deeds == ["Resume"]


def test_what_is_over_at_stripe_is_forgotten():
    for state in ("Pausing", "Paused", "Lifting", "Lifted"):
        assert follows(state, None) == Move(state=None)


steps = st.lists(
    st.tuples(
        st.sampled_from(["fails", "waits", "mended", "ready"]),
        st.sampled_from([None, None, None, *Collection]),  # what a person does at Stripe
        st.booleans(),  # the process ends before it remembers
        st.booleans(),  # the control database is restored from before
    ),
    max_size=12,
)


@given(steps)
def test_whatever_happens_only_ours_is_touched_and_nothing_of_ours_is_left_once_it_is_ready(history):
    """``Stripe.do`` refuses what may not be done; at the end the tenant is Ready, and looked at until all is quiet."""
    stripe, state, failed, ready = Stripe(), None, None, False
    now = NOW
    for happens, person, dies, restored in history:
        now += DAY / 2
        ready = ready or happens == "ready"
        failed = failed_since(
            failed, stalled=happens == "fails", working=happens in ("mended", "ready"), ready=ready, now=now
        )
        stripe.stands = person or stripe.stands
        state = None if restored else state
        want = wanted(failed, DAY, Status.ACTIVE, now)
        assert not (want and ready)
        state = look(stripe, state, want=want, ready=ready, failed=failed is not None, lost=dies)
    before = stripe.stands
    for _ in range(4):
        state = look(stripe, state, want=False, ready=True, failed=False)
    assert state is None
    assert stripe.stands is (Collection.FOREIGN if before is Collection.FOREIGN else Collection.RUNNING)


def test_every_request_that_is_written_down_has_a_key_of_its_own():
    one = Pause(subscription_uid="uid", provider_id="sub_1", state="Pausing", since=NOW, due=NOW)
    others = [
        replace(one, attempts=1), replace(one, since=NOW + DAY), replace(one, provider_id="sub_2"),
        replace(one, subscription_uid="other"),
    ]  # fmt: skip
    keys = {request_key(row, "Pause") for row in (one, *others)} | {request_key(one, "Resume")}
    assert len(keys) == 6
    assert request_key(one, "Pause") == request_key(replace(one, answer="no"), "Pause")


def test_pauses_between_requests_grow_up_to_an_hour():
    assert [again_after(number).total_seconds() for number in (0, 1, 5, 6, 1000)] == [60, 120, 1920, 3600, 3600]
