"""What becomes of a failed look beside the queue: told and left to the next one, or the end of the process."""

from __future__ import annotations

import logging

import pytest

from paybill.api.failures import Blocked, Retry
from paybill.cluster.lease import LeaseLost
from paybill.reconcile.looking import carefully
from paybill.reconcile.worker import LeadershipLost

logger = logging.getLogger("tests.looking")


async def look_that_fails(failure: Exception) -> None:
    async def look() -> None:
        raise failure

    await carefully(logger, "outbox", look)


@pytest.mark.parametrize(
    ("failure", "ends", "reason"),
    [
        (LeaseLost("not renewed"), LeaseLost, "another process may lead by now, which is no error of ours"),
        (Blocked("EpochLost", "newer"), LeadershipLost, "another process leads"),
    ],
    ids=["the Lease", "the epoch"],
)
async def test_what_ends_the_process_ends_it_without_a_word(
    failure: Exception, ends: type[Exception], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ends):
        await look_that_fails(failure)
    assert caplog.records == [], reason


@pytest.mark.parametrize(
    ("failure", "level", "says"),
    [
        (Retry("DatabaseBusy", "full house"), logging.INFO, "outbox: DatabaseBusy: full house"),
        (Blocked("StripeRefused", "no key"), logging.WARNING, "outbox: StripeRefused: no key"),
        (ValueError("a bug"), logging.ERROR, "outbox: unexpected error"),
    ],
    ids=["waits", "is refused", "a bug"],
)
async def test_anything_else_is_told_once_and_left_to_the_next_look(
    failure: Exception, level: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await look_that_fails(failure)
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [(level, says)]
