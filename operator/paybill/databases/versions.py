"""Which Postgres versions tenants may be put on, and what is known against the others.

A minor release that lags is a tenant's way to the neighbours, so the gate is data: a floor below which Paybill does
not work at all, and newer security releases that are only warned about.
"""

from collections.abc import Collection
from typing import Final

from paybill.api.failures import Blocked

OLDEST_MAJOR: Final = 15

REFUSED_BELOW: Final = {
    15: (10, "CVE-2024-10976 (row security) and ALTER ROLE … SET role broken by 15.9"),
    16: (6, "CVE-2024-10976 (row security) and ALTER ROLE … SET role broken by 16.5"),
    17: (2, "CVE-2024-10976 (row security) and ALTER ROLE … SET role broken by 17.1"),
}
"""Minors that break what the isolation of tenants rests on, and why."""

_CURSORS: Final = "CVE-2026-16239: any SQL user may run code in the server"

WARNED_BELOW: Final = {
    15: (19, _CURSORS),
    16: (15, _CURSORS),
    17: (11, _CURSORS),
    18: (6, _CURSORS),
}
"""Minors with known holes. They are warned about and not refused: distributions lag, and their users should know."""


def gate(version: int, accepted: Collection[str] = ()) -> tuple[str, ...]:
    """Warnings about ``version`` (``server_version_num``), for people.

    ``accepted``: releases such as "16.4" that somebody takes knowingly, though they are refused. A major that is too
    old cannot be accepted: there Paybill's own SQL does not work.

    Raises ``Blocked("ServerVersionRefused")`` for a server on which tenants would not be isolated.
    """
    major, minor = divmod(version, 10_000)
    shown = f"{major}.{minor}"
    if major < OLDEST_MAJOR:
        raise Blocked("ServerVersionRefused", f"Postgres {shown} is too old: {OLDEST_MAJOR} or newer is needed")
    floor, why = REFUSED_BELOW.get(major, (0, ""))
    if minor < floor:
        said = f"{why}; update to {major}.{floor} or newer"
        if shown not in accepted:
            raise Blocked("ServerVersionRefused", f"Postgres {shown} is refused: {said}")
        return (f"Postgres {shown} is accepted, and does not keep tenants apart: {said}",)
    floor, why = WARNED_BELOW.get(major, (0, ""))
    return (f"Postgres {shown}: {why}; update to {major}.{floor} or newer",) if minor < floor else ()
