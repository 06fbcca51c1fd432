"""What is known of one server's isolation: the last check, why there was none since, what its shared objects show."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from paybill.api import duration
from paybill.api.cell import Isolation, ServerIsolation
from paybill.api.failures import Failure, Retry
from paybill.desired.database_facts import ServerTraits
from paybill.isolation.findings import Finding
from paybill.isolation.results import Proof, counted, successes

SOON_AGAIN = timedelta(minutes=10)
LATER_AGAIN = timedelta(hours=1)
"""How long after a check that could not be made the next one is tried: sooner when only something outside was away."""
SPREAD = 0.1
"""How much of the interval is a server's own, so that those of a fleet are not all checked at the same hour."""
GRACE = timedelta(hours=1)
MOST_NAMED = 64


@dataclass(kw_only=True)
class Proving:
    """What is known of one server."""

    last: ServerIsolation | None = None
    """The last check that answered, also one before this process began."""
    findings: tuple[Finding, ...] = ()
    """What of its shared objects breaks a rule, at the last look at all."""
    since: datetime | None = None
    """When this process first saw the server."""
    failure: Failure | None = None
    """Why the last check gave no answer; None when it gave one."""
    again: datetime | None = None
    told: bool | None = None
    """The verdict that the server's tenants were last woken for."""

    @property
    def verdict(self) -> bool | None:
        """Whether its tenants are apart; None when nobody knows yet."""
        if self.findings or (self.last is not None and self.last.succeeded):
            return False
        return True if self.last is not None else None

    def take(self, proof: Proof, traits: ServerTraits, now: datetime) -> None:
        """Take up what a check found."""
        numbers = counted(proof.results)
        self.last = ServerIsolation(
            checked_time=now,
            version=traits.release,
            profile=traits.profile,
            denied=numbers["denied"],
            detected=numbers["detected"],
            succeeded=tuple(f"{one.number} {one.name}" for one in successes(proof.results))[:MOST_NAMED],
        )
        self.findings, self.failure, self.again = proof.findings, None, None

    def fail(self, failure: Failure, now: datetime) -> None:
        """Take up that a check gave no answer."""
        self.failure = failure
        self.again = now + (SOON_AGAIN if isinstance(failure, Retry) else LATER_AGAIN)

    def due(self, name: str, traits: ServerTraits, declared: Isolation, settle: float) -> datetime | None:
        """When the server of this name is to be checked next; None while nobody has seen it, or never."""
        if declared.checks == "Never" or self.since is None:
            return None
        turn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
        last, first = self.last, self.since + timedelta(seconds=settle * (1.0 + turn))
        if self.again is not None:
            return self.again
        if last is None or (last.version, last.profile) != (traits.release, traits.profile):
            return first
        return max(first, last.checked_time + duration.parse(declared.every) * (1.0 + SPREAD * (2.0 * turn - 1.0)))

    def overdue(self, declared: Isolation, now: datetime) -> bool:
        """Whether the last check is so old that it says nothing any more."""
        every = duration.parse(declared.every)
        return declared.checks != "Never" and self.last is not None and now > self.last.checked_time + 2 * every + GRACE
