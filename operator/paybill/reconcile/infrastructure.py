"""A tenant's own infrastructure: what should be applied, which operation that needs, and what it hands over.

A reconcile never waits for an engine. It decides (lifecycle/operation.py), has an operation queued
(reconcile/operations.py), and comes back when that has ended. A tenant that has its infrastructure is not kept from
being suspended, paid for or healed by a change of it that waits or fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from paybill.api import duration
from paybill.api.approval import Approval
from paybill.api.cell import Cell
from paybill.api.engine import Engine
from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.plan import PlanSpec
from paybill.control.claims import Claim
from paybill.control.operations import OperationRow, StackFacts
from paybill.desired import approval as approvals
from paybill.desired import names, stack_inputs
from paybill.desired.stack import PROGRAM_VERSION, StackInputs
from paybill.engines.own_program import fingerprint
from paybill.lifecycle.drift import next_look, remediates
from paybill.lifecycle.operation import Ask, Facts, Next, Nothing, Run, Wait, decide, dismantle
from paybill.lifecycle.phases import Phase
from paybill.reconcile import own_server
from paybill.reconcile.site import identity_of
from paybill.reconcile.steps import Scope
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World

_WORD = re.compile("(?P<destroy>destroy-)?(?P<word>[0-9a-f]{8})")
TIERS = {Phase.ACTIVE: "Paying", Phase.TRIALING: "Trial"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One tenant's stack as it should be."""

    inputs: StackInputs
    cell: Cell
    engine: str
    program: str
    """Which program: the built-in one by its version, one's own by its path and what is in it."""

    @property
    def place(self) -> str:
        """Whose machines it is on, and where the engine keeps its state."""
        engine = self.cell.spec.engine
        state = engine.state.url if engine is not None and engine.state is not None else "its own state"
        return f"{self.inputs.provider}, {state}"

    @property
    def runner(self) -> str:
        """Where its operations run."""
        return self.cell.spec.engine.runner if self.cell.spec.engine is not None else "Subprocess"

    @property
    def digest(self) -> str:
        """Says which program and inputs should be applied."""
        return self.inputs.digest(f"{self.engine}:{self.program}")


def wanted_of(world: World, claim: Claim, plan: PlanSpec, policy: str) -> Wanted | None:
    """What a tenant's stack should be; None where it has none. Raises Blocked when its Cell cannot make it."""
    cell = world.declared.cells.get(claim.cell)
    if not stack_inputs.has_infrastructure(cell, claim.level):
        return None
    if cell is None or cell.spec.engine is None:
        raise Blocked(
            "NoEngine",
            f"Cell {claim.cell} has no engine (or is gone), but this Tenant's {claim.level} was made by one: put "
            "spec.engine back; nothing is changed until then",
        )
    if cell.spec.engine.runner == "Job" and world.settings.operation_pods is None:
        raise Blocked(
            "NoOperationPods",
            f"Cell {claim.cell} has runner Job, but this operator is not told what its pods are made of "
            "(PAYBILL_OPERATION_PODS; the chart sets it): set it, or choose Subprocess",
        )
    inputs = stack_inputs.build(
        identity_of(claim), claim.origin_uid, cell, claim.compute, claim.level, plan, policy,  # type: ignore[arg-type]  # read as such
        claim.plan_name or "",
    )  # fmt: skip
    return Wanted(inputs=inputs, cell=cell, engine=cell.spec.engine.type, program=_program(cell.spec.engine))


def refuse_elsewhere(claim: Claim, wanted: Wanted, stack: StackFacts | None) -> None:
    """Raise Blocked where the Cell by now names another place than that in which the tenant's infrastructure is.

    An ``up`` there would make an empty server, which the tenant would be connected to; a ``destroy`` would find
    nothing, and what exists would be forgotten.
    """
    if stack is None or stack.destroyed_time is not None:
        return
    has, wants = f"{stack.engine} stack {stack.stack}", f"{wanted.engine} stack {wanted.inputs.stack}"
    if stack.place is not None:  # what a Cell's provider and state were is kept since the first operation
        has, wants = f"{has} in {stack.place}", f"{wants} in {wanted.place}"
    if has != wants:
        raise Blocked(
            "StackElsewhere",
            f"Tenant {claim.tenant_name} has its infrastructure in {has}, but Cell {claim.cell} now calls for {wants}: "
            "put spec.provider, spec.region, spec.engine.type and state back; nothing is changed until then",
        )


def _program(engine: Engine) -> str:
    own = engine.module_path or engine.program_path
    return f"{own}@{fingerprint(own)}" if own is not None else f"built-in:{PROGRAM_VERSION}"


async def ensure(world: World, current: Pass, plan: PlanSpec, *, deep: bool) -> None:
    """Have the tenant's infrastructure made, and its own server connected.

    ``current.unapplied`` then says why a change of what is there does not go on; raised when nothing is there yet.
    """
    claim = current.claim
    assert claim is not None  # noqa: S101 - its place was claimed before
    if not stack_inputs.has_infrastructure(world.declared.cells.get(claim.cell), claim.level):
        return
    trouble = current.unapplied = await bring(world, current, claim, plan)
    stack = world.operations.store.stack(claim.id)
    if trouble is not None and (stack is None or stack.applied_digest is None):
        raise trouble
    if claim.level == "Server":
        await own_server.attach(world, claim, deep=deep)


