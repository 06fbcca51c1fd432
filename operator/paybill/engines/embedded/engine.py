"""The embedded engine: asks the keeper of this machine's servers for one Postgres, and waits for its answer.

A stack here has one resource, the server, which holds data. Preview and drift compare files and start nothing; ``up``
and ``destroy`` write what is wanted and wait until the keeper has made it so, so a second run finds it done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from paybill.desired.stack import Action, Change, DatabaseOutput, StackInputs, StackOutputs, changes_digest
from paybill.engines.embedded.folder import Folder, Found, Wanted, kept
from paybill.engines.operation import Exit, Progress, Request, Result
from paybill.engines.port import EngineError, Tell

TYPE = "paybill:embedded:PostgresServer"
LOOK_SECONDS = 0.05
SUPERUSER = "postgres"


class EmbeddedEngine:
    """One Postgres server per stack, on this machine."""

    def preview(self, request: Request, tell: Tell) -> Result:  # noqa: ARG002 - the port's shape
        """Say what ``up`` would do."""
        return _result(request, _changes(_folder(request), request.inputs))

    def up(self, request: Request, tell: Tell) -> Result:
        """Have the server run as the inputs say."""
        folder, wanted = _folder(request), Wanted.of(request.inputs)
        result = _result(request, _changes(folder, request.inputs))
        if request.expected is not None and request.expected != result.digest:
            raise EngineError(
                Exit.POLICY,
                "ChangedSinceApproval",
                f"what would be done is {result.digest}, approved was {request.expected}: preview and approve again",
                result=result,
            )
        folder.ask(wanted)
        for change in result.changes:
            tell(Progress(phase="apply", resource=change.address, action=change.action))
        found = _await(request, folder, lambda found: _runs(found, wanted))
        return result.model_copy(update={"outputs": _outputs(folder, found)})

    def refresh(self, request: Request, tell: Tell) -> Result:
        """There is no state beside what exists."""
        return self.outputs(request, tell)

    def drift(self, request: Request, tell: Tell) -> Result:  # noqa: ARG002
        """Compare what runs with what was asked for."""
        return _result(request, _changes(_folder(request), request.inputs))

    def preview_destroy(self, request: Request, tell: Tell) -> Result:  # noqa: ARG002
        """Say whether the server's data would go or stay."""
        folder = _folder(request)
        return Result(counts={"same": 0}) if folder.wanted is None else _destruction(request, folder)

    def destroy(self, request: Request, tell: Tell) -> Result:
        """Stop the server; its data goes only where that was said."""
        folder = _folder(request)
        if folder.wanted is None:
            return Result(counts={"same": 0})
        leave = _leaves(request)
        address = _address(request.inputs)
        tell(Progress(phase="destroy", resource=address, action="update" if leave else "delete"))
        wanted = Wanted.of(request.inputs, "Stopped" if leave else "Removed")
        folder.ask(wanted)
        _await(request, folder, lambda found: _is_over(folder, found, wanted))
        return _destruction(request, folder)

    def outputs(self, request: Request, tell: Tell) -> Result:  # noqa: ARG002
        """Where the server is and how it is administered."""
        folder = _folder(request)
        found = folder.found
        if found is None or found.state != "Running":
            return Result(outputs=StackOutputs())
        return Result(outputs=_outputs(folder, found), counts={"same": 1})

    def recover(self, request: Request, tell: Tell) -> Result:
        """Nothing is ever half done that asking again would not mend."""
        return self.outputs(request, tell)


def _folder(request: Request) -> Folder:
    if not request.home:
        raise EngineError(
            Exit.USER,
            "NoHome",
            "the embedded engine works on a machine that runs `paybill up`, whose folder it is told: on a cluster "
            "choose engine Pulumi or Terraform in the Cell",
        )
    folder = Folder(Path(request.home), request.inputs.tenant_id)
    _refuse_stranger(folder, request.inputs)
    return folder


