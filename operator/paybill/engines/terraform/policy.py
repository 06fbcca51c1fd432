"""What is never done, whatever was asked: something else than was approved, and taking a customer's data away."""

from __future__ import annotations

from paybill.desired.stack import Change
from paybill.engines.operation import Exit, Request, Result
from paybill.engines.port import EngineError
from paybill.engines.terraform.holding import Kept
from paybill.engines.terraform.plan import Plan


def require_approved(request: Request, result: Result) -> None:
    """Raise EngineError when ``result`` is not what the request's approval names."""
    if request.expected is None or request.expected == result.digest:
        return
    happened = (
        f"what would be done to stack {request.inputs.stack} now is {result.digest}, not what was approved "
        f"({request.expected}): the inputs, the state or the cloud changed; nothing was done; look at a new preview"
    )
    raise EngineError(Exit.POLICY, "ChangedSinceApproval", happened, result=result)


def require_data_kept(planned: Plan, request: Request, result: Result) -> None:
    """Raise EngineError when the plan destroys or replaces what holds data and the request does not allow it."""
    if request.destroys_data or not planned.endangered:
        return
    happened = (
        f"this would {_listed(planned.endangered)}, which hold data of a customer; nothing was done: "
        f"change what leads to it, or let an Approval allow the destruction of data"
    )
    raise EngineError(Exit.POLICY, "DataProtected", happened, result=result)


def require_untouched(planned: Plan, stays: tuple[Kept, ...], result: Result) -> None:
    """Raise EngineError when a destruction would take along what must stay."""
    staying = {one.address for one in stays}
    caught = tuple(change for change in planned.changes if change.address in staying)
    if caught:
        happened = f"this would {_listed(caught)}, which must stay with the data; nothing was done: mend the module"
        raise EngineError(Exit.POLICY, "DataProtected", happened, result=result)


def require_data_present(planned: Plan, request: Request, result: Result) -> None:
    """Raise EngineError when what holds data is gone from the cloud: an empty one in its place would hide the loss."""
    if request.destroys_data or not planned.vanished:
        return
    gone = ", ".join(change.address for change in planned.vanished)
    happened = (
        f"{gone} held data of a customer and is not there any more; nothing was done: restore it under its name (or "
        f"correct the login and the region, if they are another account's), or let an Approval accept the loss"
    )
    raise EngineError(Exit.POLICY, "DataMissing", happened, result=result)


def _listed(changes: tuple[Change, ...]) -> str:
    return " and ".join(f"{change.action} {change.address}" for change in changes)
