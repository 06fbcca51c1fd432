"""After an operation that died: free its lock, see what exists, and adopt what was made but is in no state.

A lock is broken only by its id, and only when the caller names the owner it belongs to as proven gone. What was made
unseen is found by its name, which follows from the tenant's identity, and adopted only if it bears the tenant's mark.
"""

from __future__ import annotations

from typing import Any

from paybill.engines.operation import Progress, Result
from paybill.engines.port import EngineError
from paybill.engines.terraform.errors import LockedError
from paybill.engines.terraform.holding import resources
from paybill.engines.terraform.plan import Plan
from paybill.engines.terraform.policy import require_data_present
from paybill.engines.terraform.session import Session

NAMED = {
    "aws_cloudwatch_log_group": "name",
    "aws_db_instance": "identifier",
    "aws_db_parameter_group": "name",
    "aws_db_subnet_group": "name",
    "aws_iam_role": "name",
    "aws_s3_bucket": "bucket",
}
"""Types that are imported by a name of our choice, and the argument that holds it."""
MARK = "paybill-tenant-uid"


def recover(session: Session) -> Result:
    """Mend what an operation left; the result tells what had changed, ``outputs`` are there if the stack is whole."""
    request = session.request
    planned = _look(session)
    result = planned.result(request.inputs, planned.drift)
    require_data_present(planned, request, result)
    if planned.applyable:
        session.apply("refresh", planned)
    adopted = _adopt(session)
    counts = result.counts | ({"adopted": len(adopted)} if adopted else {})
    return result.model_copy(update={"counts": counts, "outputs": _outputs(session)})


def _look(session: Session) -> Plan:
    """See what exists, through a lock whose owner is gone if need be."""
    try:
        return session.plan("recover", "-refresh-only")
    except LockedError as error:
        lock = error.lock
        if lock is None or lock.who not in session.request.dead_owners:
            raise
        session.tell(Progress(phase="unlock", resource=lock.who))
        session.run("freeing the lock of", "force-unlock", "-force", lock.id)
    return session.plan("recover", "-refresh-only")


def _adopt(session: Session) -> list[str]:
    """Take what was made unseen into the state; returns its addresses."""
    session.plan("adopt")
    adopted = []
    for one in session.planned.get("resource_changes", ()):
        argument = NAMED.get(one["type"])
        if argument is None or one["change"]["actions"] != ["create"]:
            continue
        name = (one["change"].get("after") or {}).get(argument)
        if name and _import(session, one["address"], str(name)):
            session.tell(Progress(phase="adopt", resource=one["address"], action="import"))
            adopted.append(one["address"])
    return adopted


def _import(session: Session, address: str, name: str) -> bool:
    try:
        session.run("looking for what was made of", "import", "-input=false", "-no-color", address, name)
    except EngineError as error:
        if "non-existent remote object" in error.failed.message:
            return False
        raise
    if _tags(session, address).get(MARK) == session.request.inputs.tenant_uid:
        return True
    session.forget([address])  # it has our name and is somebody else's: the next ``up`` says NameTaken
    return False


def _tags(session: Session, address: str) -> dict[str, Any]:
    found = [one for one in resources(session.state()) if one["address"] == address]
    values = found[0].get("values") or {} if found else {}
    return values.get("tags_all") or values.get("tags") or {}


def _outputs(session: Session) -> Any:
    try:
        return session.outputs()
    except EngineError:
        return None
