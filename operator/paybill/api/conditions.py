"""Conditions: the one place where an object says how it is, in the words of kstatus.

``Ready``, ``Reconciling`` and ``Stalled`` mean what sigs.k8s.io/cli-utils/pkg/kstatus says, so ``kubectl wait``,
Argo CD and Flux read them without knowing Paybill. ``lastTransitionTime`` moves only when the status does: a
reconcile that changes nothing must write nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from paybill.api.base import ApiModel
from paybill.api.fields import Time
from paybill.api.rules import list_map

ConditionStatus = Literal["True", "False", "Unknown"]

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"

TRUE: ConditionStatus = "True"
FALSE: ConditionStatus = "False"
UNKNOWN: ConditionStatus = "Unknown"


class Condition(ApiModel):
    """One aspect of an object's state, as last observed."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """The aspect, such as Ready or Suspended."""
    status: ConditionStatus
    """Whether it holds: True, False or Unknown."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation that this was observed of."""
    last_transition_time: Time
    """When the status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """A stable CamelCase word for machines."""
    message: Annotated[str, Field(max_length=32_768)] = ""
    """For people: the object, the value and what to do. Nothing secret."""


MOST_CONDITIONS = 64

Conditions = Annotated[tuple[Condition, ...], Field(max_length=MOST_CONDITIONS, json_schema_extra=list_map("type"))]
"""The conditions of one object, told apart by their type."""


def find_condition(conditions: Iterable[Condition], type: str) -> Condition | None:  # noqa: A002 (the API's word)
    """The condition of that type, if it is there."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Iterable[Condition], type: str) -> bool:  # noqa: A002 (the API's word)
    """Whether the condition of that type is there and True."""
    found = find_condition(conditions, type)
    return found is not None and found.status == TRUE


def set_condition(
    conditions: Iterable[Condition],
    type: str,  # noqa: A002 (the API's word)
    status: ConditionStatus,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions with one set: in its old place, or last; the time of its last change kept unless it changed."""
    before = tuple(conditions)
    found = find_condition(before, type)
    changed = Condition(
        type=type,
        status=status,
        reason=reason,
        message=message,
        observed_generation=observed_generation,
        last_transition_time=found.last_transition_time if found and found.status == status else now,
    )
    if found is None:
        return (*before, changed)
    return tuple(changed if condition.type == type else condition for condition in before)


def remove_condition(conditions: Iterable[Condition], type: str) -> tuple[Condition, ...]:  # noqa: A002 (the API's word)
    """The conditions without that type, for an aspect that no longer applies."""
    return tuple(condition for condition in conditions if condition.type != type)
