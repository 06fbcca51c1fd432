"""What other systems are told of a contract, by the words of CloudEvents: one message per transition of its phase, and
one before its data is archived.

The id is made of what the transition is, not of when it was sent: told twice it is the same message, and who receives
it can drop the second one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from paybill.lifecycle.contract import day
from paybill.lifecycle.phases import EFFECTS, Phase

SCHEMA = "urn:paybill:subscription-transition:v1"
"""The form of the data; another one gets another number."""


@dataclass(frozen=True, kw_only=True)
class Parties:
    """Whose contract it is."""

    subscription: str
    subscription_uid: str
    tenant: str
    plan: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message; ``subject`` is the Tenant's name, ``about`` the Subscription's UID."""

    id: str
    type: str
    subject: str
    about: str
    time: datetime
    data: dict[str, Any] = field(hash=False)


def transition(parties: Parties, before: Phase | None, after: Phase, *, because: str, now: datetime) -> Message:
    """The message of a transition that is written at ``now``, which is the anchor in its id.

    Written once, with the facts, the moment never changes; an episode's own anchor would not tell two episodes of one
    debt apart.
    """
    turn = "-".join(_word(phase) for phase in (before, after) if phase is not None)
    return Message(
        id=f"{parties.subscription_uid}/{turn}/{day(now)}",
        type=f"dev.paybill.subscription.{_word(after)}.v1",
        subject=parties.tenant,
        about=parties.subscription_uid,
        time=now,
        data={
            "tenant": parties.tenant,
            "subscription": parties.subscription,
            "subscriptionUID": parties.subscription_uid,
            "plan": parties.plan,
            "from": before.value if before is not None else None,
            "to": after.value,
            "because": because,
            "access": EFFECTS[after].app_access,
        },
    )


def archive_scheduled(parties: Parties, ended: datetime, due: datetime, archive_days: int, now: datetime) -> Message:
    """The notice of one end: from ``due`` on the data is kept in its last backup only, for ``archive_days``."""
    return Message(
        id=f"{parties.subscription_uid}/archiveScheduled/{day(ended)}",
        type="dev.paybill.subscription.archiveScheduled.v1",
        subject=parties.tenant,
        about=parties.subscription_uid,
        time=now,
        data={
            "tenant": parties.tenant,
            "subscription": parties.subscription,
            "subscriptionUID": parties.subscription_uid,
            "plan": parties.plan,
            "endedTime": day(ended),
            "archiveTime": day(due),
            "archiveDays": archive_days,
        },
    )


def _word(phase: Phase) -> str:
    return phase.value[0].lower() + phase.value[1:]
