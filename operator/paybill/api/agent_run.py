"""AgentRun: one walk of one agent through one workflow, opened in the tenant's database with its budgets.

The run itself is a row there (agents/runs.py), because that is where it holds: what is left of its calls, rows and time
is counted in the transaction of each call. This object asks for it, says how it stands, and ends it before its time.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.agent_policy import Constant
from paybill.api.approval import Approver
from paybill.api.base import AGE, AGENTS_GROUP, READY, REASON, VERSION, ApiModel, Column, NameReference, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import Time
from paybill.api.rules import rule, ruled

RunPhase = Literal["Pending", "Running", "AwaitingApproval", "Ended"]


class AgentRunSpec(ApiModel):
    """Who goes through what, and with what."""

    model_config = ruled(
        rule(
            "self.policyRef == oldSelf.policyRef && self.workflowRef == oldSelf.workflowRef && "
            "self.requestedBy == oldSelf.requestedBy && has(self.input) == has(oldSelf.input) && "
            "(!has(self.input) || self.input == oldSelf.input)",
            "only cancel can be changed: a run is opened once; make a new one",
        ),
        rule(
            "!has(self.input) || self.input.all(name, size(name) <= 63) && "
            "self.input.map(name, size(self.input[name])).sum() <= 16384",
            "input is for small values: names of at most 63 characters, and 16384 characters in all",
        ),
        rule("!oldSelf.cancel || self.cancel", "a run that was cancelled cannot go on: make a new one"),
    )

    policy_ref: NameReference
    """The AgentPolicy in this namespace that says which agent it is, and what it may do."""
    workflow_ref: NameReference
    """The AgentWorkflow in this namespace."""
    input: Annotated[dict[str, Constant], Field(max_length=50)] = Field(default_factory=dict)
    """What the run is begun with: a value for each input of the workflow, as text."""
    requested_by: Approver
    """Who asks for it: the name of the user who writes this object, as the API server knows it."""
    cancel: bool = False
    """Ends the run: whatever the agent still asks for is refused."""


class RunUse(ApiModel):
    """How much of a budget is used, and how much there is."""

    used: int
    """What was used when it was last looked at."""
    limit: int
    """What the run may use."""


class ShownArgument(ApiModel):
    """An argument as a person is shown it: no character in it can hide or move another."""

    name: str
    """The argument."""
    value: str
    """Its value as JSON writes it; whatever is not seen as itself stands as `\\u{...}`, and what is long is cut."""
    characters: int | None = None
    """How long the value is, where not all of it is shown."""
    untrusted: bool = False
    """Whether it is out of a column that may hold a stranger's text."""


class RunApproval(ApiModel):
    """What a run waits with until a person has looked at it."""

    step: str
    """The step that waits."""
    uses: str
    """The operation that comes next if it is approved."""
    arguments: tuple[ShownArgument, ...] = ()
    """Its arguments. They stand here only while the run waits."""
    digest: str
    """What an Approval has to name: of this run, this wait and the call with all of its arguments."""
    call_digest: str
    """The digest of the call alone, as the journal has it."""
    asked_time: Time | None = None
    """When it was first seen here that the run waits."""


class AgentRunStatus(ApiModel):
    """How the run stands in the tenant's database."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    phase: RunPhase | None = None
    """Pending, Running, AwaitingApproval or Ended."""
    approval: RunApproval | None = None
    """What it waits with for a person."""
    ending: str | None = None
    """How it ended: Succeeded, Failed, Denied, Expired, Cancelled, PolicyChanged, WorkflowChanged, AgentRemoved or
    Deleted."""
    ending_step: str | None = None
    """The step at which its workflow came to that end."""
    ending_reason: str | None = None
    """What the step ended it for: an SQLSTATE or a word of the workflow's interpreter."""
    run: str | None = None
    """Its id in the database, which is this object's UID: the gateway is given it with each call."""
    workflow_hash: str | None = None
    """The revision of the workflow that it goes through, whatever becomes of that object."""
    policy_hash: str | None = None
    """The hash of the policy that it was opened under."""
    opened_time: Time | None = None
    """When it was opened."""
    deadline_time: Time | None = None
    """When it ends by itself."""
    closed_time: Time | None = None
    """When it ended."""
    calls: RunUse | None = None
    """Calls."""
    rows_read: RunUse | None = None
    """Rows read."""
    rows_written: RunUse | None = None
    """Rows written."""
    journal_head: str | None = None
    """The newest entry of its journal, as `paybill agents verify --head` takes it."""
    conditions: Conditions = ()
    """Ready (it was opened), Reconciling and Stalled."""


class AgentRun(Resource):
    """One walk of one agent through one workflow."""

    group: ClassVar[str] = AGENTS_GROUP
    api_version: ClassVar[str] = f"{AGENTS_GROUP}/{VERSION}"
    kind: ClassVar[str] = "AgentRun"
    plural: ClassVar[str] = "agentruns"
    singular: ClassVar[str] = "agentrun"
    short_names: ClassVar[tuple[str, ...]] = ("ar",)
    scope: ClassVar[str] = "Namespaced"
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.policyRef.name", ".spec.workflowRef.name")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Policy", path=".spec.policyRef.name"),
        Column(name="Workflow", path=".spec.workflowRef.name"),
        Column(name="Phase", path=".status.phase"),
        Column(name="Ending", path=".status.ending"),
        Column(name="Calls", path=".status.calls.used", type="integer"),
        Column(name="Written", path=".status.rowsWritten.used", type="integer"),
        READY,
        REASON,
        Column(name="Deadline", path=".status.deadlineTime", type="date", priority=1),
        AGE,
    )

    spec: AgentRunSpec
    """Who goes through what, and with what."""
    status: AgentRunStatus = Field(default_factory=AgentRunStatus)
    """How the run stands in the tenant's database."""
