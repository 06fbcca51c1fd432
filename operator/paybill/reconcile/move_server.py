"""The server of a tenant's own that a move goes to, or comes from: made before it, destroyed with what it left.

Between both the stack stands beside where the tenant is. Its engine is asked as for any tenant that has one
(infrastructure.py); the move waits for it, and the tenant for neither.
"""

from __future__ import annotations

from dataclasses import replace

from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Retry
from paybill.control.claims import Claim
from paybill.control.moves import MoveRow
from paybill.desired import names
from paybill.desired.database import pool_database_name
from paybill.desired.resource import Key
from paybill.reconcile import infrastructure, own_server
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World

OWN = "Server"


def refuse_cloud(claim: Claim, cell: Cell) -> None:
    """Raise Blocked where the server is made in a cloud.

    There it is one part of a stack that has others, and to take away a part that holds data is what every engine is
    kept from; nobody has tried that with a cloud yet.
    """
    engine = cell.spec.engine.type if cell.spec.engine is not None else "none"
    if engine != "Embedded":
        raise Blocked(
            "MoveNotSupported",
            f"Tenant {claim.tenant_name}: this version moves to and from a server of the tenant's own only where "
            f"engine Embedded makes it; Cell {claim.cell} has engine {engine}. The way is another Tenant: `paybill "
            f"backup {claim.tenant_name}`, and `paybill restore BACKUP --to NAME --plan PLAN`",
        )


def there(claim: Claim) -> Claim:
    """The claim of a tenant as it is on a server of its own."""
    server = names.own_server(claim.id)
    return replace(claim, level=OWN, server=server, pool_database=pool_database_name(claim.cell, server))


def beside(world: World, claim: Claim) -> bool:
    """Whether a move has the tenant's stack stand beside where the tenant is."""
    row = world.moves.of(claim.id)
    return row is not None and claim.level != OWN and OWN in (row.source_level, row.target_level)


async def ready(world: World, current: Pass, claim: Claim, row: MoveRow) -> None:
    """Have the server that the move goes to made and connected; raises Retry until it is."""
    point = current.change.moves_to if current.change is not None else None
    content = world.revisions.get(point.name, point.revision) if point is not None else None
    if row.target_level != OWN or point is None or content is None:
        return
    target = replace(there(claim), plan_name=point.name, plan_revision=point.revision)
    trouble = await infrastructure.bring(world, current, target, content)
    if trouble is not None:
        raise trouble
    await own_server.attach(world, target, deep=False)


async def reached(world: World, claim: Claim, row: MoveRow) -> bool:
    """Whether the move still works with all of its servers; its own one is connected then, or Retry raised."""
    if OWN not in (row.source_level, row.target_level):
        return True
    if (row.retired and beside(world, claim)) or not own_server.handed_over(world, claim):
        return False
    await own_server.attach(world, there(claim), deep=False)
    return True


async def removed(world: World, claim: Claim, scope: Scope) -> None:
    """Have the server destroyed that stands beside where the tenant is; raises Retry until it is."""
    if not await infrastructure.destroyed(world, there(claim), scope):
        raise Retry("OperationRunning", f"the own server of tenant {claim.id} is being destroyed", after=30.0)
    await world.servers.detach(claim.cell, names.own_server(claim.id))
    world.operations.attached.pop(claim.id, None)
    key = Key("Secret", world.settings.namespace, names.own_server_secret(claim.id))
    found = await world.cluster.get(key)
    if found is None or (found["metadata"].get("labels") or {}).get(names.TENANT_LABEL) != claim.id:
        return
    seen = found["metadata"]

    async def act() -> None:
        await world.cluster.delete(key, uid=seen["uid"], resource_version=seen["resourceVersion"])

    await take(world, scope, [Step(action="secret.delete", target=str(key), act=act, destructive=True)])
