"""What must be proved before retention may end in destruction.

Time alone destroys nothing: a contract that is over waits in its phase until its data is backed up and proved, its
people were told long enough ago, and nobody holds it. Budgets, halts and breakers are asked after this, where the step
is taken. The operator and ``paybill simulate`` ask the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from paybill.api.plan import Payment
from paybill.lifecycle.contract import Contract, after, day
from paybill.lifecycle.phases import Phase

NOTICE = timedelta(days=3)
"""How long before the data leaves its database its people must have been told; less where retention is shorter."""


@dataclass(frozen=True, kw_only=True)
class Proofs:
    """``noticed``: when notice of this end was given. ``verified``: when the final backup had been proved."""

    noticed: datetime | None = None
    verified: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Why nothing is destroyed now; ``until``: when to ask again, where time alone is missing."""

    reason: str
    message: str
    until: datetime | None = None


def archive_due(contract: Contract) -> datetime | None:
    """When retention of an Ended contract is over."""
    ended = contract.times.ended
    return after(ended, timedelta(days=contract.policy.retain_days)) if ended is not None else None


def delete_due(contract: Contract) -> datetime | None:
    """When an archived contract's last backup goes: who came back and went again has all of the time once more."""
    begun = [time for time in (contract.times.archived, contract.times.ended) if time is not None]
    if contract.times.archived is None:
        return None
    return after(max(begun), timedelta(days=contract.policy.archive_days))


def spare_until(since: datetime, policy: Payment) -> datetime:
    """When a final backup goes that is not needed any more ``since`` its tenant was back, or was deleted."""
    return after(since, timedelta(days=policy.archive_days)).replace(microsecond=0)


def notice_ahead(policy: Payment) -> timedelta:
    """How long before archiving notice must have been given."""
    return min(NOTICE, timedelta(days=policy.retain_days))


def refuse_archive(contract: Contract, phase: Phase, proofs: Proofs, now: datetime) -> Wait | None:
    """What still stands between an Ended contract and its archive; None: nothing does."""
    ended, due = contract.times.ended, archive_due(contract)
    if phase is not Phase.ENDED or ended is None or due is None:
        return Wait(reason="NotEnded", message="the contract is not over")
    if now < due:
        return Wait(reason="Retained", message=f"its data is retained until {day(due)}", until=due)
    if (held := _held(contract)) is not None:
        return held
    if proofs.noticed is None or proofs.noticed < ended:
        return Wait(reason="NoticeNotGiven", message="nobody was told yet that its data will be archived")
    told = after(proofs.noticed, notice_ahead(contract.policy))
    if now < told:
        return Wait(reason="NoticeGiven", message=f"notice was given {day(proofs.noticed)}", until=told)
    if proofs.verified is None or proofs.verified < ended:
        return Wait(reason="FinalBackup", message="its final backup is not proved yet")
    return None


def refuse_delete(contract: Contract, phase: Phase, now: datetime) -> Wait | None:
    """What still stands between an Archived contract and the deletion of its last backup; None: nothing does."""
    due = delete_due(contract)
    if phase is not Phase.ARCHIVED or due is None:
        return Wait(reason="NotArchived", message="the contract is not archived")
    if now < due:
        return Wait(reason="KeptInArchive", message=f"its final backup is kept until {day(due)}", until=due)
    return _held(contract)


def _held(contract: Contract) -> Wait | None:
    """Any hold keeps the data: who put it there may need what it is about."""
    hold = next(iter(contract.holds), None)
    return Wait(reason="HeldBack", message=f"held back by {hold.words}") if hold is not None else None
