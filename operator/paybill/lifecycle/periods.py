"""Where a paid period ends: the same day of the month and the same hour on the wall, in the zone of who sells.

Counted from the anchor and never from the period before: what began on the 31st ends on the last day of a short month
and on the 31st again after it. python-dateutil knows months, leap days and clocks that are put forward.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.relativedelta import relativedelta
from dateutil.tz import resolve_imaginary

from paybill.api.failures import Invalid
from paybill.lifecycle.contract import FOREVER

Every = Literal["Day", "Week", "Month", "Year"]
_UNITS: dict[Every, str] = {"Day": "days", "Week": "weeks", "Month": "months", "Year": "years"}


def period_end(anchor: datetime, count: int, every: Every, *, zone: str = "Etc/UTC") -> datetime:
    """The end, in UTC, of the ``count``-th period after ``anchor``; ``FOREVER`` where the calendar ends before.

    An hour that a clock skips is the one after it; one that it shows twice is the first. Raises ``Invalid`` for a zone
    that nobody knows.
    """
    wall = anchor.astimezone(_zone(zone)).replace(tzinfo=None)
    try:
        moved = wall + relativedelta(**{_UNITS[every]: count})  # type: ignore[arg-type]  # the names are its own
        return resolve_imaginary(moved.replace(tzinfo=_zone(zone))).astimezone(UTC)
    except (OverflowError, ValueError):
        return FOREVER


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Invalid("UnknownTimeZone", f"{name!r} is not the name of a time zone, such as Europe/Berlin") from error
