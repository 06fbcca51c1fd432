"""A saved plan as Paybill's changes: which resources, what happens to them, which fields; never a value.

Read from ``terraform show -json`` of the plan file, whose format is a documented contract (JSON Output Format).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paybill.desired.stack import Action, Change, StackInputs, changes_digest
from paybill.engines.operation import Result
from paybill.engines.terraform.holding import Holding, resources

_ACTIONS: dict[tuple[str, ...], Action] = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    # What is forgotten stays in the cloud, but nobody looks after it any more: no smaller thing than a deletion.
    ("forget",): "delete",
    ("create", "forget"): "replace",
}


_VOLATILE = frozenset({"earliest_restorable_time", "latest_restorable_time"})
"""Fields that the cloud moves on by itself; they are no drift."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done, and what was found to be another than the state says."""

    changes: tuple[Change, ...]
    drift: tuple[Change, ...]
    same: int
    """Resources that stay as they are."""
    applyable: bool
    """Whether terraform would take it for an apply: something changes, if only what the stack hands over."""
    state: str
    """The version of the state it was made of."""

    @property
    def endangered(self) -> tuple[Change, ...]:
        """What holds a customer's data and would be taken away."""
        return tuple(change for change in self.changes if change.data and change.destructive)

    @property
    def vanished(self) -> tuple[Change, ...]:
        """What holds a customer's data and is no longer there."""
        return tuple(change for change in self.drift if change.data and change.action == "delete")

    def digest(self, inputs: StackInputs, changes: tuple[Change, ...] | None = None) -> str:
        """The digest of the changes that an approval names."""
        listed = self.changes if changes is None else changes
        return changes_digest(listed, inputs_digest=inputs.digest(), state=self.state)

    def result(self, inputs: StackInputs, changes: tuple[Change, ...] | None = None) -> Result:
        """What a preview answers; ``changes``: others than those of the plan, such as its drift."""
        listed = self.changes if changes is None else changes
        return Result(changes=listed, counts=counts(listed) | {"same": self.same}, digest=self.digest(inputs, listed))


def counts(changes: tuple[Change, ...]) -> dict[str, int]:
    """Changes by action."""
    return dict(Counter(change.action for change in changes))


def read(document: dict[str, Any], *, state: str) -> Plan:
    """The plan that ``terraform show -json`` printed; ``state``: the version of the state it was made of."""
    holding = Holding.of_plan(document)
    listed = [one for one in document.get("resource_changes", ()) if one.get("mode") == "managed"]
    return Plan(
        changes=_changes(listed, holding),
        drift=tuple(filter(_is_drift, _changes(document.get("resource_drift", ()), holding))),
        same=_same(document, listed),
        applyable=_applyable(document),
        state=state,
    )


def _same(document: dict[str, Any], listed: list[dict[str, Any]]) -> int:
    """Resources that stay as they are; a plan that only refreshes lists none, so it is those that did not drift."""
    if listed or not document.get("prior_state"):
        return sum(one["change"]["actions"] == ["no-op"] for one in listed)
    return len(resources(document["prior_state"]))


def _applyable(document: dict[str, Any]) -> bool:
    if "applyable" in document:  # since Terraform 1.8
        return bool(document["applyable"])
    listed = [one["change"] for one in document.get("resource_changes", ()) if one.get("mode") == "managed"]
    changed = any(one.get("actions") != ["no-op"] for one in (*listed, *document.get("output_changes", {}).values()))
    return changed or bool(document.get("resource_drift"))


def _is_drift(change: Change) -> bool:
    return change.action != "update" or not set(change.fields) <= _VOLATILE


def _changes(listed: list[dict[str, Any]], holding: Holding) -> tuple[Change, ...]:
    found = []
    for one in listed:
        action = _ACTIONS.get(tuple(one["change"]["actions"]))
        if action is None or one.get("mode") != "managed":
            continue
        fields = tuple(sorted(set(_fields(one["change"])))) if action in ("update", "replace") else ()
        data = holding.holds_data(one["type"], one["address"])
        found.append(Change(action=action, address=one["address"], type=one["type"], fields=fields, data=data))
    return tuple(sorted(found, key=lambda change: (change.address, change.action)))


def _fields(change: dict[str, Any]) -> Iterator[str]:
    for path in change.get("replace_paths", ()):
        yield _joined(tuple(path))
    before, after, unknown = (change.get(name) for name in ("before", "after", "after_unknown"))
    yield from (_joined(path) for path in _differing(before, after, unknown, ()))


def _differing(before: Any, after: Any, unknown: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Paths at which two values differ; what is known only after the apply differs."""
    if unknown is True:
        yield path
    elif isinstance(before, dict) and isinstance(after, dict):
        later = unknown if isinstance(unknown, dict) else {}
        for name in sorted({*before, *after, *later}):
            yield from _differing(before.get(name), after.get(name), later.get(name), (*path, name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        marks = unknown if isinstance(unknown, list) else []
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            mark = marks[index] if index < len(marks) else None
            yield from _differing(old, new, mark, (*path, index))
    elif before != after:
        yield path


def _joined(path: tuple[Any, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
