"""What every engine can do. An engine lives in a worker process of one operation and is thrown away with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from paybill.engines.operation import Exit, Failed, Progress, Request, Result

Tell = Callable[[Progress], None]
"""Takes a line about what is going on."""


class EngineError(Exception):
    """An operation failed, in words for people, with the exit code that says what may help."""

    def __init__(
        self, exit_code: Exit, reason: str, message: str, *, result: Result | None = None, holder: str | None = None
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.exit_code = exit_code
        self.failed = Failed(reason=reason, message=message, holder=holder)
        self.result = result
        """What was done before it failed, where that is known."""


class Engine(Protocol):
    """Blocking calls: the worker has nothing else to do. Each raises EngineError."""

    def preview(self, request: Request, tell: Tell) -> Result:
        """Say what ``up`` would do; changes nothing."""

    def up(self, request: Request, tell: Tell) -> Result:
        """Make it so, if what would be done is what ``request.expected`` names."""

    def refresh(self, request: Request, tell: Tell) -> Result:
        """Take what exists into the state."""

    def drift(self, request: Request, tell: Tell) -> Result:
        """Compare what exists with the state; changes nothing, takes no lock."""

    def preview_destroy(self, request: Request, tell: Tell) -> Result:
        """Say what ``destroy`` would take away and what it would leave (``Result.retained``); changes nothing."""

    def destroy(self, request: Request, tell: Tell) -> Result:
        """Take everything away that need not stay; ``Result.retained`` names what stays."""

    def outputs(self, request: Request, tell: Tell) -> Result:
        """What the stack hands over, as the state has it."""

    def recover(self, request: Request, tell: Tell) -> Result:
        """Mend what an operation left that died: find what it may have made, and free a lock whose owner is gone."""
