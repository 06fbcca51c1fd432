"""The process of one operation: ``python -m paybill.engines.worker``, a Request on its standard input.

It writes JSON lines (Progress, Failed, Result) to its standard output and ends with one of the Exit codes. It is
thrown away afterwards, which is the point: an engine's memory, its threads, its tools and the environment that it
logs in with belong to one tenant's stack and to nobody else. SIGINT asks it to end what it has begun and stop; the
signal reaches the tools it started too, and engines wait for those. No engine is imported before it is needed.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydantic import ValidationError

from paybill.engines import cloud_secrets, orphans
from paybill.engines.folder import Folder
from paybill.engines.operation import EngineType, Exit, Failed, Line, Request, Result
from paybill.engines.port import Engine, EngineError, Tell
from paybill.engines.printed import Printed
from paybill.engines.redaction import KNOWN

ENGINES: Mapping[EngineType, str] = MappingProxyType(
    {
        "Pulumi": "paybill.engines.pulumi.engine:PulumiEngine",
        "Terraform": "paybill.engines.terraform.engine:TerraformEngine",
        "Embedded": "paybill.engines.embedded.engine:EmbeddedEngine",
    }
)
"""Where each engine's class is; it is made without arguments."""

MESSAGE_CHARACTERS = 8_000
"""What is kept of a message: it ends up in a condition and in logs."""
UNWATCHED_SECONDS = 5.0
"""How long after its deadline a worker stops itself, when nobody who watches it did."""


class Answers:
    """The worker's standard output: one line each, without secrets, and none after the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def write(self, line: Line) -> None:
        """Write one line; engines may tell from threads of their own."""
        if isinstance(line, Failed) and len(line.message) > MESSAGE_CHARACTERS:
            line = line.model_copy(update={"message": KNOWN.text(line.message)[:MESSAGE_CHARACTERS] + "…"})
        content = KNOWN.line(line).model_dump_json(exclude_defaults=False).encode() + b"\n"
        with self._lock:
            while content:
                content = content[os.write(self._descriptor, content) :]


def main(engines: Mapping[EngineType, str] = ENGINES) -> int:
    """Carry out the operation on standard input; returns the exit code."""
    # A parent that ignores SIGINT would have us ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o077)
    # A core holds every secret that was in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    printed, descriptor = Printed.capture(KNOWN)
    answers = Answers(descriptor)
    folder: Folder | None = None
    try:
        request = _read_request()
        folder = Folder(request.work_dir)
        exit_code = _carry_out(request, folder, engines, answers)
    except ValidationError as error:
        # The error's text would quote what was given, credentials too.
        where = ", ".join(sorted({".".join(map(str, one["loc"])) or "request" for one in error.errors()}))
        answers.write(Failed(reason="RequestInvalid", message=f"The worker was asked something malformed: {where}"))
        exit_code = Exit.USER
    except KeyboardInterrupt:
        answers.write(Failed(reason="Interrupted", message="The operation was stopped"))
        exit_code = Exit.TRANSIENT
    printed.finish()
    if folder is not None and folder.record() is not None:
        folder.end(exit_code)
    return exit_code


def _read_request() -> Request:
    """Standard input is closed behind it: no child may read the request, which has all the credentials, again."""
    with os.fdopen(os.dup(0), "rb") as file:
        content = file.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    request = Request.model_validate_json(content)
    KNOWN.learn_request(request)
    return request


def _carry_out(request: Request, folder: Folder, engines: Mapping[EngineType, str], answers: Answers) -> Exit:
    if folder.record() is not None:
        folder.identify(os.getpid())
        if folder.stopping() is not None:  # it was stopped before it could be signalled
            raise KeyboardInterrupt
        _stop_in_time(request, folder)
    began = False
    try:
        engine = _engine(request, engines)
        began = True
        result = cloud_secrets.filled(request, _operation(engine, request)(request, answers.write))
        result = orphans.listed(request, result, answers.write)
        _settle(result)
        answers.write(result)
        return _exit_of(request, result)
    except EngineError as error:
        return _failed(answers, error)
    except KeyboardInterrupt:
        happened = f"{request.kind} of stack {request.inputs.stack} was stopped"
        return _failed(answers, EngineError(Exit.TRANSIENT, "Interrupted", f"{happened} before it was done"))
    except ModuleNotFoundError as error:
        message = f"The {request.engine} engine cannot be loaded: {error.name or 'a package'} is not installed"
        return _failed(answers, EngineError(Exit.USER, "EngineMissing", message))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the operator must be told how it ended
        traceback.print_exc()  # to the log, redacted there
        return _failed(answers, _unexpected(error, began=began))


def _engine(request: Request, engines: Mapping[EngineType, str]) -> Engine:
    module, _, name = engines[request.engine].partition(":")
    engine: Engine = getattr(importlib.import_module(module), name)()
    return engine


def _operation(engine: Engine, request: Request) -> Callable[[Request, Tell], Result]:
    operation: Callable[[Request, Tell], Result] = getattr(engine, request.kind)
    return operation


def _exit_of(request: Request, result: Result) -> Exit:
    """A preview that found something and a drift that found some have codes of their own; the rest is done."""
    match request.kind:
        case "preview" | "preview_destroy":
            return Exit.CHANGES if result.changes else Exit.OK
        case "drift":
            return Exit.DRIFT if result.changes else Exit.OK
        case _:
            return Exit.OK


def _settle(result: Result | None) -> None:
    """From here on there is nothing left to stop, only to tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    KNOWN.learn_result(result)


def _failed(answers: Answers, error: EngineError) -> Exit:
    _settle(error.result)
    answers.write(error.failed)
    if error.result is not None:
        answers.write(error.result)
    return error.exit_code


def _unexpected(error: BaseException, *, began: bool) -> EngineError:
    """The type only: what an unforeseen error says may hold anything, a secret that nobody told us of as well."""
    message = f"The worker met an error that it does not know ({type(error).__name__}); its log has the place"
    # What the machine has too little of may be there later; a fault of ours comes again.
    transient = began and isinstance(error, OSError | MemoryError | TimeoutError)
    return EngineError(Exit.TRANSIENT if transient else Exit.USER, "WorkerError", message)


def _stop_in_time(request: Request, folder: Folder) -> None:
    """The deadline holds also when whoever started us is gone, and ends a program that loops."""
    threading.Thread(target=_watch, args=(request, folder), name="deadline", daemon=True).start()


def _watch(request: Request, folder: Folder) -> None:
    time.sleep(request.deadline_seconds + UNWATCHED_SECONDS)
    folder.begin_stop("DeadlineExceeded")
    while True:
        time.sleep(1.0)
        folder.advance_stop()


if __name__ == "__main__":
    # Not sys.exit: threads that a program started, and what it registered to run at the end, must not hold us up.
    os._exit(main())
