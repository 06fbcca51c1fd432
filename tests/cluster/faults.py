"""Counts what an operator does to the world, and spoils one effect of it: by number, or by name.

An effect fails before it is done, or after it is done and before its answer arrives; or nothing is heard of it any
more; or the process ends there. In process, to end means that from this moment on nothing of it reaches the outside
(doors.py) and its tasks are cancelled; whatever its code does on its way out comes to nothing, as with SIGKILL.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from paybill.api.failures import Blocked
from paybill.doors import Doors
from tests.cluster.doors import watched

T = TypeVar("T")
When = Literal["before", "during", "after"]
How = Literal["end", "fail", "hang"]

UNDER_WAY = 0.002
"""Seconds from sending something until it is under way: the server has it, and has not answered."""
OBJECT = re.compile(r"^(\w+ [\w/]+) \S+$")


@dataclass(frozen=True)
class Fault:
    """What happens at the ``nth`` effect whose name begins with the words ``name`` (none: at any), counted from now."""

    name: str = ""
    nth: int = 1
    when: When = "before"
    how: How = "end"


@dataclass
class Faults:
    """The effects of one operator from ``arm`` on, over all its lives; ``end`` is how the running one is ended."""

    end: Callable[[], None]
    seconds: float = 15.0
    patience: float = 45.0
    seen: list[str] = field(default_factory=list)
    happened: str = ""
    fault: Fault | None = None
    left: int = 0

    def doors(self) -> Doors:
        """The doors of a process that starts now."""
        return watched(Life(self), seconds=self.seconds, patience=self.patience)

    def arm(self, fault: Fault | None = None) -> None:
        """Forget what was seen, and do this once."""
        self.seen, self.happened = [], ""
        self.fault, self.left = fault, fault.nth if fault is not None else 0

    @property
    def kinds(self) -> list[str]:
        """What was seen, without the objects' names: comparable between tenants."""
        return [kind_of(name) for name in self.seen]

    def strikes(self, name: str) -> Fault | None:
        """Note an effect; the fault if this is the one."""
        self.seen.append(name)
        if self.fault is None or not _is(name, self.fault.name):
            return None
        self.left -= 1
        if self.left:
            return None
        fault, self.fault = self.fault, None
        self.happened = name
        return fault


class Life:
    """One process, from its start to its end."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._dead = False

    def refuse_the_dead(self) -> None:
        if self._dead:
            raise Blocked("Dead", "this process has ended")

    async def effect(
        self, name: str, act: Callable[[], Awaitable[T]], *, lost: Callable[[], Exception], silence: Awaitable[Any]
    ) -> T:
        fault = self._faults.strikes(name)
        try:
            if fault is None:
                return await act()
            if fault.when == "after":
                await act()
            elif fault.when == "during":
                sent = asyncio.ensure_future(act())
                await asyncio.wait({sent}, timeout=UNDER_WAY)
            if fault.how == "hang":
                await silence
            elif fault.how == "end":
                await self._end()
            raise lost()
        finally:
            if hasattr(silence, "close"):
                silence.close()

    async def _end(self) -> None:
        self._dead = True
        self._faults.end()
        await asyncio.Event().wait()


def _is(name: str, wanted: str) -> bool:
    return not wanted or name == wanted or name.startswith((f"{wanted} ", f"{wanted},")) or kind_of(name) == wanted


def kind_of(name: str) -> str:
    """An effect without what differs from tenant to tenant: objects' names, and what was written to the log at once."""
    if " audit " in name:
        return name.split(" audit ")[0] + " audit"
    found = OBJECT.match(name)
    return found[1] if found and found[1].split()[0] in {"patch", "post", "put", "delete"} else name
