"""Which moves are proposed in a Cell: what is known of its servers in memory, put before lifecycle/rebalance.py.

It costs no query. While no server is nearly full nothing is read of any tenant either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from paybill.api import quantity
from paybill.api.cell import Cell, ProposedMove, Server
from paybill.control.claims import Claim
from paybill.desired.names import SERVER_ANNOTATION
from paybill.lifecycle.move import CARRIED_OUT
from paybill.lifecycle.placement import capacity
from paybill.lifecycle.rebalance import HIGH, Measure, Proposal, Resident, Room, propose
from paybill.reconcile.world import World


def proposed(world: World, cell: Cell) -> tuple[ProposedMove, ...]:
    """The moves to be shown in the Cell's status; none that somebody has asked for already."""
    claims: dict[str, list[Claim]] = {}
    for claim in world.registry.all():
        if claim.cell == cell.metadata.name:
            claims.setdefault(claim.server, []).append(claim)
    if not any(_over(world, cell, server, claims.get(server.name, [])) for server in cell.spec.servers):
        return ()
    rooms = _rooms(world, cell, claims)
    asked = {row.tenant_id: row.target_server for row in world.moves.all() if row.cell == cell.metadata.name}
    while True:
        found = propose(rooms, asked)
        # A tenant's annotation is read only once the tenant is proposed: there may be ten thousand others.
        others = {one.id: there for one in found if (there := _asked(world, one)) is not None}
        if not others:
            break
        asked |= others
    return tuple(
        ProposedMove(tenant=one.tenant, source=one.source, target=one.target, because=one.because) for one in found
    )


def _asked(world: World, one: Proposal) -> str | None:
    """Where somebody has asked the tenant to be: whoever named the server that it is on wants it to stay."""
    tenant = world.declared.tenants.get(one.tenant)
    return tenant.metadata.annotations.get(SERVER_ANNOTATION) if tenant is not None else None


def _over(world: World, cell: Cell, server: Server, claims: Sequence[Claim]) -> bool:
    """Whether a server is nearly full by any measure."""
    attached = world.servers.find(cell.metadata.name, server.name)
    for measure, most in _most(server).items():
        match measure:
            case "tenants":
                taken = len(claims)
            case "bytes":
                taken = sum(world.used.get(claim.id, 0) for claim in claims)
            case "connections":
                taken = sum(attached.peaks.values()) if attached is not None else 0
        if taken >= HIGH * most:
            return True
    return False


def _rooms(world: World, cell: Cell, claims: Mapping[str, Sequence[Claim]]) -> list[Room]:
    name = cell.metadata.name
    glances = {one.uid: one.phase for one in world.declared.tenants.glances()}
    return [
        Room(
            name=server.name,
            holds=server.holds,
            most=_most(server),
            residents=list(_residents(world, name, server, claims.get(server.name, []), glances)),
        )
        for server in cell.spec.servers
    ]


def _most(server: Server) -> dict[Measure, int]:
    most: dict[Measure, int] = {"tenants": capacity(server)}
    if server.capacity.storage is not None:
        most["bytes"] = quantity.whole(server.capacity.storage)
    if server.capacity.connections is not None:
        most["connections"] = server.capacity.connections
    return most


def _residents(
    world: World, cell: str, server: Server, claims: Iterable[Claim], phases: Mapping[str, str]
) -> Iterable[Resident]:
    attached = world.servers.find(cell, server.name)
    peaks = attached.peaks if attached is not None else {}
    for claim in claims:
        runs = phases.get(claim.tenant_uid) == "Active" and claim.state == "claimed" and claim.ready_time is not None
        yield Resident(
            id=claim.id,
            name=claim.tenant_name,
            bytes=world.used.get(claim.id, 0),
            connections=peaks.get(claim.id, 0),
            movable=runs and (claim.level, claim.level) in CARRIED_OUT,
        )
