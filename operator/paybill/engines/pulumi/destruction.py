"""Destroying a stack: what goes is taken away first, and only then is what stays let go of, all of it at once.

In this order a crash loses nothing: until the last step the state knows what is kept, so whoever repeats the operation
answers the same. Protection is lifted only from what is there and goes, so a stack that was never finished goes too.
"""

from __future__ import annotations

from paybill.engines.operation import Exit, Progress, Result
from paybill.engines.port import EngineError, Tell
from paybill.engines.pulumi.events import Events
from paybill.engines.pulumi.run import OPTIONS, Run, result_of
from paybill.engines.pulumi.state import State
from paybill.engines.pulumi.workspace import TenantStack

_NOT_OURS = frozenset({Exit.CONFLICT, Exit.TRANSIENT})


def looked(run: Run, state: State) -> Result:
    """What a destruction would take away, and what it would leave."""
    changes = state.deletions()
    counts = {"delete": len(changes), "same": len(state.resources) - len(changes)}
    retained = state.ids(state.kept)
    return Result(changes=changes, counts=counts, digest=run.digest(changes, state), retained=retained)


def preview(run: Run, state: State) -> Result:
    """The same, once Pulumi has said that it would do so."""
    found = looked(run, state)
    if state.going:
        run.preview_destroy(state, list(state.going) if state.kept else None)
    return found


def destroy(run: Run, stack: TenantStack, state: State, tell: Tell) -> Result:
    """Carry it out. ``run`` is one whose program is not guarded."""
    protected = state.protected - state.kept
    with run.unprotected(protected):
        trouble = _unguard(run, stack, sorted(protected), tell) if protected else None
        try:
            done = _clear(run, stack, state, tell)
        except EngineError as failure:
            if trouble is not None:
                told = f"{failure.failed.message} (the clouds' own protection could not be lifted: {trouble})"
                failure.failed = failure.failed.model_copy(update={"message": told})
            raise
    if not run.state().going:
        tell(Progress(phase="retain"))
        run.call(run.workspace.forget)
    return done.model_copy(update={"retained": state.ids(state.kept)})


def _unguard(run: Run, stack: TenantStack, urns: list[str], tell: Tell) -> str | None:
    """Have an update lift the clouds' own deletion protection, which is a field; of nothing but ``urns``.

    Returns what kept it from that, if anything: a program that fails has nothing to say any more about a stack that
    goes, and what a cloud protects still it will refuse to delete in words of its own.
    """
    tell(Progress(phase="unguard"))
    try:
        run.apply(stack, target=urns)
    except EngineError as failure:
        if failure.exit_code in _NOT_OURS or (failure.result is not None and failure.result.pending):
            raise
        return failure.failed.message
    return None


def _clear(run: Run, stack: TenantStack, state: State, tell: Tell) -> Result:
    """Take away what goes."""
    going = list(state.going)
    if not going:
        return Result(counts={"same": len(state.resources)})
    events = Events(tell, "destroy", looking=False, protected=state.protected)
    # Without a target all goes, the providers too; with some, exactly these.
    target = going if state.kept else None
    run.locked(lambda: stack.destroy(on_event=events, target=target, **OPTIONS), events)
    return result_of(events)
