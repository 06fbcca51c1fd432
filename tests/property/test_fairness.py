"""A busy cell serves everybody: who pays first, nobody for ever last, and the same whoever looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from paybill.lifecycle.fairness import CLASSES, STEP, Waiting, pick

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLOTS, CROWD = 4, 200
LASTS = timedelta(seconds=20)
"""How long each operation takes."""

tiers = st.sampled_from(CLASSES)
queues = st.lists(
    st.builds(
        Waiting,
        id=st.text("abcdef", min_size=1, max_size=4),
        tier=tiers,
        queued_time=st.integers(0, 400).map(lambda seconds: START - timedelta(seconds=seconds)),
    ),
    unique_by=lambda one: one.id,
    max_size=30,
)


def rounds(queue: list[Waiting], arrivals: Iterator[list[Waiting]]) -> Iterator[tuple[datetime, list[Waiting]]]:
    """Who is begun when, with as many places as there are, until nobody waits."""
    now, queue = START, list(queue)
    while queue:
        begun = []
        for _ in range(min(SLOTS, len(queue))):
            chosen = pick(queue, now)
            assert chosen is not None
            queue.remove(chosen)
            begun.append(chosen)
        yield now, begun
        now += LASTS
        queue += next(arrivals, [])


def crowd(classes: list[str], moment: datetime = START) -> list[Waiting]:
    return [Waiting(id=f"{number:03}", tier=tier, queued_time=moment) for number, tier in enumerate(classes)]


@given(st.lists(tiers, min_size=CROWD, max_size=CROWD), st.randoms())
@settings(max_examples=25, deadline=None)
def test_a_crowd_that_came_at_once_is_served_class_by_class(classes: list[str], random: Random) -> None:
    queue = crowd(classes)
    random.shuffle(queue)
    served = [one for _, begun in rounds(queue, iter(())) for one in begun]
    assert Counter(served) == Counter(queue), "everybody, once"
    assert [CLASSES.index(one.tier) for one in served] == sorted(map(CLASSES.index, classes))
    for tier in CLASSES:
        names = [one.id for one in served if one.tier == tier]
        assert names == sorted(names)


@given(st.lists(tiers, max_size=40), st.integers(1, SLOTS))
@settings(max_examples=25, deadline=None)
def test_an_endless_stream_of_paying_customers_starves_nobody(before: list[str], each: int) -> None:
    """As many arrive in each round as there are places, or fewer, for hours: who waited is overtaken for minutes."""
    queue = crowd(before)
    hours = 3 * 60 * 60 // int(LASTS.total_seconds())

    def stream() -> Iterator[list[Waiting]]:
        for number in range(1, hours):
            moment = START + number * LASTS
            yield [Waiting(id=f"p{number}-{one}", tier="Paying", queued_time=moment) for one in range(each)]

    # The last class reaches the first's rank by then, and is older than all that come later; then the crowd's turn.
    bound = STEP * (len(CLASSES) - 1) + LASTS * (len(before) * SLOTS + 1)
    begun = {one.id: moment for moment, ones in rounds(queue, stream()) for one in ones}
    for one in queue:
        assert begun[one.id] - one.queued_time <= bound


@given(queues, st.randoms(), st.integers(0, 600))
def test_the_order_of_the_list_does_not_matter(queue: list[Waiting], random: Random, seconds: int) -> None:
    now, shuffled = START + timedelta(seconds=seconds), list(queue)
    random.shuffle(shuffled)
    assert pick(queue, now) == pick(shuffled, now)


@given(queues, st.integers(0, 600))
def test_nobody_of_the_own_class_who_came_later_goes_before(queue: list[Waiting], seconds: int) -> None:
    chosen = pick(queue, START + timedelta(seconds=seconds))
    assert (chosen is None) == (not queue)
    rivals = [one for one in queue if chosen is not None and one.tier == chosen.tier]
    assert all((chosen.queued_time, chosen.id) <= (one.queued_time, one.id) for one in rivals if chosen)
