"""One run of an engine for one stack: what the worker process is asked, and what it answers.

The request is one JSON document on the worker's standard input, so that no secret is on a command line or in an
environment that others can read. Answers are JSON lines on its standard output, the exit code says how it ended.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from pydantic import Field

from paybill.desired.stack import Change, StackInputs, StackModel, StackOutputs

Kind = Literal["preview", "up", "refresh", "drift", "preview_destroy", "destroy", "outputs", "recover"]
"""Previews and ``drift`` only look; ``refresh`` takes what it saw into the state; ``recover`` mends what died."""
EngineType = Literal["Pulumi", "Terraform", "Embedded"]


class Exit(IntEnum):
    """How a worker ended; the numbers are the contract with whoever starts it."""

    OK = 0
    CHANGES = 10
    """A preview found something to do."""
    CONFLICT = 20
    """The stack is locked by somebody else."""
    DRIFT = 30
    """What exists is not what the state says."""
    POLICY = 40
    """What would be done is not what was approved, or is never allowed."""
    USER = 50
    """People must act: credentials, quota, a program that raises. Trying again changes nothing."""
    TRANSIENT = 60
    """It may go through later: throttling, a network, a state backend that is down."""


class Request(StackModel):
    """What a worker is asked to do."""

    id: str
    """The operation's id: unique, chosen before the worker starts."""
    kind: Kind
    """What to do."""
    engine: EngineType
    """With which engine."""
    inputs: StackInputs
    """What the infrastructure follows from."""
    state_url: str | None = None
    """Where the engine keeps its state."""
    secrets_provider: str | None = None
    """What encrypts secrets in the state."""
    path: str | None = None
    """A program (Pulumi) or module (Terraform) of one's own, instead of the built-in one."""
    credentials: dict[str, str] = Field(default_factory=dict, repr=False)
    """What the engine logs in with, as the names and values of the cloud's own environment variables. Secret."""
    expected: str | None = None
    """The digest of the changes that were approved; another one is refused with ``Exit.POLICY``. None: any."""
    destroys_data: bool = False
    """Whether resources that hold data may be destroyed; protected otherwise."""
    takes_away: bool = True
    """Whether an ``up`` may delete or replace anything at all: not while the installation is halted."""
    dead_owners: tuple[str, ...] = ()
    """For ``recover``: holders of the state's lock, as ``Failed.holder`` gives them, that are proven to be gone."""
    deadline_seconds: float = Field(default=3600.0, gt=0)
    """How long it may take."""
    work_dir: str
    """A private folder of this operation alone; removed by whoever started the worker."""
    home: str = ""
    """Embedded: the folder that holds the servers."""


class Progress(StackModel):
    """A line while it works: no values, which may be secret."""

    type: Literal["progress"] = "progress"
    phase: str
    """What is being done, such as ``init`` or ``apply``."""
    resource: str = ""
    """The resource it is about."""
    action: str = ""
    """What is done to it."""


class Failed(StackModel):
    """Why it failed."""

    type: Literal["failed"] = "failed"
    reason: str
    """A stable CamelCase word, such as CredentialsRefused, QuotaExceeded, NameTaken, StateLocked, StateUnreachable."""
    message: str
    """For people: what happened to which object, and what to do. Redacted."""
    holder: str | None = None
    """Who holds the lock, for StateLocked: ``host:pid``."""


class Result(StackModel):
    """What came of it; the last line, also of a failure that changed something."""

    type: Literal["result"] = "result"
    changes: tuple[Change, ...] = ()
    """What was (or, of a preview, would be) done, or what has drifted."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Resources by action, those that stay the same among them (``same``)."""
    digest: str | None = None
    """The digest of the changes (``changes_digest``)."""
    outputs: StackOutputs | None = Field(default=None, repr=False)
    """What the stack hands over; may hold secrets."""
    pending: tuple[str, ...] = ()
    """Resources of which nobody knows whether they were made: a recovery is due."""
    retained: tuple[str, ...] = ()
    """Physical ids of resources that a destruction left, because their data must outlive it."""
    orphans: tuple[str, ...] = ()
    """Ids of what a cloud still has with the tenant's tags after a destruction, beside what was retained."""
    unsearched: str | None = None
    """Why nobody looked for orphans after a destruction, and the command by which a person does."""


class Answer(StackModel):
    """All that is to be known of an operation that ended, where it cannot be read off its folder."""

    exit: Exit
    """How it ended."""
    failed: Failed | None = None
    """Why it failed."""
    result: Result | None = Field(default=None, repr=False)
    """What came of it; may hold secrets."""
    recovery_needed: bool = False
    """Whether nobody knows what exists now."""


Line = Progress | Failed | Result
