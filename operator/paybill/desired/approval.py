"""What an Approval approves, as a digest of canonical JSON, and which Approval fits.

The person is shown the content, the object holds its digest, and whoever acts computes the digest again from what it
is about to do: anything else than what was shown has another digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from paybill.api.approval import Action, Approval, SubjectKind
from paybill.api.canonical import digest
from paybill.lifecycle.adoption import Adoption


def adoption(tenant_id: str, tenant_uid: str) -> str:
    """That the Tenant with this UID takes over what carries this id."""
    return digest({"action": "adopt", "id": tenant_id, "uid": tenant_uid})


def adoptions(installation: str, wanted: Iterable[Adoption]) -> str:
    """That each of these Tenants takes over its tenant; in whatever order they are given."""
    listed = [{"id": one.id, "name": one.name, "uid": one.uid} for one in sorted(wanted)]
    return digest({"action": "adopt", "installation": installation, "tenants": listed})


def erasure(tenant_id: str, tenant_uid: str) -> str:
    """That all that carries this id, which the Tenant with this UID has or had, is removed for good, backups too."""
    return digest({"action": "erase", "id": tenant_id, "uid": tenant_uid})


def agents_call(run_uid: str, step: str, entered: int, call: str) -> str:
    """That the run with this UID makes the call with the digest ``call``, for which it waits at ``step``.

    ``entered`` is the how-manyth time it waits there: of two Approvals of one wait only one can be used, so that the
    other would else stand for the next time, which nobody has looked at.
    """
    return digest({"action": "approve", "call": call, "entered": entered, "run": run_uid, "step": step})


def expired(approval: Approval, now: datetime) -> bool:
    """Whether its time is over."""
    return approval.spec.expires_time is not None and approval.spec.expires_time <= now


def find(
    approvals: Iterable[Approval],
    kind: SubjectKind,
    name: str,
    uid: str | None,
    wanted: str,
    now: datetime,
    *,
    action: Action | None = None,
) -> Approval | None:
    """The Approval of this subject, for this action, with the digest ``wanted`` that stands now, the first by name.

    Admission asks for another right with each action, so one that says another action approves nothing.
    """
    for approval in sorted((one for one in approvals if one.spec.action == action), key=lambda one: one.metadata.name):
        subject = approval.spec.subject
        same = (subject.kind, subject.name, subject.uid) == (kind, name, uid)
        gone = approval.metadata.deletion_timestamp is not None
        if same and approval.spec.digest == wanted and not gone and not expired(approval, now):
            return approval
    return None
