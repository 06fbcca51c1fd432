"""The engine that runs Pulumi programs, through its Automation API and its CLI."""

from __future__ import annotations

from paybill.engines.operation import Progress, Request, Result
from paybill.engines.policy import require_unhalted
from paybill.engines.port import Tell
from paybill.engines.pulumi import destruction
from paybill.engines.pulumi.events import Events
from paybill.engines.pulumi.run import OPTIONS, Run, result_of
from paybill.engines.pulumi.state import State


class PulumiEngine:
    """See Engine. One object serves one operation."""

    def preview(self, request: Request, tell: Tell) -> Result:
        """Say what ``up`` would do. A stack that does not exist is not made for it."""
        run = Run(request, tell)
        stack = run.open()
        state = run.state() if stack is not None else State({})
        run.refuse_pending(state)
        return run.preview(stack or run.call(run.workspace.imagined), state)

    def up(self, request: Request, tell: Tell) -> Result:
        """Make it so: looked at once more first, because the approval is of what is done and not of a wish."""
        run = Run(request, tell)
        stack = run.make()
        state = run.state()
        run.refuse_pending(state)
        looked = run.preview(stack, state)
        run.refuse_other(looked)
        run.refuse_losses(looked)
        require_unhalted(request, looked)
        going = {one.address for one in looked.changes if one.destructive} & state.protected
        replaced = {one.address for one in looked.changes if one.action == "replace"} & going
        with run.unprotected(going, replaced=replaced):
            done = run.apply(stack, protected=state.protected)
        # The engine calls it a deletion also when a resource only leaves the state.
        left = {one.address for one in looked.changes if one.action == "delete"} & state.retaining
        changes = tuple(one for one in done.changes if one.address not in left)
        handed = {"outputs": run.workspace.outputs(stack), "retained": state.ids(left)}
        return done.model_copy(update={"digest": looked.digest, "changes": changes} | handed)

    def refresh(self, request: Request, tell: Tell) -> Result:
        """Take what exists into the state."""
        run = Run(request, tell)
        stack = run.open()
        if stack is None:
            return Result()
        run.refuse_pending(run.state())
        events = Events(tell, "refresh", looking=False)
        run.locked(lambda: stack.refresh(on_event=events, **OPTIONS), events)
        return result_of(events)

    def drift(self, request: Request, tell: Tell) -> Result:
        """Compare what exists with the state; neither is written to, and no lock is taken."""
        run = Run(request, tell)
        stack = run.open()
        if stack is None:
            return Result()
        events = Events(tell, "drift", looking=True)
        run.call(lambda: stack.preview_refresh(on_event=events, **OPTIONS), events)
        return result_of(events)

    def preview_destroy(self, request: Request, tell: Tell) -> Result:
        """Say what ``destroy`` would take away and leave; changes nothing, takes no lock."""
        run = Run(request, tell, guarded=False)
        if run.open() is None:
            return Result()
        state = run.state()
        run.refuse_pending(state)
        return destruction.preview(run, state)

    def destroy(self, request: Request, tell: Tell) -> Result:
        """Take everything away but what is retained, which only leaves the state."""
        run = Run(request, tell, guarded=False)
        stack = run.open()
        if stack is None:
            return Result()
        state = run.state()
        run.refuse_pending(state)
        looked = destruction.looked(run, state)
        run.refuse_other(looked)
        run.refuse_losses(looked)
        return destruction.destroy(run, stack, state, tell)

    def outputs(self, request: Request, tell: Tell) -> Result:
        """What the stack hands over, as the state has it."""
        run = Run(request, tell)
        stack = run.open()
        return Result() if stack is None else Result(outputs=run.call(lambda: run.workspace.outputs(stack)))

    def recover(self, request: Request, tell: Tell) -> Result:
        """Free a lock whose owner is gone, and find what a creation that was cut off may have made."""
        run = Run(request, tell)
        stack = run.open()
        if stack is None:
            return Result()
        found, cleared = run.locked(run.mend, recovering=True)
        events = Events(tell, "refresh", looking=False)
        run.locked(lambda: stack.refresh(on_event=events, **OPTIONS), events, recovering=True)
        state = run.state()
        there = {one.urn for one in state.resources}
        for urn in sorted(found | cleared):
            tell(Progress(phase="recover", resource=urn, action="import" if urn in found & there else "clear"))
        lost = (found | cleared) - (found & there)
        counts = {"imported": len(found & there), "cleared": len(lost)}
        done = result_of(events)
        changes = tuple(one for one in done.changes if one.address not in lost)
        return Result(changes=changes, counts=done.counts | counts, pending=tuple(one.urn for one in state.pending))
