"""Publishing the heads of a chain outside the database: without it, whoever owns the database could cut the log's end.

A log line goes where the cluster's logs go, which is another place under other hands. ``paybill audit verify --head``
takes what stands in it.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from paybill.audit.chain import Head

logger = logging.getLogger("paybill.audit.head")

EVERY_ROWS = 1000
EVERY = timedelta(minutes=10)


class HeadPublication:
    """Logs a head when enough rows or time have passed since the last one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._last: Head | None = None
        self._time = clock()

    def consider(self, head: Head) -> None:
        """Publish ``head`` if it is a new chain's first or is due by rows or time."""
        last = self._last
        new_chain = last is None or last.writer != head.writer
        if new_chain or head.n - last.n >= EVERY_ROWS or self._clock() - self._time >= EVERY:  # type: ignore[union-attr]
            self.publish(head)

    def publish(self, head: Head) -> None:
        """Publish ``head`` now, unless it was the last one published or its chain is empty."""
        if head.n == 0 or head == self._last:
            return
        logger.info("audit head %s", head)
        self._last, self._time = head, self._clock()
