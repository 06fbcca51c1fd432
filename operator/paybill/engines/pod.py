"""The first process of an operation's pod: ``python -m paybill.engines.pod REQUEST FOLDER``.

It carries the operation out as the operator's own machine does it (runner.py), so a worker in a pod has the same
environment, the same patience and the same end. ``REQUEST`` is the folder with the request and the key of its answer,
``FOLDER`` one that the pod may write to. Its log tells people what goes on, redacted, and at its end the operator what
came of it, sealed. When Kubernetes takes the pod away (SIGTERM), the worker is asked to stop and still answers.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from paybill.api.failures import Blocked
from paybill.desired.job import KEY_FILE, REQUEST_FILE
from paybill.engines import runner
from paybill.engines.folder import Folder
from paybill.engines.operation import Answer, Exit, Failed, Line, Progress, Request, Result
from paybill.engines.sealed import seal

STOPPED = "PodStopped"
"""Why an operation was stopped whose pod was taken away; the operator knows whether it was it that did so."""
_DONE = frozenset({Exit.OK, Exit.CHANGES, Exit.DRIFT})

Say = Callable[[str], None]


def main(arguments: Sequence[str], say: Say) -> int:
    """Carry out the operation; returns the exit code of the pod, 0 when it was done."""
    os.umask(0o077)
    # A core holds every secret that was in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked, folder = (Path(one) for one in arguments)
    key = (asked / KEY_FILE).read_text().strip()
    try:
        request = request_of((asked / REQUEST_FILE).read_text(), folder)
    except ValidationError:
        # The error's text would quote what was given, credentials too.
        failed = Failed(reason="RequestInvalid", message="The image does not understand what it was asked: is it ours?")
        answer = Answer(exit=Exit.USER, failed=failed)
    else:
        answer = asyncio.run(carry_out(request, say))
    if answer.failed is not None:
        say(f"{answer.failed.reason}: {answer.failed.message}")
    for line in seal(answer, key):
        say(line)
    return 0 if answer.exit in _DONE else answer.exit.value


def request_of(text: str, folder: Path) -> Request:
    """The request as it is carried out here: in this pod's folder, and of this pod's name."""
    request = Request.model_validate_json(text)
    # All pods of a stack have one host name, so a lock that another one left carries ours.
    ours = {runner.holder_here()} if request.kind == "recover" else set()
    dead_owners = tuple(sorted({*request.dead_owners} | ours))
    return request.model_copy(update={"work_dir": str(folder / request.id), "dead_owners": dead_owners})


async def carry_out(request: Request, say: Say, command: Sequence[str] = runner.WORKER) -> Answer:
    """Run the worker to its end, and stop it when the pod is to end."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stopping = asyncio.create_task(_stop(Folder(request.work_dir), stop))
    try:
        ended = await runner.run(request, on_line=lambda line: _tell(line, say), command=command)
    except Blocked as failure:
        return Answer(exit=Exit.TRANSIENT, failed=Failed(reason=failure.reason, message=failure.message))
    finally:
        stopping.cancel()
    folder = Folder(request.work_dir)
    if folder.exit_code() is not None:  # a worker that died has not taken out what it learnt to be secret last
        _print(folder.log, say)
    ended.release()
    return Answer(exit=ended.exit, failed=ended.failed, result=ended.result, recovery_needed=ended.recovery_needed)


async def _stop(folder: Folder, stop: asyncio.Event) -> None:
    await stop.wait()
    while folder.record() is None:  # its folder is being made
        await asyncio.sleep(runner.POLL_SECONDS)
    folder.begin_stop(STOPPED)


def _tell(line: Line, say: Say) -> None:
    """What goes on, for people; how it ended is said at the end."""
    match line:
        case Progress():
            say(" ".join(filter(None, (line.phase, line.action, line.resource))))
        case Result():
            say(", ".join(f"{count} {action}" for action, count in sorted(line.counts.items())) or "nothing to count")
        case Failed():
            pass


def _print(log: Path, say: Say) -> None:
    """What programs and tools printed."""
    for line in log.read_text(errors="replace").splitlines():
        say(f"| {line}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], _say))
