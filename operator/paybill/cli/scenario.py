"""A scenario for ``paybill simulate``: what is agreed with whom, and what happens when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, model_validator

from paybill.api.base import ApiModel
from paybill.api.cell import CellLimits
from paybill.api.failures import Invalid
from paybill.api.plan import PlanSpec
from paybill.api.subscription import SubscriptionPhase
from paybill.api.tenant import Hold
from paybill.lifecycle.periods import Every
from paybill.lifecycle.provider import Status


class _Written(ApiModel):
    """A part of a scenario; a word that nobody knows is a mistake."""

    model_config = ConfigDict(extra="forbid")


Said = Literal[
    "Incomplete", "IncompleteExpired", "Trialing", "Active", "PastDue", "Unpaid", "Paused", "Canceled", "Unknown"
]


class Pays(_Written):
    """Pays ahead by itself, so many periods from the start of its contract."""

    every: Every = "Month"
    times: Annotated[int, Field(ge=0, le=1_000)]
    time_zone: str = "Etc/UTC"


class Customer(_Written):
    """One tenant with its contract, or ``count`` of them alike."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    plan: str
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    start_time: AwareDatetime | None = None
    paid_until_time: AwareDatetime | None = None
    pays: Pays | None = None
    cancel_time: AwareDatetime | None = None
    cancel_at_period_end: bool = False
    holds: tuple[Hold, ...] = ()


class Event(_Written):
    """One thing that happens at a moment, to one tenant or (without ``tenant``) to all or to the installation."""

    at: AwareDatetime
    tenant: str | None = None
    paid_until_time: AwareDatetime | None = None
    says: Said | None = None
    hold: Hold | None = None
    lift: str | None = None
    cancel_time: AwareDatetime | None = None
    cancel_at_period_end: bool | None = None
    delete_subscription: bool = False
    provider_away_until: AwareDatetime | None = None
    operator_down_until: AwareDatetime | None = None
    backups_work: bool | None = None
    halt: bool = False
    release: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Event:
        if self.model_fields_set <= {"at", "tenant"}:
            raise ValueError("an event needs something that happens, such as paidUntilTime or hold")
        return self

    @property
    def status(self) -> Status | None:
        """What the provider says from then on."""
        return Status(self.says) if self.says is not None else None


class Expectation(_Written):
    """What must be so at a moment: a scenario is a test of a Plan, too."""

    at: AwareDatetime
    tenant: str
    phase: SubscriptionPhase


class Scenario(_Written):
    """The whole script. ``until``: when to stop; absent, two years after the start."""

    start: AwareDatetime
    until: AwareDatetime | None = None
    limits: CellLimits = Field(default_factory=CellLimits)
    plans: dict[str, PlanSpec]
    tenants: tuple[Customer, ...] = Field(min_length=1)
    events: tuple[Event, ...] = ()
    expect: tuple[Expectation, ...] = ()

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Scenario:
        if unknown := sorted({one.plan for one in self.tenants} - self.plans.keys()):
            raise ValueError(f"plans has no {', '.join(unknown)}")
        known = {name for one in self.tenants for name in names_of(one)}
        named = {event.tenant for event in self.events if event.tenant is not None}
        named |= {expected.tenant for expected in self.expect}
        if strangers := sorted(named - known):
            raise ValueError(f"tenants has no {', '.join(strangers)}")
        return self


def names_of(customer: Customer) -> tuple[str, ...]:
    """The tenants that an entry stands for: ``acme``, or ``acme-1`` to ``acme-9``."""
    if customer.count == 1:
        return (customer.name,)
    return tuple(f"{customer.name}-{number}" for number in range(1, customer.count + 1))


def read(path: Path) -> Scenario:
    """The scenario in a file; raises Invalid with what is wrong and where."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Scenario.model_validate(content)
    except OSError as error:
        raise Invalid("NotFound", f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise Invalid("InvalidScenario", f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid("InvalidScenario", f"{path}: {where or 'the scenario'}: {first['msg']}") from error
