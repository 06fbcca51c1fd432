"""Where a tenant is to go, whether anything forbids it, and the two places of a move as the acts need them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from paybill.api.failures import Blocked
from paybill.control.claims import Claim
from paybill.control.moves import MoveRow
from paybill.desired import names
from paybill.desired.database import PoolDatabase, TenantDatabase, pool_database_name
from paybill.desired.sql_names import tenant_database
from paybill.lifecycle import placement
from paybill.lifecycle.change import PlanPoint
from paybill.lifecycle.move import refusal
from paybill.lifecycle.phases import Access
from paybill.moves.job import Job, Place, are_one
from paybill.reconcile import move_server
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World

HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Where the tenant is to be instead: the database level and the server, and the Plan that means it, if it does."""

    level: str
    server: str | None
    """None: whichever of the Cell's has room."""
    point: PlanPoint | None


def wanted(current: Pass) -> Wanted | None:
    """What the Plan and the annotation ask for; None when the tenant is there, or a person holds moves back."""
    claim, annotations = current.claim, current.tenant.metadata.annotations
    if claim is None or annotations.get(names.MOVE_ANNOTATION) == HOLD:
        return None
    point = current.change.moves_to if current.change is not None else None
    level = point.isolation[1] if point is not None else claim.level
    # A server of the tenant's own is its stack's: the annotation is for the shared ones.
    server = (annotations.get(names.SERVER_ANNOTATION) or None) if level != "Server" else None
    if level == claim.level and server in (None, claim.server):
        return None
    return Wanted(level=level, server=server, point=point)


def stop(current: Pass, row: MoveRow) -> str | None:
    """Why a move that has not switched must not go on."""
    if current.tenant.metadata.annotations.get(names.MOVE_ANNOTATION) == HOLD:
        return f"annotation {names.MOVE_ANNOTATION} says {HOLD}"
    if current.course.stopped or current.course.effect.access is not Access.FULL:
        return f"the Subscription is {current.standing.phase}"
    asked = wanted(current)
    if asked is None or asked.level != row.target_level or asked.server not in (None, row.target_server):
        return "it is no longer asked for"
    return None


def target_server(world: World, claim: Claim, asked: Wanted) -> str:
    """The server that the tenant goes to; raises Blocked where there is none, or none of that kind or with room."""
    why_not = refusal((claim.compute, claim.level), (claim.compute, asked.level))
    if why_not is not None:
        raise Blocked("MoveNotSupported", f"Tenant {claim.tenant_name}: {why_not}")
    cell = world.declared.cells.get(claim.cell)
    if cell is None:
        raise Blocked("UnknownCell", f"Cell {claim.cell} is not there")
    if "Server" in (claim.level, asked.level):
        move_server.refuse_cloud(claim, cell)
    if asked.level == "Server":
        return names.own_server(claim.id)
    counts = Counter((one.cell, one.server) for one in world.registry.all())
    if asked.server is None:
        return placement.choose_server(cell, asked.level, counts).server
    found = next((server for server in cell.spec.servers if server.name == asked.server), None)
    holds = placement.HOLDS.get(asked.level)
    if found is None or found.holds != holds:
        has = f"holds {found.holds}" if found is not None else "is not there"
        said = (
            f"server {asked.server} of Cell {claim.cell} {has}; Tenant {claim.tenant_name} needs one that holds {holds}"
        )
        raise Blocked("MoveNotSupported", said)
    if counts[claim.cell, found.name] >= placement.capacity(found):
        raise Blocked("CellFull", f"server {found.name} of Cell {claim.cell} takes no more tenants: raise its capacity")
    return found.name


def database_of(claim: Claim, cell: str, server: str, level: str) -> str:
    """The database that a tenant has at a level on a server."""
    return tenant_database(claim.id) if level == "Database" else pool_database_name(cell, server)


async def job(world: World, claim: Claim, row: MoveRow, desired: TenantDatabase) -> Job:
    """Both places of a move; ``desired``: what the tenant has in either. Raises Retry while a server is away."""
    source = _place(world, claim, desired, row.source_server, row.source_level)
    target = _place(world, claim, desired, row.target_server, row.target_level)
    same = await are_one(source.server, target.server)
    return Job(tenant=row.tenant_id, source=source, target=target, same_server=same, fence=world.fence)


def _place(world: World, claim: Claim, desired: TenantDatabase, server: str, level: str) -> Place:
    home = world.servers.get(claim.cell, server)
    pool = home.pool
    if level == "Database":
        pool = PoolDatabase(
            server=server, cell=claim.cell, name=tenant_database(claim.id), holds="Schemas",
            installation=claim.installation, subject=claim.origin_uid,
        )  # fmt: skip
    kind: Literal["Rows", "Schema"] = "Rows" if level == "Rows" else "Schema"
    return Place(
        server=home.server, pool=pool, desired=replace(desired, database=pool.name, level=kind), home=home.pool
    )


def closed(claim: Claim) -> TenantDatabase:
    """A tenant that is about to go, as far as the end of its move needs it."""
    return TenantDatabase(
        id=claim.id, uid=claim.origin_uid, installation=claim.installation, level="Schema",
        database=claim.pool_database or "", access="None", connections=1,
    )  # fmt: skip
