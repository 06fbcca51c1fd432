"""Which tenants should go to another server of their Cell, when one is nearly full: proposals, which a person accepts.

Deterministic (the same figures give the same moves), sticky (a server that is not over its mark keeps everybody) and
small (whoever alone makes enough room goes first). A move is proposed only where it leaves its target well below the
mark, so that no proposal makes the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

HIGH = 0.9
"""From which part of a capacity on a server gives tenants away."""
TARGET = 0.75
"""To which part it is brought down, and up to which another one takes."""
AT_MOST = 16
"""Proposals of a Cell: they are few at a time, and what follows is another picture."""

Measure = Literal["tenants", "bytes", "connections"]
MEASURES: tuple[Measure, ...] = ("tenants", "bytes", "connections")


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A tenant by what it takes of a server; ``movable``: nothing keeps it from being moved now."""

    id: str
    name: str
    bytes: int = 0
    connections: int = 0
    movable: bool = True

    def takes(self, measure: Measure) -> int:
        """How much of a measure it takes."""
        match measure:
            case "tenants":
                return 1
            case "bytes":
                return self.bytes
            case "connections":
                return self.connections


@dataclass(frozen=True, kw_only=True)
class Room:
    """A server with its residents and how much it takes; a measure that is not in ``most`` is not bounded.

    Residents go only where what it ``holds`` is the same.
    """

    name: str
    holds: str
    most: Mapping[Measure, int]
    residents: Sequence[Resident]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One tenant that should go from one server to another."""

    id: str
    tenant: str
    source: str
    target: str
    because: str


def propose(rooms: Sequence[Room], asked: Mapping[str, str]) -> tuple[Proposal, ...]:
    """The moves that would help most, in the order in which to make them.

    ``rooms`` in the order of the Cell's spec. ``asked``: tenants that somebody has asked to be elsewhere already, by
    id; they count there, and are proposed to nobody.
    """
    loads = [_Load(room) for room in rooms]
    named = {load.room.name: load for load in loads}
    for load in loads:
        for resident in load.room.residents:
            if (there := named.get(asked.get(resident.id, ""))) is not None and there is not load:
                load.give(resident, there)
    found: list[Proposal] = []
    for load in loads:
        if load.fullest()[0] < HIGH:
            continue
        while len(found) < AT_MOST and (step := _step(load, loads, asked)) is not None:
            resident, target = step
            part, measure = load.fullest()
            because = f"server {load.room.name} has {part:.0%} of its {measure}"
            load.give(resident, target)
            found.append(
                Proposal(
                    id=resident.id, tenant=resident.name, source=load.room.name, target=target.room.name,
                    because=because,
                )
            )  # fmt: skip
    return tuple(found)


class _Load:
    """How full a server is by the moves proposed so far."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.here = {one.id: one for one in room.residents}
        self.sums: dict[Measure, int] = {
            measure: sum(one.takes(measure) for one in room.residents) for measure in MEASURES
        }

    def give(self, resident: Resident, other: _Load) -> None:
        del self.here[resident.id]
        for measure in MEASURES:
            self.sums[measure] -= resident.takes(measure)
            other.sums[measure] += resident.takes(measure)

    def part(self, measure: Measure, more: int = 0) -> float:
        if measure not in self.room.most:
            return 0.0
        most = self.room.most[measure]
        return (self.sums[measure] + more) / most if most else float(self.sums[measure] + more > 0)

    def fullest(self, guest: Resident | None = None) -> tuple[float, Measure]:
        """The measure that it is fullest by, and how full, with ``guest`` if one came."""
        parts = [(self.part(one, guest.takes(one) if guest else 0), one) for one in MEASURES]
        return max(parts, key=lambda pair: pair[0])

    def excess(self, measure: Measure) -> float:
        """How much of a measure has to go."""
        return self.sums[measure] - TARGET * self.room.most.get(measure, 0)


def _step(load: _Load, loads: Iterable[_Load], asked: Mapping[str, str]) -> tuple[Resident, _Load] | None:
    """The next tenant to go and where; None when enough has gone, or nobody can."""
    part, measure = load.fullest()
    if part <= TARGET:
        return None
    excess = load.excess(measure)

    def rank(one: Resident) -> tuple[bool, int, str]:
        takes = one.takes(measure)
        alone = takes >= excess
        return not alone, takes if alone else -takes, one.id

    movable = (one for one in load.here.values() if one.movable and one.id not in asked and one.takes(measure) > 0)
    for resident in sorted(movable, key=rank):
        takers = [
            (other.fullest(resident)[0], number, other)
            for number, other in enumerate(loads)
            if other is not load and other.room.holds == load.room.holds and other.fullest(resident)[0] <= TARGET
        ]
        if takers:
            return resident, min(takers, key=lambda taker: taker[:2])[2]
    return None
