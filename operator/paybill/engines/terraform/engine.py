"""The Terraform engine: the port's operations as plans that are saved, looked at, and then applied as they are.

Whatever changes something goes one way: plan, save, compare with what was approved, refuse what endangers data, apply
that file. Between an approval and the apply the digest decides (changes, inputs and the state's version), between the
plan and the apply Terraform does (a saved plan is stale once the state is another).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from paybill.desired.stack import Change
from paybill.engines.operation import Exit, Request, Result
from paybill.engines.policy import require_unhalted
from paybill.engines.port import EngineError, Tell
from paybill.engines.terraform import destruction, recovery
from paybill.engines.terraform.plan import Plan
from paybill.engines.terraform.policy import require_approved, require_data_kept, require_data_present
from paybill.engines.terraform.session import Session, Stopping, ambient

STOPPING = Stopping()


class TerraformEngine:
    """Runs terraform or tofu. ``environment``: the worker's; of it only what cli.py names is passed on."""

    def __init__(self, environment: Mapping[str, str] | None = None, stopping: Stopping = STOPPING) -> None:
        self._environment = ambient() if environment is None else environment
        self._stopping = stopping

    def preview(self, request: Request, tell: Tell) -> Result:
        """Say what ``up`` would do; takes no lock and changes nothing."""
        session = self._begin(request, tell)
        planned = session.plan("preview", locked=False)
        result = planned.result(request.inputs)
        require_data_present(planned, request, result)
        return result

    def up(self, request: Request, tell: Tell) -> Result:
        """Make it so, if what would be done is what was approved and takes no data away."""
        session = self._begin(request, tell)
        planned = session.plan("plan")
        result = planned.result(request.inputs)
        require_approved(request, result)
        require_data_present(planned, request, result)
        require_data_kept(planned, request, result)
        require_unhalted(request, result)
        if not planned.applyable:
            return result.model_copy(update={"outputs": session.outputs()})
        if planned.endangered:
            planned = self._unprotected(session, planned)
        session.apply("apply", planned)
        with contextlib.suppress(EngineError):  # what was to be done is done
            # What the cloud filled in while related resources were made would look like drift.
            session.settle()
        try:
            outputs = session.outputs()
        except EngineError as error:
            error.result = result
            raise
        return result.model_copy(update={"outputs": outputs})

    def refresh(self, request: Request, tell: Tell) -> Result:
        """Take what exists into the state."""
        session = self._begin(request, tell)
        planned = session.plan("refresh", "-refresh-only")
        result = planned.result(request.inputs, planned.drift)
        require_data_present(planned, request, result)
        if planned.applyable:
            session.apply("refresh", planned)
        return result

    def drift(self, request: Request, tell: Tell) -> Result:
        """Compare what exists with the state; changes nothing, takes no lock."""
        session = self._begin(request, tell)
        planned = session.plan("drift", "-refresh-only", locked=False)
        return planned.result(request.inputs, planned.drift)

    def preview_destroy(self, request: Request, tell: Tell) -> Result:
        """Say what ``destroy`` would take away and leave; takes no lock and changes nothing."""
        return destruction.preview(self._begin(request, tell))

    def destroy(self, request: Request, tell: Tell) -> Result:
        """Take away what need not stay; data stays unless the request destroys it, retained or by refusal."""
        return destruction.destroy(self._begin(request, tell))

    def outputs(self, request: Request, tell: Tell) -> Result:
        """What the stack hands over, as the state has it."""
        return Result(outputs=self._begin(request, tell).outputs())

    def recover(self, request: Request, tell: Tell) -> Result:
        """Free a lock whose owner is proven gone, take what exists into the state, adopt what was made unseen."""
        return recovery.recover(self._begin(request, tell))

    def _begin(self, request: Request, tell: Tell) -> Session:
        session = Session(request, tell, ambient=self._environment, stopping=self._stopping)
        session.init()
        return session

    def _unprotected(self, session: Session, planned: Plan) -> Plan:
        """Lift the cloud's protection from what an approved change replaces, and plan that same change again."""
        destruction.lift(session, [change.address for change in planned.endangered])
        session.protect(on=True)
        again = session.plan("plan")
        if _outline(again.changes) != _outline(planned.changes):
            happened = "after the protection was lifted something else would be done than was approved"
            raise EngineError(
                Exit.POLICY, "ChangedSinceApproval", happened, result=again.result(session.request.inputs)
            )
        return again


def _outline(changes: tuple[Change, ...]) -> set[tuple[str, str]]:
    return {(change.address, change.action) for change in changes}
