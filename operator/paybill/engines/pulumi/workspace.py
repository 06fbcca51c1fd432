"""A tenant's stack as an operation has it: opened, read, and handed to the Automation API.

Each operation has a workspace of its own. What is remembered between operations is in the state alone.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi.automation import LocalWorkspace, Stack, UpdateSummary
from pulumi.automation._stack import StackInitMode  # not exported; Stack.create makes no subclass
from pulumi.automation.errors import StackNotFoundError
from pydantic import ValidationError

from paybill.desired.stack import StackOutputs
from paybill.engines.operation import Exit, Request
from paybill.engines.port import EngineError
from paybill.engines.pulumi import settings
from paybill.engines.pulumi.command import Command, find
from paybill.engines.pulumi.program import Program
from paybill.engines.pulumi.protection import MARK
from paybill.engines.pulumi.state import State
from paybill.engines.redaction import KNOWN


class TenantStack(Stack):
    """A stack whose operations do not read the history: the SDK would list all of it after each one.

    Nor is it selected, which would be one more start of the CLI: each command is told the stack's name.
    """

    def __init__(self, name: str, workspace: LocalWorkspace, *, create: bool = False) -> None:
        # Not super().__init__, which selects.
        self.name, self.workspace = name, workspace
        self._mode = StackInitMode.CREATE if create else StackInitMode.SELECT
        if create:
            workspace.create_stack(name)

    def info(self, show_secrets: bool = True) -> UpdateSummary:  # noqa: ARG002 - the SDK's signature
        """Not what the history says; nothing here asks for that."""
        return UpdateSummary(
            kind="", start_time=dt.datetime.now(dt.UTC), message="", environment={}, config={}, result=""
        )


class Workspace:
    """Where the CLI runs for one request."""

    def __init__(self, request: Request, program: Program) -> None:
        self.request = request
        self.program = program
        url = settings.state_url(request)
        self._folders = settings.Folders(request)
        self.command = Command(find(), scratch=self._folders.scratch)
        self._local = self._workspace(url, self._folders.project)
        self._name = request.inputs.stack
        self.tags: dict[str, str] = {}
        """What the stack is marked with, as it was when it was opened; written by ``mark`` and ``unmark`` alone."""

    def open(self, *, create: bool = False) -> TenantStack | None:
        """The stack; None when it does not exist and is not to be made."""
        try:
            self.tags = dict(self._local.list_tags(self._name))
        except StackNotFoundError:
            return TenantStack(self._name, self._local, create=True) if create else None
        return TenantStack(self._name, self._local)

    def imagined(self, content: dict[str, Any] | None = None) -> TenantStack:
        """A stack of that name in a state that nobody else sees: to look at what would become of it.

        ``content``: what it has; nothing where the stack does not exist yet. Where it is, or would be, is left
        untouched: a preview changes nothing, and may not be allowed to.
        """
        aside = self._workspace(f"file://{self._folders.aside_state}", self._folders.aside)
        stack = TenantStack(self._name, aside, create=True)
        if content is not None:
            self._import(content, aside)
        return stack

    def state(self) -> State:
        """What the state says now."""
        return State(self.export().get("deployment") or {}, self.tags)

    def export(self) -> dict[str, Any]:
        """The state as it is, with secrets encrypted."""
        # Not the SDK's: that one has all secrets decrypted.
        content: dict[str, Any] = json.loads(self._cli(["stack", "export"], self._local))
        return content

    def replace_state(self, content: dict[str, Any]) -> None:
        """Write a whole state; it takes the stack's lock."""
        self._import(content, self._local)

    def mark(self, tags: Mapping[str, str]) -> None:
        """Have it stand beside the state, until it is taken back, what is being done to it."""
        for name, value in tags.items():
            self._local.set_tag(self._name, name, value)
            self.tags[name] = value

    def unmark(self) -> None:
        """Take back what ``mark`` said."""
        for name in [name for name in self.tags if name.startswith(MARK)]:
            self._local.remove_tag(self._name, name)
            del self.tags[name]

    def _import(self, content: dict[str, Any], workspace: LocalWorkspace) -> None:
        path = self._folders.scratch / "state.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
        try:
            self._cli(["stack", "import", "--file", str(path)], workspace)
        finally:
            path.unlink()

    def forget(self) -> None:
        """Remove the stack itself. What it has left in a cloud stays there, and nothing knows of it any more."""
        self._local.remove_stack(self._name, force=True)

    def outputs(self, stack: TenantStack) -> StackOutputs:
        """What the stack hands over; raises EngineError (OutputsInvalid) when it is not that."""
        values: dict[str, Any] = {}
        for name, output in stack.outputs().items():
            values[name] = output.value
            if output.secret:
                KNOWN.learn(*_secrets(name, output.value))
        try:
            return StackOutputs.model_validate(values)
        except ValidationError as error:
            # Where and what is wrong with it, but never the value.
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            message = f"The program of stack {self._name} hands over what a stack cannot: {wrong}"
            raise EngineError(Exit.USER, "OutputsInvalid", message) from None

    def _workspace(self, url: str, folder: Path) -> LocalWorkspace:
        return LocalWorkspace(
            work_dir=str(folder),
            pulumi_home=str(self._folders.home),
            program=self.program,
            env_vars=settings.environment(self.request, self._folders, url=url),
            secrets_provider=self.request.secrets_provider or None,
            project_settings=settings.project_settings(self.request, url=url),
            stack_settings={self.request.inputs.stack: settings.stack_settings(self.request)},
            pulumi_command=self.command,
        )

    def _cli(self, args: list[str], workspace: LocalWorkspace) -> str:
        environment = {**(workspace.env_vars or {}), "PULUMI_HOME": str(self._folders.home)}
        answer = self.command.run([*args, "--stack", self._name], workspace.work_dir, environment)
        return answer.stdout


def _secrets(name: str, value: Any) -> list[str]:
    """The secret texts of a secret output. Of a database only the password: people read hosts and names."""
    match value:
        case str():
            return [value]
        case dict() if name == "database":
            return [str(value["admin_password"])] if value.get("admin_password") else []
        case dict():
            return [text for each in value.values() for text in _secrets("", each)]
        case list():
            return [text for each in value for text in _secrets("", each)]
        case _:
            return []
