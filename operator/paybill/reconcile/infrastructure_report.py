"""What a Tenant is told of its own infrastructure: what was applied, the last operation, what is awaited, what drifted.

Addresses and the names of fields, never values: those may be secret.
"""

from __future__ import annotations

from paybill.api import conditions as c
from paybill.api.failures import Failure
from paybill.api.tenant import Infrastructure, Verified
from paybill.control.claims import Claim
from paybill.control.operations import OperationRow, StackFacts
from paybill.desired.stack_inputs import has_infrastructure
from paybill.lifecycle.operation import summary
from paybill.reconcile.status import Fact
from paybill.reconcile.world import World

INFRASTRUCTURE_READY = "InfrastructureReady"
DRIFTED = "Drifted"
NAMED_AT_MOST = 5
VERIFIED: dict[tuple[str, str], Verified] = {("Embedded", "Embedded"): "Cloud", ("Terraform", "AWS"): "Emulator"}
"""How far the built-in programs were verified, by engine and provider; what is embedded runs for real in every test."""


def shown(world: World, claim: Claim | None) -> Infrastructure | None:
    """The part of the status that says what an engine made; None for a tenant without infrastructure of its own."""
    if claim is None:
        return None
    stack, newest = world.operations.store.stack(claim.id), world.operations.store.newest(claim.id)
    if stack is None and newest is None:
        return None
    return Infrastructure(
        digest=stack.applied_digest if stack is not None else None,
        stack=stack.stack if stack is not None else None,
        operation=newest.id if newest is not None else None,
        verified=_verified(world, claim, stack) if stack is not None else None,
    )


def _verified(world: World, claim: Claim, stack: StackFacts) -> Verified | None:
    """Nobody but its author has verified a program of one's own, and nobody at all the module for IBM."""
    cell = world.declared.cells.get(claim.cell)
    engine = cell.spec.engine if cell is not None else None
    if cell is None or engine is None or engine.module_path or engine.program_path:
        return None
    if stack.engine == "Pulumi":
        return "Render"
    return VERIFIED.get((stack.engine, cell.spec.provider))


def facts(world: World, claim: Claim | None, trouble: Failure | None) -> tuple[Fact, ...]:
    """The conditions InfrastructureReady and Drifted. ``trouble``: why what is wanted is not applied."""
    if claim is None:
        return ()
    stack, newest = world.operations.store.stack(claim.id), world.operations.store.newest(claim.id)
    if stack is None and newest is None:
        return ()
    if not has_infrastructure(world.declared.cells.get(claim.cell), claim.level):
        # A server that a move goes to, or came from: condition Moving tells of it.
        return Fact(type=INFRASTRUCTURE_READY, status=None), Fact(type=DRIFTED, status=None)
    return _ready(stack, newest, trouble), _drifted(stack)


def _ready(stack: StackFacts | None, newest: OperationRow | None, trouble: Failure | None) -> Fact:
    applied = stack is not None and stack.applied_digest is not None
    if trouble is None and applied:
        engine = stack.engine if stack is not None else ""
        return Fact(type=INFRASTRUCTURE_READY, status=c.TRUE, reason="Applied", message=f"engine {engine}")
    if trouble is not None:
        return Fact(type=INFRASTRUCTURE_READY, status=c.FALSE, reason=trouble.reason, message=trouble.message)
    message = f"operation {newest.id} ({newest.kind}) is {newest.state}" if newest is not None else ""
    return Fact(type=INFRASTRUCTURE_READY, status=c.FALSE, reason="NotApplied", message=message)


def _drifted(stack: StackFacts | None) -> Fact:
    drift = stack.drift if stack is not None else ()
    if not drift:
        return Fact(type=DRIFTED, status=None)
    first = ", ".join(f"{one.address} ({', '.join(one.fields) or one.action})" for one in drift[:NAMED_AT_MOST])
    more = f" and {len(drift) - NAMED_AT_MOST} more" if len(drift) > NAMED_AT_MOST else ""
    return Fact(type=DRIFTED, status=c.TRUE, reason="Differs", message=f"{summary(drift)}: {first}{more}")