async def bring(world: World, current: Pass, claim: Claim, plan: PlanSpec) -> Failure | None:
    """Have the stack of ``claim`` made what it should be; returns why it is not, as long as it is not."""
    stack = world.operations.store.stack(claim.id)
    try:
        wanted = wanted_of(world, claim, plan, current.tenant.spec.deletion_policy)
        if wanted is None:
            return None
        refuse_elsewhere(claim, wanted, stack)
    except Blocked as failure:
        return failure
    return await _go_on(world, current, claim, wanted, stack)


async def _go_on(world: World, current: Pass, claim: Claim, wanted: Wanted, stack: StackFacts | None) -> Failure | None:
    now, store = world.now(), world.operations.store
    newest = store.newest(claim.id)
    facts = Facts(
        wanted=wanted.digest,
        applied=stack.applied_digest if stack is not None else None,
        recovery_due=stack is not None and stack.recovery_due,
        last=newest.decided if newest is not None else None,
        approval_required=required(wanted),
        approved=approved(world, claim, now),
    )
    answer, opened = decide(facts, now), store.open_of(claim.id)
    if opened is not None:  # one at a time, a look for drift among them
        world.operations.remind(opened, wanted)
        await _cancelled(world, current, opened)
        answer = _behind(opened, answer)
        if isinstance(answer, Wait) and opened.kind == "drift":
            await _take_back(world, opened)  # it comes last in its cell, and nothing else waits for it
        held = world.operations.held.get(opened.id) if isinstance(answer, Wait) else None
        return held or as_failure(claim, answer, now)
    if isinstance(answer, Nothing) and stack is not None:
        answer = _also_drift(wanted, stack, now) or answer
    if not isinstance(answer, Run):
        await _asked_for(world, current, claim, wanted)
    elif answer.kind == "drift":
        await begin(world, claim, wanted, answer, cause="due", tier="Background")
        return None
    else:
        tier = TIERS.get(current.standing.phase or Phase.PENDING, "Other")
        await begin(world, claim, wanted, answer, cause=current.cause, tier=tier)
    return as_failure(claim, answer, now)


def _behind(opened: OperationRow, answer: Next) -> Next:
    """What is to be begun waits for the operation that there is."""
    if not isinstance(answer, Run):
        return answer
    return Wait(reason="OperationRunning", message=f"operation {opened.id} ({opened.kind}) has not ended")


async def _take_back(world: World, opened: OperationRow) -> None:
    """End an operation that has not begun."""
    if opened.state == "Waiting":
        await world.operations.cancel(world, opened)


def _also_drift(wanted: Wanted, stack: StackFacts, now: datetime) -> Run | None:
    """Where all else is done: a look at what exists that is due, or what follows from the last one."""
    drift = wanted.cell.spec.drift
    # Where a change needs a person's word, putting right what somebody changed is a change too.
    if remediates(drift.policy, drifted=bool(stack.drift)) and not required(wanted):
        return Run(kind="up")
    due = look_due(wanted.cell, stack)
    return Run(kind="drift") if due is not None and due <= now else None


def look_due(cell: Cell, stack: StackFacts) -> datetime | None:
    """When the tenant's infrastructure is to be compared with what was applied."""
    drift = cell.spec.drift
    every = duration.parse(drift.every)
    return next_look(stack.tenant_id, drift.policy, every, stack.applied_time, stack.drift_checked_time)


def wake(world: World, claim: Claim | None) -> datetime | None:
    """When a steady tenant must be looked at for the sake of its infrastructure."""
    stack = world.operations.store.stack(claim.id) if claim is not None else None
    cell = world.declared.cells.get(claim.cell) if claim is not None else None
    if stack is None or claim is None or world.operations.store.open_of(stack.tenant_id) is not None:
        return None
    # What a move made, or left, is no business of the tenant's where it is now.
    if cell is None or not stack_inputs.has_infrastructure(cell, claim.level):
        return None
    return look_due(cell, stack)


async def _asked_for(world: World, current: Pass, claim: Claim, wanted: Wanted) -> None:
    """Begin a preview that somebody asked for by an annotation, once. It stands in nobody's way."""
    asked = _WORD.fullmatch(current.tenant.metadata.annotations.get(names.PREVIEW_ANNOTATION, ""))
    if asked is None or await world.operations.store.known(operation := f"{claim.id}-{asked['word']}"):
        return
    run = Run(kind="preview_destroy" if asked["destroy"] else "preview")
    await begin(world, claim, wanted, run, cause="it was asked for", tier="Paying", operation=operation)


async def _cancelled(world: World, current: Pass, newest: OperationRow) -> None:
    if current.tenant.metadata.annotations.get(names.CANCEL_ANNOTATION) == newest.id:
        await world.operations.cancel(world, newest)


