"""What a suite is: a tenant's tables, a policy, workflows, 25 tasks, and what may become of the tables.

What is allowed is written by hand for each suite, against what stood in the tables and what stands there now. None of
it is derived from the policy or from any code of Paybill: the two are held against each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
COUNTED = {"version"}
"""Columns that the tenant's own triggers move with every change."""


@dataclass(frozen=True)
class Change:
    """One row that is not as it was: ``before`` is None when it is new, ``after`` when it is gone."""

    table: str
    key: str
    before: Row | None
    after: Row | None

    @property
    def kind(self) -> str:
        return "create" if self.before is None else "delete" if self.after is None else "update"

    @property
    def values(self) -> Row:
        """The new values: of a new row all of them."""
        before, after = self.before or {}, self.after or {}
        return {name: value for name, value in after.items() if name not in COUNTED and before.get(name) != value}


@dataclass(frozen=True)
class Expected:
    """A change that a task is there to make; ``values`` of a new row are those that matter."""

    kind: str
    table: str
    key: str | None
    values: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, change: Change) -> bool:
        said = (change.kind, change.table) == (self.kind, self.table) and self.key in (None, change.key)
        if self.kind == "create":
            return said and self.values.items() <= change.values.items()
        return said and dict(self.values) == dict(change.values)


@dataclass(frozen=True)
class Allowed:
    """Changes that the agent may make at most, whatever it is told: to these columns, of rows of which this holds."""

    kind: str
    table: str
    columns: frozenset[str]
    holds: Callable[[Row], bool]

    def fits(self, change: Change) -> bool:
        rows = [row for row in (change.before, change.after) if row is not None]
        return (
            (change.kind, change.table) == (self.kind, self.table)
            and (self.kind == "delete" or set(change.values) <= self.columns)
            and all(self.holds(row) for row in rows)
        )


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing to do. ``decides`` is what a good agent says at each decision, ``approves`` the arguments of the one
    call that a person approves, ``rows`` the keys that the workflow may change whatever the agent says."""

    name: str
    workflow: str
    input: Mapping[str, Any]
    decides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    approves: Mapping[str, Any] | None = None
    effects: tuple[Expected, ...] = ()
    rows: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Suite:
    """``texts`` are the columns in which strangers write; ``secrets`` a query for values that no agent may see."""

    name: str
    tenant: str
    agent: str
    tables: str
    texts: Mapping[str, tuple[str, ...]]
    secrets: str
    policy: Mapping[str, Any]
    workflows: Mapping[str, Mapping[str, Any]]
    allowed: tuple[Allowed, ...]
    tasks: tuple[Task, ...]
    instructions: tuple[str, ...]
    """What is written into the texts, beside what every suite has: see ``instructions.py``."""

    def __str__(self) -> str:
        return self.name
