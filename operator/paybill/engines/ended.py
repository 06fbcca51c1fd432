"""How an operation ended, wherever it ran: what the operator concludes from, and discards when that is written down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from paybill.engines.operation import Exit, Failed, Result


@dataclass(frozen=True, kw_only=True)
class Ended(ABC):
    """How an operation ended. Its result is the taker's own until it is discarded or released."""

    exit: Exit
    """As the worker said, or TRANSIENT where it could not."""
    failed: Failed | None = None
    """Why it failed."""
    result: Result | None = field(default=None, repr=False)
    """What came of it; may hold secrets."""
    recovery_needed: bool = False
    """Whether nobody knows what exists now: the next operation on the stack must be a recovery."""

    @property
    @abstractmethod
    def stack(self) -> str:
        """The name of the stack that it was about."""

    @abstractmethod
    async def discard(self) -> None:
        """Take away what holds the result, when it is written down elsewhere."""

    @abstractmethod
    def release(self) -> None:
        """Give the result back without removing it: somebody else may take it."""
