"""Destroying a stack: what must stay is found first, the rest goes, and only then is what stays let go of.

In this order a crash loses nothing: until the last step the state still knows what is retained, so whoever repeats the
operation answers the same.
"""

from __future__ import annotations

from typing import Any

from paybill.engines.operation import Progress, Result
from paybill.engines.terraform.holding import Kept, kept, plain, resources
from paybill.engines.terraform.plan import Plan
from paybill.engines.terraform.policy import require_approved, require_data_kept, require_untouched
from paybill.engines.terraform.session import Session


def preview(session: Session) -> Result:
    """What a destruction would take away and what it would leave."""
    state = session.state()
    stays = _stays(session, state)
    planned = _plan(session, state, stays, locked=False)
    result = planned.result(session.request.inputs)
    result = result.model_copy(update={"retained": _ids(stays) + _snapshots(state, planned)})
    require_untouched(planned, stays, result)
    return result


def destroy(session: Session) -> Result:
    """Destroy a stack but for what its inputs retain; with ``destroys_data``, all of it."""
    request = session.request
    state = session.state()
    stays = _stays(session, state)
    planned = _plan(session, state, stays)
    ids = _ids(stays)
    result = planned.result(request.inputs).model_copy(update={"retained": ids})
    require_approved(request, result)
    require_untouched(planned, stays, result)
    require_data_kept(planned, request, result)
    if planned.endangered:
        lift(session, [change.address for change in planned.endangered])
        planned = _plan(session, state, stays)
    if planned.changes:
        session.apply("destroy", planned)
    if stays:
        session.tell(Progress(phase="retain"))
        session.forget([one.address for one in stays])
    return result.model_copy(update={"retained": ids + _snapshots(state, planned)})


def lift(session: Session, addresses: list[str]) -> None:
    """Take the cloud's deletion protection from resources that are about to be destroyed, which was approved."""
    session.protect(on=False)
    planned = session.plan("unprotect", *(f"-target={plain(address)}" for address in addresses))
    # What they rest on comes along with a target; if any of that must be made first, there is nothing to unprotect.
    if planned.changes and all(change.action == "update" for change in planned.changes):
        session.apply("unprotect", planned)


def _stays(session: Session, state: dict[str, Any]) -> tuple[Kept, ...]:
    return kept(state) if session.request.inputs.retain and not session.request.destroys_data else ()


def _ids(stays: tuple[Kept, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.id for one in stays))  # parts of a bucket have the bucket's id


def _plan(session: Session, state: dict[str, Any], stays: tuple[Kept, ...], *, locked: bool = True) -> Plan:
    staying = {one.address for one in stays}
    going = [one["address"] for one in resources(state) if one["address"] not in staying]
    if stays and not going:  # without a target, all would go
        return Plan(changes=(), drift=(), same=len(stays), applyable=False, state=session.state_version())
    targets = [f"-target={address}" for address in going] if stays else []
    return session.plan("plan", "-destroy", *targets, locked=locked)


def _snapshots(state: dict[str, Any], planned: Plan) -> tuple[str, ...]:
    """The last snapshots that databases leave when they go."""
    gone = {change.address for change in planned.changes}
    left = [one.get("values") or {} for one in resources(state) if one["address"] in gone]
    return tuple(
        str(values["final_snapshot_identifier"])
        for values in left
        if values.get("final_snapshot_identifier") and not values.get("skip_final_snapshot")
    )