def as_failure(claim: Claim, answer: Next, now: datetime) -> Failure | None:
    """What a reconcile ends with, given the decision."""
    match answer:
        case Nothing():
            return None
        case Run(kind=kind):
            return Retry("OperationRunning", f"Tenant {claim.tenant_name}: operation {kind} is queued", after=30.0)
        case Wait(reason=reason, message=message, until=until):
            after = 30.0 if until is None else max(1.0, (until - now).total_seconds())
            return Retry(reason, f"Tenant {claim.tenant_name}: {message}", after=after)
        case Ask(reason=reason, message=message):
            return Blocked(reason, f"Tenant {claim.tenant_name}: {message}")


def required(wanted: Wanted) -> bool:
    """Whether the Cell wants a person's word for every change of this model."""
    return any(one.model == wanted.inputs.model and one.policy == "Required" for one in wanted.cell.spec.approval)


def approved(world: World, claim: Claim, now: datetime) -> frozenset[str]:
    """The digests of changes that Approvals of this very Tenant name, which have not ended."""
    return frozenset(one.spec.digest for one in _standing(world, claim, now))


def _standing(world: World, claim: Claim, now: datetime) -> list[Approval]:
    return [
        one
        for one in world.declared.approvals_of(claim.tenant_name)
        if one.spec.subject.kind == "Tenant"
        and one.spec.action is None
        and one.spec.subject.uid == claim.tenant_uid
        and one.metadata.deletion_timestamp is None
        and not approvals.expired(one, now)
    ]


async def begin(
    world: World, claim: Claim, wanted: Wanted, run: Run, *, cause: str, tier: str, operation: str = ""
) -> OperationRow:
    """Queue one operation of a tenant; ``operation`` is its id where somebody has chosen it."""
    row = OperationRow(
        id=operation or world.operations.new_id(claim.id),
        tenant_id=claim.id,
        tenant_name=claim.tenant_name,
        cell=claim.cell,
        tier=tier,
        engine=wanted.engine,
        runner=wanted.runner,
        kind=run.kind,
        cause=cause[:512],
        inputs_digest=wanted.digest,
        expected=run.expected,
        destructive=_takes_away(world, claim, run.expected),
        approved_by=_approver(world, claim, run.expected),
        attempt=run.attempt,
        queued_time=_next_time(world, claim),
    )
    return await world.operations.queue(row, wanted, epoch=world.epoch)


def _next_time(world: World, claim: Claim) -> datetime:
    """Now; but always later than the tenant's last operation, by which the newest is known after a restart."""
    now, last = world.now(), world.operations.store.last_queued(claim.id)
    return now if last is None else max(now, last + timedelta(microseconds=1))


def _takes_away(world: World, claim: Claim, expected: str | None) -> bool:
    """Whether the changes of this digest, as the preview before found them, delete or replace anything."""
    newest = world.operations.store.newest(claim.id)
    if newest is None or expected is None:
        return False
    if newest.expected == expected:  # the same once more: what it got done before it failed says nothing of the rest
        return newest.destructive
    return newest.changes_digest == expected and any(one.destructive for one in newest.changes)


def _approver(world: World, claim: Claim, expected: str | None) -> str | None:
    """Who allowed the changes of this digest."""
    named = (one for one in _standing(world, claim, world.now()) if one.spec.digest == expected)
    return next((one.spec.approver for one in named), None) if expected is not None else None


async def destroyed(world: World, claim: Claim, scope: Scope) -> bool:
    """Whether a tenant's infrastructure is gone; has its destruction queued while it is not."""
    opened = world.operations.store.open_of(claim.id)
    if opened is not None and opened.kind not in ("destroy", "recover"):
        await _take_back(world, opened)  # nobody needs it any more, and it may wait for what never comes
    stack, newest = world.operations.store.stack(claim.id), world.operations.store.newest(claim.id)
    begun = newest is not None and newest.open
    if not begun and (stack is None or stack.destroyed_time is not None):
        return True
    content = world.revisions.get(claim.plan_name, claim.plan_revision)
    if content is None:
        raise Blocked("PlanMissing", f"Plan {claim.plan_name} {claim.plan_revision} is not kept: nothing is destroyed")
    wanted = wanted_of(world, claim, content, "Delete")
    if wanted is None:
        raise Blocked("NoEngine", f"Cell {claim.cell} no longer has the engine that made what tenant {claim.id} has in "
                      "the cloud: put spec.engine back; nothing of it is forgotten until then")  # fmt: skip
    refuse_elsewhere(claim, wanted, stack)
    now = world.now()
    last = newest.decided if newest is not None else None
    answer = dismantle(last, now, recovery_due=stack is not None and stack.recovery_due)
    if isinstance(answer, Run):
        await begin(world, claim, wanted, answer, cause=scope.cause, tier="Other")
        return False
    if begun and newest is not None:
        world.operations.remind(newest, wanted)
    failure = as_failure(claim, answer, now)
    assert failure is not None  # noqa: S101 - only Nothing has none
    raise failure
