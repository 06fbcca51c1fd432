"""How the Pulumi CLI is called: found once, with time limits, and with its output in files and not in memory.

The CLI stays in the worker's process group: a signal to the group reaches both, the first one asking to finish what
is going on and stop, the second one to leave at once. So an interrupt is not passed on here, only waited out. What
it starts itself (providers) it puts into groups of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pulumi.automation import CommandResult, OnOutput, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from paybill.engines.operation import Exit
from paybill.engines.port import EngineError

OLDEST = VersionInfo(3, 208, 0)
"""The first version that knows ``Stash``, by which passwords are kept; 3.206 was the first that tells its events as the
SDK reads them here (gRPC)."""
SHORT_SECONDS = 180.0
"""For everything that only reads or writes the state; operations have the request's deadline."""
LONG = frozenset({"up", "preview", "refresh", "destroy"})
_KEPT_BYTES = 64 * 1024 * 1024


def find(ours: Mapping[str, str] = os.environ) -> str:
    """The CLI's path: PAYBILL_PULUMI, or what PATH has; raises EngineError (CliMissing)."""
    named = ours.get("PAYBILL_PULUMI")
    found = shutil.which(named or "pulumi", path=ours.get("PATH"))
    if found is None:
        where = f"PAYBILL_PULUMI names {named}, which cannot be run" if named else "there is no pulumi on PATH"
        message = (
            f"The Pulumi CLI is missing: {where}. Use an image of the operator that has it, or install it "
            "(https://www.pulumi.com/docs/install) and put it on PATH or name it in PAYBILL_PULUMI"
        )
        raise EngineError(Exit.USER, "CliMissing", message)
    return str(Path(found).absolute())


class Command(PulumiCommand):
    """The CLI for the Automation API. One per operation."""

    def __init__(self, path: str, *, scratch: Path) -> None:
        """``scratch``: a private folder for output, none of which stays there."""
        # Not super().__init__: it asks for the version with the whole environment, and without a limit of time.
        self.command = path
        self._scratch = scratch
        self.interrupted = False
        """Whether a signal asked to stop while it ran."""
        self.killed = False
        """Whether a signal that it cannot answer ended it."""
        self.version = self._ask_version()

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run one command to its end; raises the SDK's CommandError, or EngineError when it does not end."""
        seconds = None if LONG & set(args[:1]) else SHORT_SECONDS
        if "--non-interactive" not in args:
            args.insert(0, "--non-interactive")
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        result = self._run([self.command, *args], cwd, environment, seconds)
        for callback, text in ((on_output, result.stdout), (on_error, result.stderr)):
            if callback is not None:
                for line in text.splitlines():
                    callback(line)
        if result.code != 0:
            raise create_command_error(result)
        return result

    def _run(self, argv: list[str], cwd: str, environment: Mapping[str, str], seconds: float | None) -> CommandResult:
        with tempfile.TemporaryFile(dir=self._scratch) as out, tempfile.TemporaryFile(dir=self._scratch) as err:
            try:
                process = subprocess.Popen(  # noqa: S603 - the CLI, with arguments of ours
                    argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=dict(environment)
                )
            except OSError as error:
                message = f"The Pulumi CLI cannot be run: {argv[0]}: {error.strerror}"
                raise EngineError(Exit.USER, "CliMissing", message) from error
            code = self._wait(process, seconds)
            if code is None:
                # Not its arguments: the first word says enough, and none of it may be a secret.
                message = f"Pulumi's `{_verb(argv)}` did not end within {seconds:.0f} s: the state may be out of reach"
                raise EngineError(Exit.TRANSIENT, "StateUnreachable", message)
            self.killed = self.killed or code == -signal.SIGKILL
            return CommandResult(stdout=_text(out), stderr=_text(err), code=code)

    def _wait(self, process: subprocess.Popen[bytes], seconds: float | None) -> int | None:
        """Its exit code; None when it had to be stopped because it took too long."""
        began = time.monotonic()
        while True:
            try:
                left = None if seconds is None else max(began + seconds - time.monotonic(), 0.0)
                return process.wait(left)
            except KeyboardInterrupt:
                self.interrupted = True  # it was signalled as we were, and ends by itself
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return None

    def _ask_version(self) -> VersionInfo | None:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment["PULUMI_SKIP_UPDATE_CHECK"] = "true"
        result = self._run([self.command, "version"], str(self._scratch), environment, SHORT_SECONDS)
        try:
            version = VersionInfo.parse(result.stdout.strip().removeprefix("v"))
        except ValueError:
            message = f"{self.command} does not say which version of Pulumi it is: is it the Pulumi CLI?"
            raise EngineError(Exit.USER, "CliMissing", message) from None
        if version.finalize_version() < OLDEST:
            message = (
                f"The Pulumi CLI {self.command} is {version}, and at least {OLDEST} is needed: install a newer one"
            )
            raise EngineError(Exit.USER, "CliTooOld", message)
        return version


def _verb(argv: list[str]) -> str:
    return " ".join([one for one in argv[1:] if not one.startswith("-")][:2])


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_KEPT_BYTES).decode(errors="replace")
