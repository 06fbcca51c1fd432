"""One operation's work with the program: its folder, its state, and the commands with what they say."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paybill.desired.stack import StackOutputs
from paybill.engines.folder import Patience
from paybill.engines.operation import Exit, Progress, Request, Result
from paybill.engines.port import EngineError, Tell
from paybill.engines.redaction import KNOWN
from paybill.engines.terraform import errors, plan, root
from paybill.engines.terraform.backends import backend
from paybill.engines.terraform.binary import environment, find
from paybill.engines.terraform.cli import MARGIN, Cli, Finished
from paybill.engines.terraform.holding import DATA_OUTPUT
from paybill.engines.terraform.messages import Transcript
from paybill.engines.terraform.plan import Plan

_SAVED = "saved.tfplan"
_UNSAVED_STATE = "errored.tfstate"


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """How an operation is stopped that takes too long."""

    margin: float = MARGIN
    """Seconds past its deadline before we stop it; whoever watches the worker should have by then."""
    patience: Patience = field(default_factory=Patience)


class Session:
    """The program in a folder of its own, for one request."""

    def __init__(self, request: Request, tell: Tell, *, ambient: Mapping[str, str], stopping: Stopping) -> None:
        """Write the root and find the program; nothing is run yet. Raises EngineError."""
        KNOWN.learn_request(request)
        self.request = request
        self.tell = tell
        self.planned: dict[str, Any] = {}
        """The plan that was saved last, as terraform shows it. Holds secrets."""
        self.folder = Path(request.work_dir).resolve() / "terraform"
        self.module = root.module(request)
        binary = find(ambient)
        root.write(self.folder, self.module, backend(request, binary), request.inputs, request.credentials)
        self.cli = Cli(
            binary,
            self.folder,
            environment(ambient, _regions(request) | request.credentials),
            deadline=time.monotonic() + request.deadline_seconds + stopping.margin,
            patience=stopping.patience,
        )

    def init(self) -> None:
        """Make the folder ready: the backend, the provider, the module."""
        self.tell(Progress(phase="init"))
        self._checked("initializing", self.cli.run("init", "-input=false", "-no-color"))

    def state_version(self) -> str:
        """Which state it is (its lineage) and how often it was written; empty when there is none yet."""
        pulled = self._checked("reading the state of", self.cli.run("state", "pull"))
        text = "\n".join(pulled.out).strip()
        if not text:
            return ""
        state = json.loads(text)
        return f"{state.get('lineage')}:{state.get('serial')}"

    def plan(self, phase: str, *options: str, locked: bool = True) -> Plan:
        """Plan, save the plan, and say what is in it."""
        self.tell(Progress(phase=phase))
        version = self.state_version()
        lock = () if locked else ("-lock=false",)
        said = Transcript(phase, self.tell)
        ran = self.cli.run("plan", "-json", "-input=false", f"-out={_SAVED}", *lock, *options, each=said.take)
        self._checked("planning", ran, said)
        shown = self._checked("reading the plan of", self.cli.run("show", "-json", _SAVED))
        self.planned = json.loads("\n".join(shown.out))
        return plan.read(self.planned, state=version)

    def apply(self, phase: str, planned: Plan) -> None:
        """Do exactly what was saved last. A failure's result says what was done of it before."""
        said = Transcript(phase, self.tell)
        try:
            ran = self.cli.run("apply", "-json", "-input=false", "-auto-approve", _SAVED, each=said.take)
            self._checked("applying", ran, said)
        except EngineError as error:
            pending = said.pending + self._save_state()
            done = said.done(planned.changes)
            result = Result(changes=done, counts=plan.counts(done), digest=planned.digest(self.request.inputs))
            error.result = result.model_copy(update={"pending": tuple(sorted(set(pending)))})
            raise

    def settle(self) -> None:
        """Take into the state what exists, without looking at it first: nothing but the state is written."""
        self.tell(Progress(phase="settle"))
        said = Transcript("settle", self.tell)
        ran = self.cli.run("apply", "-json", "-input=false", "-refresh-only", "-auto-approve", each=said.take)
        self._checked("settling", ran, said)

    def _save_state(self) -> tuple[str, ...]:
        """Bring a state to its place that could not be written; when that fails too, what only it knows of."""
        path = self.folder / _UNSAVED_STATE
        if not path.exists():
            return ()
        with contextlib.suppress(EngineError):
            if self.cli.run("state", "push", _UNSAVED_STATE).code == 0:
                return ()
        listed = json.loads(path.read_text()).get("resources", ())
        return tuple(
            ".".join(filter(None, (one.get("module"), one["type"], one["name"])))
            for one in listed
            if one.get("mode") == "managed"
        )

    def state(self) -> dict[str, Any]:
        """The state as ``terraform show -json`` prints it. Holds secrets."""
        shown = self._checked("reading the state of", self.cli.run("show", "-json"))
        document: dict[str, Any] = json.loads("\n".join(shown.out))
        return document

    def protect(self, *, on: bool) -> None:
        """From the next plan on, turn the cloud's deletion protection on or off."""
        root.write_values(self.folder, self.request.inputs, protect=on)

    def forget(self, addresses: list[str]) -> None:
        """Take resources out of the state and leave them in the cloud."""
        self._checked("letting go of what is retained of", self.cli.run("state", "rm", "-no-color", *addresses))

    def outputs(self) -> StackOutputs:
        """What the stack hands over; raises EngineError when the module gives too little or something else."""
        listed = self._checked("reading the outputs of", self.cli.run("output", "-json", "-no-color"))
        given = {name: one["value"] for name, one in json.loads("\n".join(listed.out)).items() if name != DATA_OUTPUT}
        missing = sorted(name for name in root.required(self.request.inputs) if given.get(name) is None)
        if missing:
            raise EngineError(Exit.USER, "OutputsMissing", root.missing_text(self.module, missing))
        try:
            handed = StackOutputs.model_validate(given)
        except ValueError as error:
            wrong = _wrong_fields(error)
            happened = f"{self.module.name} gives outputs that are not as they must be: {wrong}"
            raise EngineError(Exit.USER, "OutputsInvalid", happened) from None
        KNOWN.learn_result(Result(outputs=handed))
        return handed

    def run(self, doing: str, *arguments: str) -> Finished:
        """Run another command; ``doing`` says what for."""
        return self._checked(doing, self.cli.run(*arguments))

    def _checked(self, doing: str, ran: Finished, said: Transcript | None = None) -> Finished:
        if ran.code == 0:
            return ran
        text = said.error_text if said is not None and said.error_text else ran.text
        raise errors.failure(f"{doing} stack {self.request.inputs.stack}", text)


def _regions(request: Request) -> dict[str, str]:
    """A module of one's own may have a provider without a region."""
    if request.inputs.provider != "AWS" or not request.inputs.region:
        return {}
    return {"AWS_REGION": request.inputs.region, "AWS_DEFAULT_REGION": request.inputs.region}


def _wrong_fields(error: ValueError) -> str:
    """Where a value is wrong and how, without the value."""
    listed: list[dict[str, Any]] = getattr(error, "errors", list)()
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in listed) or "no object"


def ambient() -> Mapping[str, str]:
    """The worker's own environment."""
    return os.environ
