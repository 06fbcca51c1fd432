"""The end of an operation: what came of it is written down, whatever that takes, and told to whom it concerns.

The Secret comes first and the row last, so until the row stands all of it is done again; the worker's folder, which
holds its result, is removed only then.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from paybill.api.failures import Failure, Retry
from paybill.cluster.events import News
from paybill.control.operations import OperationRow, StackFacts
from paybill.desired import handover
from paybill.desired.resource import key_of
from paybill.desired.stack import StackOutputs, digest_of
from paybill.engines.ended import Ended
from paybill.engines.operation import Exit, Result
from paybill.lifecycle.operation import LOOKS_ONLY, summary
from paybill.reconcile import metrics
from paybill.reconcile.queue import Work
from paybill.reconcile.site import identity_of
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)


class OperationFailed(Failure):
    """An operation ended badly; it is written down, and this is for the audit log alone."""


async def conclude(world: World, row: OperationRow, ended: Ended, stack: str) -> None:
    """Write down what came of it, whatever it takes; only then is its folder removed."""
    try:
        concluded, facts = await _written_down(world, row, ended, stack)
        await ended.discard()
    except BaseException:
        ended.release()  # its result is there still: it is taken once more
        raise
    await persistently(lambda: world.operations.store.forget_old(row.tenant_id, epoch=world.epoch))
    _tell(world, concluded, facts)
    metrics.OPERATIONS.labels(row.engine, row.kind, concluded.state).inc()
    wake(world, row)
    if concluded.state != "Succeeded":
        reason = concluded.reason or "OperationFailed"
        raise OperationFailed(reason, f"operation {row.id} ({row.kind}): {concluded.message}")


async def _written_down(world: World, row: OperationRow, ended: Ended, stack: str) -> tuple[OperationRow, StackFacts]:
    """The Secret first, the row last: until that stands, all of it is done again."""
    done = ended.exit in (Exit.OK, Exit.CHANGES, Exit.DRIFT)
    result, failed = ended.result, ended.failed
    outputs = _outputs(row, ended)
    if done and outputs is not None and row.kind != "destroy":
        await persistently(lambda: _hand_over(world, row, outputs))
    facts = _facts(world, row, ended, stack, done=done)
    if row.kind not in LOOKS_ONLY or row.kind in ("drift", "outputs") or ended.recovery_needed:
        await persistently(lambda: world.operations.store.put_stack(facts, epoch=world.epoch))
    reason = failed.reason if failed is not None and not done else None
    if reason in ("DataProtected", "DataMissing"):
        reason = "ApprovalRequired"
    concluded = await persistently(
        lambda: world.operations.store.change(
            row,
            epoch=world.epoch,
            state="Succeeded" if done else "Failed",
            ended_time=world.now(),
            exit_code=ended.exit.value,
            reason=reason,
            message=failed.message[:2000] if failed is not None and not done else None,
            changes=result.changes if result is not None else (),
            changes_digest=result.digest if result is not None else None,
            counts=dict(result.counts) if result is not None else {},
            retained=result.retained if result is not None else (),
        )
    )
    return concluded, facts


def _facts(world: World, row: OperationRow, ended: Ended, stack: str, *, done: bool) -> StackFacts:
    """What is known of the stack after an operation."""
    before = known(world, row, stack)
    result, now = ended.result, world.now()
    if not done and row.kind == "drift":
        # Looked for again when that is due, not at once: what keeps it from looking is told by an Event.
        return replace(before, drift_checked_time=now)
    if not done:
        refused = ended.exit in (Exit.POLICY, Exit.CONFLICT)
        applied = before.applied_digest if refused else doubtful(before, row)
        return replace(before, applied_digest=applied, recovery_due=before.recovery_due or ended.recovery_needed)
    outputs = _outputs(row, ended)
    handed = _digest(outputs) if outputs is not None else before.handed
    match row.kind:
        case "up":
            return replace(
                before, applied_digest=row.inputs_digest, applied_time=now, handed=handed, drift=(),
                recovery_due=ended.recovery_needed, destroyed_time=None, retained=_together(before, result),
            )  # fmt: skip
        case "destroy":
            orphans = result.orphans if result is not None else ()
            return replace(
                before, applied_digest=None, destroyed_time=now, retained=_together(before, result), orphans=orphans,
                handed=None, unsearched=result.unsearched if result is not None else None, recovery_due=False,
            )  # fmt: skip
        case "drift":
            found = result.changes if result is not None else ()
            return replace(before, drift_checked_time=now, drift=found)
        case _:
            return replace(before, recovery_due=ended.recovery_needed, handed=handed)


def _outputs(row: OperationRow, ended: Ended) -> StackOutputs | None:
    """What its stack hands over by now. Of a mere reading only what is whole: half of it would take our login away."""
    outputs = ended.result.outputs if ended.result is not None else None
    if row.kind != "outputs" or outputs is None:
        return outputs
    return outputs if outputs.database is not None and outputs.database.admin_password is not None else None


def _together(before: StackFacts, result: Result | None) -> tuple[str, ...]:
    """All that was left in a cloud: by this operation, and by those before it."""
    return tuple(sorted({*before.retained, *(result.retained if result is not None else ())}))


def _tell(world: World, row: OperationRow, facts: StackFacts) -> None:
    """An Event for what people want to hear of at once."""
    tenant = world.declared.tenants.get(row.tenant_name)
    if tenant is None:
        return
    # What else fails is told by the Tenant's condition, and by the Event that goes with it.
    if row.kind == "drift" and row.state == "Failed":
        message = f"operation {row.id} (drift): {row.message}"
        world.events.post(News(about=tenant, reason=row.reason or "OperationFailed", message=message, warning=True))
    elif row.kind == "drift" and facts.drift:
        found = summary(facts.drift)
        world.events.post(News(about=tenant, reason="Drifted", message=f"drift: {found}", warning=True))


def known(world: World, row: OperationRow, stack: str) -> StackFacts:
    """What is known of the stack of an operation; the least there is to know where it is the first."""
    found = world.operations.store.stack(row.tenant_id)
    return found or StackFacts(tenant_id=row.tenant_id, engine=row.engine, stack=stack)


def wake(world: World, row: OperationRow) -> None:
    """Have whoever waits for an operation looked at: its Tenant, or what a deleted one left, and its Approvals."""
    claim = world.registry.by_id(row.tenant_id)
    deleted = claim is not None and claim.state == "deleted"
    work = Work("Drop", row.tenant_id) if deleted else Work("Tenant", row.tenant_name)
    world.queue.add(work, f"operation {row.id} ({row.kind}) ended")
    if row.expected is not None:
        for approval in world.declared.approvals_of(row.tenant_name):
            world.queue.add(Work("Approval", approval.metadata.name), f"operation {row.id} ended")


async def _hand_over(world: World, row: OperationRow, outputs: StackOutputs) -> None:
    """Keep what a stack handed over in a Secret of the operator's own namespace."""
    claim = world.registry.by_id(row.tenant_id)
    if claim is None:
        return
    secret = handover.stack_secret(identity_of(claim), world.settings.namespace, outputs)
    step = Step(
        action="secret.apply",
        target=str(key_of(secret)),
        act=lambda: world.cluster.apply(secret),
        inputs={"key": str(key_of(secret)), "fields": sorted(secret["data"])},
    )
    await take(world, Scope(cause=f"operation {row.id}", tenant_id=row.tenant_id, cell=row.cell), [step])
    world.operations.attached.pop(row.tenant_id, None)  # the password may be another one, which no digest tells


def doubtful(before: StackFacts, row: OperationRow) -> str | None:
    """What is applied after an ``up`` that did not end well: something, but nothing that anybody may want again."""
    if before.applied_digest is None or row.kind != "up":
        return before.applied_digest
    return f"unfinished:{row.id}"


def _digest(outputs: StackOutputs) -> str:
    """Tells one handing over from the next, without anything to guess a password by."""
    content = outputs.model_dump(mode="json")
    if outputs.database is not None:
        content["database"]["admin_password"] = outputs.database.admin_password is not None
    return digest_of(content)


async def persistently(act: Any) -> Any:
    """Do what must be done before a result is given up: as often as it takes, while we lead."""
    while True:
        try:
            return await act()
        except Retry as failure:
            logger.warning("%s; again in 2 s", failure)
            await asyncio.sleep(2.0)
