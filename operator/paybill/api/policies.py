"""What a Plan promises over time: when late payment has consequences, when backups run, how a change rolls out.

Calendar spans are whole days and every one names its anchor: deadlines are anchor plus span, recomputed at each
reconcile, so that neither downtime nor a replay moves them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from paybill.api.base import ApiModel
from paybill.api.fields import Days, Duration
from paybill.api.rules import INT_OR_STRING, checks, rule, ruled


def _field(value: str) -> str:
    """One field of a cron line: items of a value or range, each with an optional step, joined by commas."""
    item = f"([*]|({value})(-({value}))?)(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


CRON_PATTERN = (
    "^"
    + " ".join(
        (
            _field("[0-5]?[0-9]"),
            _field("[01]?[0-9]|2[0-3]"),
            _field("0?[1-9]|[12][0-9]|3[01]"),
            _field("0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"),
            _field("[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT"),
        )
    )
    + "$"
)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


CountOrPercent = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=int | str),
    WithJsonSchema(
        {
            INT_OR_STRING: True,
            "maxLength": 7,
            **checks(
                rule(
                    "type(self) == int ? self >= 1 : "
                    "(type(self) == string && self.matches('^([1-9]|[1-9][0-9]|100)%$|^[1-9][0-9]{0,6}$'))",
                    'must be a count of at least 1, such as 3, or a percentage from 1 % to 100 %, such as "5%"',
                )
            ),
        }
    ),
]


class Payment(ApiModel):
    """What happens when payment is late, and when."""

    model_config = ruled(
        rule(
            "!has(self.restrictAfterDays) || self.restrictAfterDays <= self.graceDays",
            "restrictAfterDays must not exceed graceDays (14 if absent): a tenant is restricted before it is suspended",
        ),
        rule(
            "self.graceDays <= self.endAfterDays",
            "graceDays (14 if absent) must not exceed endAfterDays (30 if absent): a subscription is suspended before "
            "it ends",
        ),
    )

    first_payment_window: Duration = "24h"
    """How long the first payment may take, from the start of the Subscription; then it is Abandoned."""
    grace_days: Days = 14
    """Days from the first unpaid due date until the tenant is suspended."""
    restrict_after_days: Days | None = None
    """Days from the first unpaid due date until the tenant is read-only; absent: never."""
    past_due_at_least: Duration | None = None
    """How long a running tenant has been past due, as Paybill saw it, before debt suspends it or ends the Subscription;
    absent: as long as graceDays make it."""
    end_after_days: Days = 30
    """Days from the first unpaid due date until the Subscription ends."""
    retain_days: Days = 30
    """Days from the end until compute and database are deleted and only the final backup is kept."""
    archive_days: Days = 60
    """Days from archiving until the final backup is deleted too."""


class Backup(ApiModel):
    """When a tenant's data is backed up, and how much is kept."""

    schedule: Annotated[
        str,
        Field(
            max_length=120,
            json_schema_extra=checks(
                rule(
                    f"self.matches('{CRON_PATTERN}')",
                    "must be a cron line of five fields (minute, hour, day of month, month, day of week), such as "
                    '"0 3 * * *"',
                )
            ),
        ),
    ]
    """When: a cron line of five fields."""
    time_zone: Annotated[
        str,
        Field(
            max_length=64,
            json_schema_extra=checks(
                rule(
                    "self.matches('^[A-Za-z][-+_A-Za-z0-9]*(/[A-Za-z][-+_A-Za-z0-9]*){0,2}$')",
                    'must be the name of a time zone, such as "Etc/UTC" or "Europe/Berlin"',
                )
            ),
        ),
    ] = "Etc/UTC"
    """The time zone the schedule is read in."""
    keep: Annotated[int, Field(ge=1, le=1_000)] = 7
    """How many backups are kept; the final one before a deletion is kept apart."""


class Rollout(ApiModel):
    """How a change of a Plan reaches its tenants."""

    max_unavailable: CountOrPercent = "5%"
    """How many tenants may be in change at the same time: a count, or a percentage rounded up."""
    pause_on_failure: bool = True
    """Whether a tenant that fails stops the rollout for those that wait."""
