"""Whether a tenant keeps more data than its Plan gives it, and what follows: a warning, then read-only. Never a loss.

Postgres has no quota, so the limit holds as soon as the measuring sees it, not at the byte. What is decided follows
from the last measure alone: a larger limit, or less data, opens the tenant again. A tenant that only reads cannot
delete either, so its provider may give it a time in which it tidies up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from paybill.api import quantity
from paybill.lifecycle.phases import Access
from paybill.lifecycle.tenant import Course

NEAR = 0.8
"""From which part of the limit on a tenant is warned."""

State = Literal["Unmeasured", "Within", "Near", "Full", "Grace", "Over"]
"""Over: more than the limit by an estimate, which warns and never shuts out. Grace: full, and let write for a time, or
while it is moved: the Plan with more may be the one that it is on its way to."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a tenant stands to its limit; ``until`` is when a grace ends."""

    state: State
    words: str
    until: datetime | None = None

    @property
    def read_only(self) -> bool:
        """Whether its logins may only read."""
        return self.state == "Full"

    @property
    def close(self) -> bool:
        """Whether it has to be measured sooner than once an hour."""
        return self.state in ("Near", "Full", "Grace")


def judge(
    limit: str | None, used: int | None, level: str, grace: str | None, now: datetime, *, moving: bool = False
) -> Verdict | None:
    """The verdict on ``used`` bytes; None where the Plan names no limit.

    ``level`` Rows has estimates only. ``grace`` is what stands in the Tenant's annotation: a moment, RFC 3339.
    """
    if limit is None:
        return None
    if used is None:
        why = "the server's statistics do not tell its part of the shared tables" if level == "Rows" else "not yet"
        return Verdict(state="Unmeasured", words=f"what it keeps of {limit} is not measured: {why}")
    most = max(1, quantity.whole(limit))
    said = f"it keeps {100 * used // most} % of {limit}"
    if used < NEAR * most:
        return Verdict(state="Within", words=f"less than {NEAR:.0%} of {limit} is kept")
    if used < most:
        return Verdict(state="Near", words=f"{said}: from 100 % on its logins may only read")
    if level == "Rows":
        return Verdict(state="Over", words=f"{said} by estimate, which shuts nobody out: give it a Plan with more")
    until, unread = _moment(grace)
    if until is not None and now < until:
        return Verdict(state="Grace", words=f"{said} and may write until {until:%Y-%m-%d %H:%M} UTC", until=until)
    if moving:
        return Verdict(state="Grace", words=f"{said} and may write while it is moved")
    way = "give it a Plan with more, or a time to tidy up (annotation paybill.dev/storage-grace)"
    return Verdict(state="Full", words=f"{said}, so its logins may only read: {way}{unread}")


def narrowed(course: Course, verdict: Verdict | None) -> Course:
    """The course of a tenant that is full: what its phase calls for, but no writing."""
    if verdict is None or not verdict.read_only or course.effect.access is not Access.FULL:
        return course
    effect = replace(course.effect, access=Access.READ_ONLY)
    return replace(course, effect=effect, reason="StorageFull", message=f"{course.message}; {verdict.words}")


def _moment(text: str | None) -> tuple[datetime | None, str]:
    """The moment that was written, or a word about why it is none."""
    if text is None:
        return None, ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        return None, "; that annotation is no moment with a zone, such as 2026-12-01T00:00:00Z"
    return found, ""
