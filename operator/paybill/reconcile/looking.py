"""One look of a loop that works beside the queue: what fails is told, and left to the next look."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from paybill.api.failures import Failure, Retry
from paybill.cluster.lease import LeaseLost
from paybill.reconcile.servers import FENCED
from paybill.reconcile.worker import LeadershipLost


async def carefully(logger: logging.Logger, what: str, look: Callable[[], Awaitable[None]]) -> None:
    """Look once; raises nothing but LeadershipLost and LeaseLost, when another process leads or may lead by now."""
    try:
        await look()
    except Retry as failure:
        logger.info("%s: %s", what, failure)
    except Failure as failure:
        if failure.reason in FENCED:
            raise LeadershipLost(str(failure)) from failure
        logger.warning("%s: %s", what, failure)
    except LeaseLost:
        raise
    except Exception:
        logger.exception("%s: unexpected error", what)
