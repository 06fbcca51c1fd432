"""What a payment provider last said of one subscription: what the phase rests on, and what is billed.

It is kept in the control database with the Subscription's facts, so that a provider that is away, or says what nobody
understands, leaves the last answer in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from paybill.lifecycle.provider import Snapshot, Status


@dataclass(frozen=True, kw_only=True)
class Known:
    """One answer. ``raw``: the status as the provider writes it; ``items``: the prices billed, with their quantities.

    ``metered``: the prices billed by what is used, without a quantity. ``customer_gone``: the provider has no such
    customer any more. ``collection_paused``: how collecting is paused, empty where it is not; ``pause_mark``: who says
    that he paused it.
    """

    id: str
    customer: str
    raw: str
    snapshot: Snapshot
    items: tuple[tuple[str, int], ...] = ()
    customer_gone: bool = False
    metered: tuple[str, ...] = ()
    collection_paused: str = ""
    pause_mark: str = ""


def newer(known: Known | None, seen: Known) -> Known:
    """What to go by after an answer: the known one where the new says nothing new, or nothing that is understood.

    An answer that only was given later is not newer: else every look would be a write. Another subscription's replaces
    whatever was known.
    """
    if known is None or known.id != seen.id:
        return seen
    if _undated(known) == _undated(seen):
        return known
    if seen.snapshot.status is Status.UNKNOWN:
        # It is shown, and changes nothing.
        return replace(known, raw=seen.raw)
    was, now = known.snapshot.provider_time, seen.snapshot.provider_time
    # One asks one after the other: of two answers of one second the later is the newer.
    return known if was is not None and now is not None and now < was else seen


def _undated(known: Known) -> Known:
    return replace(known, snapshot=replace(known.snapshot, provider_time=None))


def wire(known: Known) -> dict[str, Any]:
    """As JSON."""
    snapshot = {name: _text(value) for name, value in asdict(known.snapshot).items() if value is not None}
    return asdict(known) | {
        "snapshot": snapshot,
        "items": [list(item) for item in known.items],
        "metered": list(known.metered),
    }


def read(kept: Mapping[str, Any] | None) -> Known | None:
    """The answer that was kept; None where none was, or by a release that kept something else."""
    match kept:
        case {
            "id": str(one),
            "raw": str(raw),
            "snapshot": {"status": str(status), **times},
            "items": list(items),
            **more,
        } if status in set(Status):
            said = {str(name): datetime.fromisoformat(str(time)) for name, time in times.items() if name in _TIMES}
            return Known(
                id=one,
                customer=str(more.get("customer", "")),
                raw=raw,
                snapshot=Snapshot(status=Status(status), **said),
                items=tuple((str(price), int(quantity)) for price, quantity in items),
                customer_gone=bool(more.get("customer_gone", False)),
                metered=tuple(map(str, _listed(more.get("metered")))),
                collection_paused=str(more.get("collection_paused", "")),
                pause_mark=str(more.get("pause_mark", "")),
            )
        case _:
            return None


_TIMES = {field.name for field in fields(Snapshot)} - {"status"}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
