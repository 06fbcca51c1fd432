"""Runs an instance until it is told to stop, in the foreground or detached from the terminal.

Detached means a fork into a session of its own: the parent passes on what the child reports until everything is
ready, or says why it is not, and leaves. Both ways share one code path, so what works in the foreground works
detached.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from paybill.api.failures import Blocked, Failure
from paybill.local.instance import Instance, Progress
from paybill.local.process import log_tail, rotate

logger = logging.getLogger(__name__)

AfterStart = Callable[[Instance, Progress], Awaitable[None]]
"""What is done once the control plane answers and before the instance counts as ready."""
Ready = Callable[[Instance], None]

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


async def nothing_more(_: Instance, __: Progress) -> None:
    """The hook of an instance that is only a control plane and a Postgres."""


async def serve(
    instance: Instance,
    *,
    progress: Progress,
    ready: Ready,
    after_start: AfterStart = nothing_more,
    deadline: float = 1800.0,
) -> int:
    """Start the instance, call ``ready``, wait for SIGINT, SIGTERM or SIGHUP, stop it; returns the exit code.

    ``deadline``, in seconds, is for the start with ``after_start``. Raises what the start raised, with everything
    stopped. A second signal ends us at once, and the kernel ends the programs.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, _on_signal, asked, number)
    try:
        if not await _started(instance, progress, after_start, asked, deadline):
            return INTERRUPTED
        instance.mark_ready()
        ready(instance)
        await asked.wait()
        return 0
    finally:
        await instance.stop()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


def _on_signal(asked: asyncio.Event, number: signal.Signals) -> None:
    if asked.is_set():
        logger.warning("a second signal (%s): not waiting for anything to stop", number.name)
        os._exit(INTERRUPTED)
    asked.set()


async def _started(
    instance: Instance, progress: Progress, after_start: AfterStart, asked: asyncio.Event, deadline: float
) -> bool:
    """Whether the start went through before someone asked to stop."""

    async def start() -> None:
        await instance.start(progress)
        await after_start(instance, progress)

    starting, stopping = asyncio.create_task(start()), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({starting, stopping}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        if asked.is_set():
            return False
        raise Blocked("NotReady", f"not everything was ready within {deadline:.0f} s; logs: {instance.home.logs}")
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


def detach(work: Callable[[Progress, Ready], int], *, log: Path, progress: Progress) -> None:
    """Run ``work`` in a process of its own and return when it calls its ``ready``.

    ``work`` gets a progress and a ready that report to us; its output goes to ``log``. Raises the failure that
    ``work`` raised, or Blocked with the end of the log when it died. To be called before any thread is started.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _detached(work, writer, log)
    os.close(writer)
    try:
        with os.fdopen(reader) as reports:
            for line in reports:
                if _understood(json.loads(line), progress):
                    return
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    os.waitpid(child, 0)
    raise Blocked("SupervisorDied", f"the supervisor ended without a word; the end of {log}:\n{log_tail(log)}")


def _understood(report: dict[str, Any], progress: Progress) -> bool:
    """Act on one report of the detached process; whether it was the last."""
    match report:
        case {"progress": str(line)}:
            progress(line)
            return False
        case {"failed": str(reason), "message": str(message)}:
            raise Blocked(reason, message)
        case _:
            return True


def _detached(work: Callable[[Progress, Ready], int], writer: int, log: Path) -> NoReturn:
    """The life of the detached process: it must never return into the code of the parent."""
    code = 1
    try:
        os.setsid()
        _redirect(log)
        with os.fdopen(writer, "w", buffering=1) as reports:

            def report(**content: Any) -> None:
                if not reports.closed:
                    reports.write(json.dumps(content) + "\n")

            def ready(_: Instance) -> None:
                report(ready=True)
                reports.close()  # the parent leaves now

            try:
                code = work(lambda line: report(progress=line), ready)
            except Failure as failure:
                logger.error("%s", failure)
                report(failed=failure.reason, message=failure.message)
    except BaseException:
        # Whatever it is, it ends here and in the log: unwinding further would run the parent's code twice.
        logger.exception("the supervisor failed")
    finally:
        logging.shutdown()
        os._exit(code)


def _redirect(log: Path) -> None:
    rotate(log)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)
