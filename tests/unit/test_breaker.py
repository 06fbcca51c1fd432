"""The breaker: it stops everybody at the first failure, lets one look, and closes when that one was answered."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.breaker import Breaker, Pauses

PAUSES = Pauses(first=1.0, longest=8.0, named=30.0, calm=1.0)


@pytest.fixture
def breaker() -> Breaker:
    """With the middle of every chance: no jitter."""
    return Breaker(PAUSES, lambda: 0.5)


def opened(breaker: Breaker, now: float = 0.0) -> Breaker:
    ticket = breaker.enter(now)
    assert ticket is not None
    breaker.failed(ticket, now)
    return breaker


def test_closed_lets_everybody_pass(breaker):
    assert {breaker.enter(0.0) for _ in range(100)} == {breaker.enter(0.0)}
    assert not breaker.open
    assert breaker.wait(0.0) == 0.0


def test_one_failure_stops_everybody_for_the_pause(breaker):
    opened(breaker)
    assert breaker.open
    assert breaker.wait(0.25) == 0.75
    assert [breaker.enter(now) for now in (0.0, 0.5, 0.99)] == [None] * 3


def test_after_the_pause_one_may_look_and_the_others_wait_for_it(breaker):
    opened(breaker)
    probe = breaker.enter(1.0)
    assert probe is not None
    assert [breaker.enter(now) for now in (1.0, 5.0, 500.0)] == [None] * 3
    assert breaker.wait(5.0) > 0


def test_a_probe_that_is_answered_opens_the_way_for_all(breaker):
    opened(breaker)
    probe = breaker.enter(1.0)
    assert breaker.succeeded(probe, 1.1)
    assert not breaker.open
    assert breaker.enter(1.1) is not None
    assert breaker.enter(1.1) is not None


def test_the_pause_doubles_with_each_failed_probe_up_to_its_bound(breaker):
    now, waits = 0.0, []
    opened(breaker)
    for _ in range(6):
        waits.append(breaker.wait(now))
        now += waits[-1]
        breaker.failed(breaker.enter(now), now)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_probe_that_was_given_up_leaves_the_look_to_the_next(breaker):
    opened(breaker)
    breaker.left(breaker.enter(1.0))
    assert breaker.open
    assert breaker.enter(1.0) is not None


def test_what_began_before_the_outage_says_nothing_about_now(breaker):
    before = breaker.enter(0.0)
    opened(breaker)
    assert not breaker.succeeded(before, 0.1)
    assert breaker.open
    wait = breaker.wait(0.1)
    assert not breaker.failed(before, 0.1), "a hundred requests that fail together are one failure"
    assert breaker.wait(0.1) == wait
    breaker.succeeded(breaker.enter(1.0), 1.0)
    assert not breaker.failed(before, 2.0), "and it was that of the outage which is over"
    assert not breaker.open


def test_a_pause_that_was_asked_for_is_kept_to(breaker):
    ticket = breaker.enter(0.0)
    breaker.failed(ticket, 0.0, at_least=10.0)
    assert breaker.enter(10.0) is None
    assert 10.0 < breaker.wait(0.0) <= 12.5


def test_nobody_may_ask_for_a_pause_of_an_hour(breaker):
    breaker.failed(breaker.enter(0.0), 0.0, at_least=3600.0)
    assert breaker.wait(0.0) <= PAUSES.named * 1.25


def test_who_opens_to_one_and_shuts_on_the_many_is_asked_ever_more_seldom(breaker):
    now, waits = 0.0, []
    for _ in range(5):
        opened(breaker, now)
        waits.append(breaker.wait(now))
        now += waits[-1]
        assert breaker.succeeded(breaker.enter(now), now)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_failure_after_calm_times_begins_with_the_first_pause(breaker):
    opened(breaker)
    breaker.failed(breaker.enter(1.0), 1.0)
    breaker.succeeded(breaker.enter(3.0), 3.0)
    later = 3.0 + 2.0 * PAUSES.calm + 0.1
    opened(breaker, later)
    assert round(breaker.wait(later), 6) == PAUSES.first


def test_pauses_are_spread():
    waits = set()
    for seed in range(50):
        breaker = opened(Breaker(PAUSES, random.Random(seed).random))
        waits.add(breaker.wait(0.0))
    assert len(waits) == 50
    assert min(waits) >= 0.75
    assert max(waits) <= 1.25


@given(
    demand=st.floats(0.01, 1.0),
    latency=st.floats(0.001, 5.0),
    seed=st.integers(0, 1_000),
)
def test_however_many_ask_and_however_long_it_takes_an_outage_sees_few_requests(demand, latency, seed):
    """Somebody asks every ``demand`` seconds for ten minutes; each look fails after ``latency``."""
    breaker, now, sent = Breaker(Pauses(), random.Random(seed).random), 0.0, 0
    while now < 600.0:
        ticket = breaker.enter(now)
        if ticket is None:
            now += demand
            continue
        sent += 1
        now += latency
        breaker.failed(ticket, now)
    longest = Pauses().longest * 0.75
    assert sent <= 600.0 / longest + 10


@given(st.lists(st.sampled_from(["enter", "fail", "succeed", "leave", "wait"]), max_size=80), st.integers(0, 99))
def test_whatever_happens_it_never_stays_shut_for_ever(doings, seed):
    breaker, now, tickets = Breaker(PAUSES, random.Random(seed).random), 0.0, []
    for doing in doings:
        if doing == "wait":
            now += 3.0
        elif doing == "enter":
            tickets += [ticket for ticket in [breaker.enter(now)] if ticket is not None]
        elif tickets:
            ticket = tickets.pop(0)
            match doing:
                case "fail":
                    breaker.failed(ticket, now)
                case "succeed":
                    breaker.succeeded(ticket, now)
                case _:
                    breaker.left(ticket)
    for ticket in tickets:
        breaker.left(ticket)
    probe = breaker.enter(now + PAUSES.named * 1.25)
    assert probe is not None
    breaker.succeeded(probe, now)
    assert not breaker.open
