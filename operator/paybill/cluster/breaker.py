"""The API server's breaker: when it is out of reach or says "not now", all requests pause, then one of them probes.

What stops everybody is only what concerns everybody: no connection, 429 and 502 to 504. A 500 may be about one object
(a webhook that fails, a pod with two PodDisruptionBudgets), so it takes several, about different objects and without
a success of the same sort in between, to be taken for the server's (etcd that is full serves reads and refuses
writes). Two things pass: the Lease, whose few requests have deadlines of their own and decide who leads, and the
watches of our four kinds, which are Kopf's and wait by themselves (handlers.py).
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Self

from paybill.api.failures import Retry
from paybill.breaker import Breaker, Pauses
from paybill.cluster.kinds import kind_named

logger = logging.getLogger(__name__)

PAUSES = Pauses()
DOUBTS = 4
"""Different objects that must meet a 500 in a row before it is the server's trouble and not theirs."""
LEASES = f"/apis/{kind_named('Lease').api_version}/"
DISRUPTION_BUDGET = "DisruptionBudget"


class Sign(Enum):
    """What an answer says about the server, whatever it says about the object."""

    WELL = "well"
    DOUBTFUL = "doubtful"
    BUSY = "busy"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The sign, and the seconds for which the server asked to be left alone (0: it did not say)."""

    sign: Sign
    after: float = 0.0


def read(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """What the HTTP status means for everybody."""
    if status == 429 and not held_by_budget(body):
        return Answer(sign=Sign.BUSY, after=_retry_after(headers, body))
    if status in (502, 503, 504):
        return Answer(sign=Sign.BUSY, after=_retry_after(headers, body))
    return Answer(sign=Sign.DOUBTFUL if status >= 500 else Sign.WELL)


def held_by_budget(body: bytes) -> bool:
    """Whether a 429 is a PodDisruptionBudget's answer to an eviction: it names that cause, a busy server none."""
    causes = _details(body).get("causes") or ()
    return any(isinstance(cause, dict) and cause.get("reason") == DISRUPTION_BUDGET for cause in causes)


def _retry_after(headers: Mapping[str, str], body: bytes) -> float:
    for said in (headers.get("Retry-After"), _details(body).get("retryAfterSeconds")):
        try:
            return max(0.0, float(said))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue  # not said, or a date, which no API server sends
    return 0.0


def _details(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    details = answer.get("details") if isinstance(answer, dict) else None
    return details if isinstance(details, dict) else {}


class ApiBreaker:
    """One per client. Counts for the metrics: answers that were trouble, and requests that were not sent.

    One that is not ``armed`` only counts.
    """

    def __init__(
        self,
        *,
        armed: bool = True,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._armed = armed
        self.troubles = 0
        self.refused = 0
        self.why = ""
        self._breaker = Breaker(PAUSES, chance)
        self._clock = clock
        self._chance = chance
        self._doubts: dict[bool, set[str]] = {False: set(), True: set()}
        self._opened_at = 0.0

    @property
    def open(self) -> bool:
        """Whether requests are held back, all but a probe."""
        return self._breaker.open

    def check(self) -> None:
        """Raise Retry("ApiServerBusy") while nothing would be sent anyway: before what only prepares a request."""
        if self._breaker.wait(self._clock()) > 0:
            raise self._paused()

    def passage(self, method: str, path: str) -> Passage:
        """The way through for one request, as a context; raises Retry("ApiServerBusy") while requests are paused."""
        if path.startswith(LEASES):
            return Passage(self, None, writes=False, path=path)
        ticket = self._breaker.enter(self._clock())
        if ticket is None:
            self.refused += 1
            raise self._paused()
        return Passage(self, ticket, writes=method != "GET", path=path)

    def heard(self, ticket: int, path: str, answer: Answer, *, writes: bool, why: str) -> None:
        """What one request found."""
        now, doubts = self._clock(), self._doubts[writes]
        if answer.sign is Sign.WELL:
            doubts.clear()
            if self._breaker.succeeded(ticket, now):
                logger.warning("the API server answers again after %.1f s", now - self._opened_at)
            return
        self.troubles += 1
        if not self._armed:
            return
        if answer.sign is Sign.DOUBTFUL:
            doubts.add(path)
            if len(doubts) < DOUBTS and not self._breaker.open:
                return
        doubts.clear()
        self.why = why
        if self._breaker.failed(ticket, now, at_least=answer.after):
            self._opened_at = now
            logger.warning("requests to the API server pause for %.1f s: %s", self._breaker.wait(now), why)

    def left(self, ticket: int) -> None:
        """One request was given up by whoever asked."""
        self._breaker.left(ticket)

    def _paused(self) -> Retry:
        """Spread, so that not all who were refused come back in the same moment."""
        wait = max(0.05, self._breaker.wait(self._clock())) * (1.0 + self._chance())
        return Retry("ApiServerBusy", f"requests to the API server are paused: {self.why}", after=wait)


class Passage:
    """One request on its way: say what became of it, else it counts as given up."""

    def __init__(self, breaker: ApiBreaker, ticket: int | None, *, writes: bool, path: str) -> None:
        self._breaker = breaker
        self._ticket = ticket
        self._writes = writes
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._ticket is not None:
            self._breaker.left(self._ticket)

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """It was answered with this status."""
        self._tell(read(status, headers, body), f"HTTP {status} from {self._path}")

    def unreachable(self, why: str) -> None:
        """There was no answer."""
        self._tell(Answer(sign=Sign.BUSY), why)

    def _tell(self, answer: Answer, why: str) -> None:
        if self._ticket is not None:
            self._breaker.heard(self._ticket, self._path, answer, writes=self._writes, why=why)