def _leaves(request: Request) -> bool:
    return request.inputs.retain and not request.destroys_data


def _destruction(request: Request, folder: Folder) -> Result:
    """What a destruction takes away, or leaves."""
    if _leaves(request):
        return Result(counts={"delete": 0}, retained=(str(folder.path),))
    change = Change(action="delete", address=_address(request.inputs), type=TYPE, data=True)
    return Result(changes=(change,), counts={"delete": 1})


def _address(inputs: StackInputs) -> str:
    return f"server/{inputs.tenant_id}"


def _changes(folder: Folder, inputs: StackInputs) -> tuple[Change, ...]:
    before, wanted = folder.wanted, Wanted.of(inputs)
    fields = _fields(before, wanted, folder.found)
    if before is not None and not fields:
        return ()
    action: Action = "create" if before is None else "update"
    return (Change(action=action, address=_address(inputs), type=TYPE, fields=fields, data=True),)


def _fields(before: Wanted | None, wanted: Wanted, found: Found | None) -> tuple[str, ...]:
    if before is None:
        return ()
    fields = {name for name in ("state", "connections") if getattr(before, name) != getattr(wanted, name)}
    if not _runs(found, before) and before.state == "Running":
        fields.add("running")
    return tuple(sorted(fields))


def _result(request: Request, changes: tuple[Change, ...]) -> Result:
    counts: dict[str, int] = {change.action: 1 for change in changes} or {"same": 1}
    digest = changes_digest(changes, inputs_digest=request.inputs.digest())
    return Result(changes=changes, counts=counts, digest=digest)


def _refuse_stranger(folder: Folder, inputs: StackInputs) -> None:
    """A folder of the same id that was made for another Tenant is nobody's to take."""
    before = folder.wanted
    if before is not None and (before.tenant_uid, before.installation) != (inputs.tenant_uid, inputs.installation):
        raise EngineError(
            Exit.USER,
            "NameTaken",
            f"{folder.path} is the server of Tenant UID {before.tenant_uid} of installation {before.installation}, "
            f"not of {inputs.tenant_uid}: it is left as it is; move it away if nobody needs it",
        )


def _runs(found: Found | None, wanted: Wanted) -> bool:
    return found is not None and found.state == "Running" and found.answers == wanted.digest


def _is_over(folder: Folder, found: Found | None, wanted: Wanted) -> bool:
    if wanted.state == "Removed":
        return not folder.path.exists()
    return found is not None and found.state == "Stopped" and found.answers == wanted.digest


def _await(request: Request, folder: Folder, done: Callable[[Found | None], bool]) -> Found:
    """Wait for the keeper; raises what it says went wrong, and that there is none."""
    ends = time.monotonic() + request.deadline_seconds * 0.9
    asked = folder.wanted
    while True:
        found = folder.found
        if done(found):
            return found or Found(answers="", state="Stopped")
        if found is not None and found.state == "Failed" and asked is not None and found.answers == asked.digest:
            raise EngineError(Exit.TRANSIENT, "ServerFailed", f"the Postgres server in {folder.path}: {found.message}")
        if not kept(folder.path.parent):
            raise EngineError(
                Exit.TRANSIENT,
                "NoKeeper",
                f"nobody keeps the servers in {folder.path.parent}: `paybill up` does while it runs",
            )
        if time.monotonic() > ends:
            raise EngineError(Exit.TRANSIENT, "DeadlineExceeded", f"the server in {folder.path} did not come in time")
        time.sleep(LOOK_SECONDS)


def _outputs(folder: Folder, found: Found) -> StackOutputs:
    return StackOutputs(
        database=DatabaseOutput(
            host="127.0.0.1",
            port=found.port,
            admin_user=SUPERUSER,
            admin_password=folder.password,
            sslmode="verify-full" if found.ca else "disable",
            ca=found.ca,
        )
    )
