"""When a tenant's backups are due, which of them are kept, and whether the newest is fresh enough.

A run is known by the moment that the Plan's schedule names, so neither downtime nor a replay makes two of one: after an
outage the last one that was missed is made up for, and none before it. Tenants of one Plan do not all begin in the same
second: each has its place, by its id, in the time after that moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from paybill.api.failures import Invalid
from paybill.api.policies import Backup

SPREAD = timedelta(minutes=30)
"""The time after a scheduled moment in which the tenants begin."""
SHARE = 4
"""No later than this part of the time between two runs, where that is short."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs around now: the last two that are due, when the next one falls due, each by its scheduled moment."""

    last: datetime
    before: datetime
    next_due: datetime


def runs(backup: Backup, tenant_id: str, now: datetime) -> Runs | None:
    """The runs of one tenant around ``now``; None when the schedule names hardly a moment, such as 29 February.

    Raises ``Invalid("BadSchedule")`` for a line that names none, and for a time zone that nobody knows.
    """
    zone = _zone(backup.time_zone)
    coming = _moments(backup.schedule, now.astimezone(zone), 1, reverse=False)
    past = _moments(backup.schedule, now.astimezone(zone) + timedelta(minutes=1), 4, reverse=True)
    if not coming or len(past) < 3:
        return None
    delay = _delay(tenant_id, coming[0] - past[0])
    due = [moment for moment in past if moment + delay <= now]
    ahead = [moment for moment in (*reversed(past), *coming) if moment + delay > now]
    if len(due) < 2:
        return None
    return Runs(last=due[0], before=due[1], next_due=ahead[0] + delay)


def _moments(schedule: str, start: datetime, count: int, *, reverse: bool) -> list[datetime]:
    try:
        found = CronSim(schedule, start, reverse=reverse)
        return [moment.astimezone(UTC) for moment, _ in zip(found, range(count), strict=False)]
    except CronSimError as error:
        raise Invalid("BadSchedule", f"the Plan's backup schedule {schedule!r} cannot be read: {error}") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid("BadSchedule", f"the Plan's backup time zone {name!r} is none that this machine knows") from error


def _delay(tenant_id: str, gap: timedelta) -> timedelta:
    whole = min(SPREAD, gap / SHARE).total_seconds()
    turn = int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=int(whole * turn))


def run_name(tenant_id: str, moment: datetime) -> str:
    """What the TenantBackup of a scheduled moment is called."""
    return f"{tenant_id}-{moment.astimezone(UTC):%Y%m%d%H%M}"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One scheduled backup, as retention sees it."""

    name: str
    created: datetime
    verified: bool
    ended: bool


def excess(backups: Sequence[Kept], keep: int) -> tuple[str, ...]:
    """The names of those that are kept no longer: verified ones beyond ``keep``, and failed ones older than all kept.

    What is not verified counts for nothing, so that a month of failures never takes the last good one away.
    """
    newest = sorted(backups, key=lambda one: (one.created, one.name), reverse=True)
    good = [one for one in newest if one.verified]
    kept = good[: max(1, keep)]
    if not kept:
        return ()
    failed = [one for one in newest if one.ended and not one.verified and one.created < kept[-1].created]
    return tuple(one.name for one in (*good[len(kept) :], *failed))
