"""Machine spans as Go writes them ("24h", "1h30m", "250ms"), read into ``timedelta`` and written back.

Only these two functions know the notation. Days are refused on purpose: Go and CEL know none, because a day is not
always 24 hours; calendar spans are whole numbers in fields that end in ``Days``.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from paybill.api.failures import Invalid

MICROSECONDS = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "ms": Decimal(1_000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"([+-]?)((?:{_PART.pattern})+)", re.ASCII)


def parse(value: str) -> timedelta:
    """The span that ``value`` names, cut to whole microseconds.

    Raises ``Invalid`` (reason ``InvalidDuration``), naming the value, for anything Go would refuse.
    """
    if value == "0":
        return timedelta(0)
    found = _WHOLE.fullmatch(value) if len(value) <= 64 else None
    if found is None:
        raise Invalid("InvalidDuration", f"{value[:80]!r} is not a duration: {_advice(value)}")
    total = sum((Decimal(number) * MICROSECONDS[unit] for number, unit in _PART.findall(found[2])), Decimal(0))
    try:
        span = timedelta(microseconds=int(total))
    except OverflowError as error:
        raise Invalid("InvalidDuration", f"{value[:80]!r} is longer than can be counted") from error
    return -span if found[1] == "-" else span


def render(span: timedelta) -> str:
    """``span`` in the shortest notation that ``parse`` reads back to the same value: "24h", "1h30m", "250ms"."""
    left = abs(span) // timedelta(microseconds=1)
    parts = []
    for unit in ("h", "m", "s", "ms", "us"):
        count, left = divmod(left, int(MICROSECONDS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if span < timedelta(0) else "") + ("".join(parts) or "0s")


def _advice(value: str) -> str:
    days = re.fullmatch(r"([0-9]{1,6})d", value, re.ASCII)
    if days:
        return f'there is no unit for days, write "{int(days[1]) * 24}h"'
    return 'write numbers with the units h, m, s or ms, such as "24h", "1h30m" or "30s"'
