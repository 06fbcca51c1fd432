"""Approval: a person's word that one exact thing may be done, or not, which the operator must never decide by itself.

What is approved is said by a digest of canonical JSON (desired/approval.py), so an Approval fits what was shown to the
person and nothing else. Admission checks that ``approver`` is the user who writes it; the spec never changes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.base import AGE, READY, REASON, ApiModel, Column, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import ONE_LINE, Name, Time
from paybill.api.rules import checks, rule, ruled

SubjectKind = Literal["Tenant", "Installation", "AgentRun"]
Action = Literal["Erase"]
Decision = Literal["Approve", "Deny"]

DIGEST_PATTERN = "^sha256:[0-9a-f]{64}$"
_WORD = "^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"


Approver = Annotated[str, Field(min_length=1, max_length=253, json_schema_extra=checks(ONE_LINE))]
"""A user's name as the API server knows it."""


class Subject(ApiModel):
    """What the Approval is about."""

    model_config = ruled(
        rule(
            "self.kind == 'Installation' ? !has(self.uid) : has(self.uid)",
            "uid is required, so that a namesake inherits no Approval; only an Installation has none",
        ),
        rule(
            "self.kind == 'AgentRun' ? has(self.__namespace__) : !has(self.__namespace__)",
            "namespace is for an AgentRun, which needs it",
        ),
    )

    kind: SubjectKind
    """Tenant: one Tenant object. Installation: everything that the digest lists, in this installation. AgentRun: the
    call that one run of an agent waits with."""
    name: Name
    """The Tenant's or AgentRun's metadata.name, or the name of the installation."""
    namespace: Name | None = None
    """The AgentRun's metadata.namespace."""
    uid: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=63,
                json_schema_extra=checks(rule(f"self.matches('{_WORD}')", "must be the object's metadata.uid")),
            ),
        ]
        | None
    ) = None
    """The Tenant's or AgentRun's metadata.uid."""


class ApprovalSpec(ApiModel):
    """One exact thing that may be done."""

    model_config = ruled(
        rule("self == oldSelf", "spec cannot be changed: what was approved stays; make a new Approval"),
        rule("!has(self.action) || self.subject.kind == 'Tenant'", "action Erase is of one Tenant"),
        rule(
            "self.decision == 'Approve' || self.subject.kind == 'AgentRun'",
            "decision Deny is of an AgentRun: what else is not approved is not done anyway",
        ),
    )

    subject: Subject
    """What the Approval is about."""
    action: Action | None = None
    """Erase: the Tenant's data and all of its backups are removed, which takes the verb erase; absent: it is adopted,
    or a change of its infrastructure is made, which takes the verb adopt. The digest alone does not tell."""
    decision: Decision = "Approve"
    """Approve: it may be done. Deny: it may not, and the AgentRun that waits for it ends. Both take the verb approve
    on that AgentRun."""
    digest: Annotated[
        str,
        Field(
            max_length=71,
            json_schema_extra=checks(
                rule(f"self.matches('{DIGEST_PATTERN}')", "must be 'sha256:' and 64 lower-case hexadecimal digits")
            ),
        ),
    ]
    """Says exactly what may be done: sha256 of canonical JSON, as `paybill adopt` shows it; of an AgentRun, what its
    `status.approval.digest` says."""
    approver: Approver
    """Who approves: the name of the user who writes this object, as the API server knows it."""
    expires_time: Time | None = None
    """When it ends, if it was not used by then; absent: it stands until it is deleted."""


class ApprovalStatus(ApiModel):
    """What became of it."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    used_time: Time | None = None
    """When what it approves was done, or the AgentRun was told of it."""
    conditions: Conditions = ()
    """Ready (it was used), Reconciling and Stalled (it fits nothing, or has expired)."""


class Approval(Resource):
    """A person's word that one exact thing may be done."""

    kind: ClassVar[str] = "Approval"
    plural: ClassVar[str] = "approvals"
    singular: ClassVar[str] = "approval"
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.subject.kind", ".spec.subject.name", ".spec.approver")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Subject", path=".spec.subject.kind"),
        Column(name="Name", path=".spec.subject.name"),
        Column(name="Approver", path=".spec.approver"),
        Column(name="Used", path=".status.usedTime", type="date"),
        READY,
        REASON,
        Column(name="Expires", path=".spec.expiresTime", priority=1),
        AGE,
    )

    spec: ApprovalSpec
    """One exact thing that may be done."""
    status: ApprovalStatus = Field(default_factory=ApprovalStatus)
    """What became of it."""
