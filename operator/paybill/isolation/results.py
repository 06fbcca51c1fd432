"""What a check of a pool's isolation found, as data: the same for the command, the conditions and the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from paybill.isolation.attacks import Level
from paybill.isolation.findings import Finding

Ending = Literal["denied", "detected", "succeeded"]
"""denied: the server refused it, or it reached nothing. detected: it goes through, and Paybill says or ends it.
succeeded: one tenant reached another, and nothing keeps it from doing so."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one attack ended; ``evidence`` is what the server answered, never what stands in a row."""

    level: Level
    number: int
    name: str
    result: Ending
    evidence: str

    def wire(self) -> dict[str, object]:
        """As programs read it."""
        return {
            "level": self.level,
            "number": self.number,
            "name": self.name,
            "result": self.result,
            "evidence": self.evidence,
        }

    def __str__(self) -> str:
        return f"{self.number} {self.name} at level {self.level}: {self.evidence}"


def counted(results: Iterable[Result]) -> dict[Ending, int]:
    """How many attacks ended in which way."""
    numbers = Counter(one.result for one in results)
    return {"denied": numbers["denied"], "detected": numbers["detected"], "succeeded": numbers["succeeded"]}


def successes(results: Iterable[Result]) -> tuple[Result, ...]:
    """The attacks that should have been denied."""
    return tuple(one for one in results if one.result == "succeeded")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One check of one pool: how each attack ended, and which shared objects break a rule.

    ``refused`` is what the server keeps its administrator from closing.
    """

    level: Level
    results: tuple[Result, ...]
    findings: tuple[Finding, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every attack that should be denied was, and no shared object lets one through."""
        return not successes(self.results) and not self.findings
