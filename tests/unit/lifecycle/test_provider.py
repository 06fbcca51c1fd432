"""Which answer of a provider counts: the newest known one, in whatever order they arrive."""

import pytest

from paybill.lifecycle.provider import RANK, Snapshot, Status, latest
from tests.unit.lifecycle.contracts import manual, says

ACTIVE = says(Status.ACTIVE, provider_time=5)
PAST_DUE = says(Status.PAST_DUE, provider_time=9)


@pytest.mark.parametrize(
    ("known", "seen", "counts"),
    [
        pytest.param(None, None, None, id="nothing was ever said"),
        pytest.param(ACTIVE, None, ACTIVE, id="silence changes nothing"),
        pytest.param(ACTIVE, says(Status.UNKNOWN, provider_time=99), ACTIVE, id="the unknown changes nothing"),
        pytest.param(None, says(Status.UNKNOWN, provider_time=99), None, id="not even nothing"),
        pytest.param(None, ACTIVE, ACTIVE, id="the first answer"),
        pytest.param(ACTIVE, PAST_DUE, PAST_DUE, id="a newer one"),
        pytest.param(PAST_DUE, ACTIVE, PAST_DUE, id="an older one that comes late"),
        pytest.param(ACTIVE, ACTIVE, ACTIVE, id="the same one twice"),
        pytest.param(ACTIVE, says(Status.CANCELED), ACTIVE, id="one without a time is older than any"),
        pytest.param(manual(3), manual(1), manual(1), id="a declaration counts as it is now, also when it takes back"),
        pytest.param(ACTIVE, manual(3), manual(3), id="the contract went from a provider to Manual"),
        pytest.param(manual(3), ACTIVE, ACTIVE, id="and from Manual to a provider"),
    ],
)
def test_the_snapshot_to_go_by(known, seen, counts):
    assert latest(known, seen) == counts


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Status.INCOMPLETE, Status.ACTIVE),
        (Status.PAST_DUE, Status.ACTIVE),
        (Status.TRIALING, Status.PAST_DUE),
        (Status.ACTIVE, Status.CANCELED),
        (Status.INCOMPLETE, Status.INCOMPLETE_EXPIRED),
    ],
)
def test_within_one_second_the_later_in_life_counts(earlier, later):
    one, other = says(earlier, provider_time=5), says(later, provider_time=5)
    assert latest(one, other) == latest(other, one) == other


def test_of_two_that_differ_in_a_date_only_the_later_date_counts():
    one, other = (
        says(Status.ACTIVE, provider_time=5, paid_until=30),
        says(Status.ACTIVE, provider_time=5, paid_until=60),
    )
    assert latest(one, other) == latest(other, one) == other
    without = Snapshot(status=Status.ACTIVE, provider_time=one.provider_time)
    assert latest(one, without) == latest(without, one) == one


def test_every_status_with_a_history_has_its_rank():
    assert {*RANK, Status.BY_DATES} == set(Status)
    assert len(RANK) == len(set(RANK))
