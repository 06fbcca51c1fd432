"""AgentWorkflow: the steps that an agent is led through, as data that anybody can read and nobody can change.

A workflow bounds an agent: what is no step cannot be done, and between steps only what `next` says. It is known by the
hash of its content, so a run stays on what it began with. What it may do is still bounded by the AgentPolicy.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.agent_policy import Constant, Operator
from paybill.api.base import AGE, AGENTS_GROUP, READY, REASON, VERSION, ApiModel, Column, Resource
from paybill.api.canonical import digest
from paybill.api.conditions import Conditions
from paybill.api.fields import ONE_LINE, Duration
from paybill.api.rules import checks, list_map, list_set, rule, ruled

StepName = Annotated[str, Field(min_length=1, max_length=63, pattern="^[a-z][a-z0-9-]*$")]
"""A step, as lower-case letters, digits and dashes."""
FieldName = Annotated[str, Field(min_length=1, max_length=63, json_schema_extra=checks(ONE_LINE))]
"""An argument, a column or a value of a decision."""
Expression = Annotated[str, Field(max_length=1024)]
"""`$input.NAME`, `$steps.STEP.FIELD`, or text as it stands; `$$` begins a text that begins with a dollar."""
InputType = Literal["Boolean", "Decimal", "Integer", "Text"]
Uses = Annotated[
    str,
    Field(
        max_length=128,
        json_schema_extra=checks(
            rule(
                "self in ['decide', 'approve'] || self.matches('^.+[.](get|list|aggregate|create|update|delete)$')",
                "must be decide, approve or COLLECTION.OPERATION, such as orders.update",
            )
        ),
    ),
]
"""`decide` asks the agent, `approve` a person; else an operation on a collection."""


class When(ApiModel):
    """What must be true of a value to go on."""

    field: Expression
    """The value, such as `$steps.judge.verdict`."""
    op: Operator
    """How it is compared."""
    value: Constant | None = None
    """With what."""
    values: Annotated[tuple[Constant, ...], Field(max_length=100)] | None = None
    """With one of these; only with op `in`."""


class Transition(ApiModel):
    """Where to go on."""

    to: StepName
    """The next step."""
    when: When | None = None
    """Only if this is true; absent: always."""


class Compensation(ApiModel):
    """What undoes a step."""

    uses: Uses
    """The operation."""
    with_: Annotated[dict[str, Expression], Field(max_length=100, alias="with")] = Field(default_factory=dict)
    """Its arguments."""


class Step(ApiModel):
    """One step: an operation, a decision of the agent, or an approval of a person."""

    model_config = ruled(
        rule("self.uses == 'decide' ? has(self.out) : !has(self.out)", "out is for decide, which needs it"),
    )

    name: StepName
    """Its name."""
    uses: Uses
    """What it does."""
    with_: Annotated[dict[str, Expression], Field(max_length=100, alias="with")] = Field(default_factory=dict)
    """The arguments of an operation."""
    trusted: Annotated[tuple[FieldName, ...], Field(max_length=100, json_schema_extra=list_set())] = ()
    """Arguments that no text of a stranger may fill."""
    out: (
        Annotated[dict[str, Annotated[tuple[Constant, ...], Field(min_length=1, max_length=50)]], Field(max_length=20)]
        | None
    ) = None
    """What a decision says: each field is one of these values."""
    max_calls: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often the run may come here."""
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 1
    """Rows that one call may read or write."""
    idempotency_key: Expression | None = None
    """One effect for one value of this, over the whole run."""
    compensate: Compensation | None = None
    """What undoes it when the run fails later."""
    next: Annotated[tuple[Transition, ...], Field(max_length=20)] = ()
    """Where to go on: the first whose `when` is true; none: the run ends here."""


class WorkflowLimits(ApiModel):
    """What a run may use at most."""

    max_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """Steps, each time that one is entered."""
    deadline: Duration = "10m"
    """Time from the opening."""
    rows_read: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Rows read, over all steps."""
    rows_written: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    """Rows written, over all steps."""


class AgentWorkflowSpec(ApiModel):
    """The steps that an agent is led through."""

    model_config = ruled(rule("self == oldSelf", "spec cannot be changed: make a new AgentWorkflow"))

    input: Annotated[dict[str, InputType], Field(max_length=50)] = Field(default_factory=dict)
    """What a run is begun with."""
    initial: StepName
    """The first step."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=100, json_schema_extra=list_map("name"))]
    """All steps."""
    limits: WorkflowLimits = Field(default_factory=WorkflowLimits)
    """What a run may use at most."""
    on_failure: Literal["Compensate", "Halt"] = "Halt"
    """Whether what was done is undone when a step fails."""

    @property
    def revision(self) -> str:
        """The hash of its content."""
        return digest(self.wire())


class AgentWorkflowStatus(ApiModel):
    """What is known of it."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    revision: str | None = None
    """The hash of its content."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled."""


class AgentWorkflow(Resource):
    """The steps that an agent is led through."""

    group: ClassVar[str] = AGENTS_GROUP
    api_version: ClassVar[str] = f"{AGENTS_GROUP}/{VERSION}"
    kind: ClassVar[str] = "AgentWorkflow"
    plural: ClassVar[str] = "agentworkflows"
    singular: ClassVar[str] = "agentworkflow"
    short_names: ClassVar[tuple[str, ...]] = ("aw",)
    scope: ClassVar[str] = "Namespaced"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Initial", path=".spec.initial"),
        READY,
        REASON,
        Column(name="Revision", path=".status.revision", priority=1),
        AGE,
    )

    spec: AgentWorkflowSpec
    """The steps that an agent is led through."""
    status: AgentWorkflowStatus = Field(default_factory=AgentWorkflowStatus)
    """What is known of it."""
