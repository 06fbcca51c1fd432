"""Where a new Tenant is put: its cell and, for a shared database, the server in that cell.

Placement is deterministic (the same cells and counts give the same answer) and sticky: it is asked once, before
anything is created, and the registry keeps the answer. A Tenant that names a cell never spills into another one; one
that names none goes to the first default cell with room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paybill.api.cell import Cell, Server
from paybill.api.failures import Blocked, Invalid

HOLDS = {"Rows": "Rows", "Schema": "Schemas", "Database": "Databases"}
"""What a server must hold for a database level: one kind of thing, never two."""


CROWDED = 0.9
"""From which part of its capacity on a server is called nearly full."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The answer: a cell and a server of it."""

    cell: str
    server: str


def choose(cells: Mapping[str, Cell], wanted: str | None, level: str, counts: Mapping[tuple[str, str], int]) -> Place:
    """The place of a new Tenant; ``counts`` are the tenants per (cell, server) now.

    Raises Invalid for a cell that does not exist, Blocked when the cell it names is full, or every default one.
    """
    full: Blocked | None = None
    for cell in _candidates(cells, wanted):
        try:
            return choose_server(cell, level, counts)
        except Blocked as failure:
            full = full or failure
    raise full or Blocked("NoDefaultCell", "no Cell has spec.default: true: mark one, or name one in spec.cellRef")


def _candidates(cells: Mapping[str, Cell], wanted: str | None) -> list[Cell]:
    """The cell a Tenant names, else the default cells in the order of their names."""
    if wanted is None:
        return [cell for _, cell in sorted(cells.items()) if cell.spec.default]
    if wanted not in cells:
        known = ", ".join(sorted(cells)) or "none"
        raise Invalid("UnknownCell", f"Cell {wanted} does not exist (known: {known}): create it or name another")
    return [cells[wanted]]


def choose_server(cell: Cell, level: str, counts: Mapping[tuple[str, str], int]) -> Place:
    """The first server of the cell, in the order of its spec, that holds this level and has room.

    A tenant with a server of its own needs none of the cell's, but the engine that makes one: the place's server is
    empty then, and named with the tenant.
    """
    name = cell.metadata.name
    if level == "Server":
        if cell.spec.engine is None:
            raise Blocked(
                "NoEngine",
                f"Cell {name} has no engine to make a database server of a tenant's own with: add spec.engine",
            )
        return Place(cell=name, server="")
    fitting: Sequence[Server] = [server for server in cell.spec.servers if server.holds == HOLDS.get(level)]
    if not fitting:
        raise Blocked(
            "NoServerForLevel",
            f"Cell {name} has no server that holds {HOLDS.get(level, level)}: add one to spec.servers",
        )
    for server in fitting:
        if counts.get((name, server.name), 0) < capacity(server):
            return Place(cell=name, server=server.name)
    full = ", ".join(f"{server.name} {capacity(server)}" for server in fitting)
    raise Blocked("CellFull", f"Cell {name} is full for {level} ({full}): raise a server's capacity or add a server")


def next_server(cell: Cell, holds: str, counts: Mapping[tuple[str, str], int]) -> str | None:
    """The server of the cell that takes the next tenant of what ``holds`` names; None when there is no room."""
    level = next(level for level, held in HOLDS.items() if held == holds)
    try:
        return choose_server(cell, level, counts).server
    except Blocked:
        return None


def crowded(cell: Cell, tenants: Mapping[str, int]) -> tuple[str, ...]:
    """What the cell will soon have no room for: each of its servers for it is nearly full."""
    kinds = sorted({server.holds for server in cell.spec.servers})
    return tuple(
        kind
        for kind in kinds
        if all(
            tenants.get(server.name, 0) >= CROWDED * capacity(server)
            for server in cell.spec.servers
            if server.holds == kind
        )
    )


def capacity(server: Server) -> int:
    """How many tenants a server takes, by what it holds."""
    match server.holds:
        case "Rows":
            return server.capacity.rows
        case "Schemas":
            return server.capacity.schemas
        case "Databases":
            return server.capacity.databases
