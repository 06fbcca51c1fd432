"""One tenant in virtual time: its contract as it is known, and what was done to it (lifecycle/simulation.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from paybill.lifecycle.contract import Contract, EffectTimes
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot
from paybill.lifecycle.retention import Proofs

Speaks = Callable[[datetime], Snapshot | None]
"""What the payment provider answers at a moment; None: it does not."""


@dataclass(frozen=True, kw_only=True)
class Delays:
    """How long acts take that are only pretended; ``settle``: how long what fell due waits to be counted."""

    ready: timedelta = timedelta(minutes=2)
    backup: timedelta = timedelta(minutes=10)
    restore: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=2)


@dataclass(kw_only=True)
class Account:
    """What is known of one tenant, and what was done to it.

    ``inbox``: messages of the provider that were not looked at yet. ``backups_work``: whether its final backup can be
    made and proved. ``made``: how many times it was built or restored, each time with credentials of its own.
    """

    name: str
    contract: Contract
    speaks: Speaks
    inbox: list[Snapshot] = field(default_factory=list)
    shared: bool = False
    backups_work: bool = True
    phase: Phase | None = None
    ready_at: datetime | None = None
    restored_at: datetime | None = None
    backed_up_at: datetime | None = None
    seen_ready: bool = False
    stopped: bool = False
    settles_at: datetime | None = None
    waits: str | None = None
    proofs: Proofs = field(default_factory=Proofs)
    made: int = 0

    @property
    def provisionable(self) -> bool:
        """Whether no hold keeps it from being built."""
        return not any(hold.blocks == "Provisioning" for hold in self.contract.holds)

    def exists(self, now: datetime) -> bool:
        """Whether it has pods and a database."""
        return self.ready_at is not None and self.ready_at <= now

    def restoring(self, phase: Phase) -> bool:
        """Whether it is paid again while its data is in the archive only."""
        return phase in {Phase.ACTIVE, Phase.TRIALING} and self.contract.times.archived is not None

    def notice_missing(self) -> bool:
        """Whether notice of this very end was not given."""
        ended, noticed = self.contract.times.ended, self.proofs.noticed
        return ended is not None and (noticed is None or noticed < ended)

    def archive(self, now: datetime) -> None:
        """Pods and database are gone."""
        self.contract = replace(self.contract, times=replace(self.contract.times, archived=now))
        self.ready_at, self.restored_at, self.stopped, self.waits = None, None, False, None
        self.proofs = Proofs()

    def delete(self, now: datetime) -> None:
        """The final backup is gone as well."""
        self.contract = replace(self.contract, times=replace(self.contract.times, deleted=now))
        self.waits = None

    def come_back(self, now: datetime, times: EffectTimes) -> None:
        """Pods and database are there again, with what the final backup held."""
        self.contract = replace(self.contract, times=times)
        self.ready_at, self.restored_at = now, None
        self.made += 1
