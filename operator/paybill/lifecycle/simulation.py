"""The operator's decisions in virtual time: what would become of tenants if this and that happened.

It decides with the very functions that the operator decides with (phase, effects, budgets, mass changes, retention and
its proofs); only the acts are pretended: a tenant is Ready, a backup proved, some time after it was begun. Nothing in
here waits, draws lots or reads a clock, so that the same script gives the same answer.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from paybill.api.cell import CellLimits
from paybill.lifecycle.account import Account, Delays
from paybill.lifecycle.budget import DELETIONS, SUSPENSIONS, Budget, Ledger
from paybill.lifecycle.consequences import consequence
from paybill.lifecycle.contract import FOREVER, day
from paybill.lifecycle.mass_change import RULES, Cause, Tally, floor_of
from paybill.lifecycle.phases import EFFECTS, Phase
from paybill.lifecycle.provider import Snapshot, latest
from paybill.lifecycle.retention import Wait, archive_due, delete_due, refuse_archive, refuse_delete
from paybill.lifecycle.subscription import Verdict, decide, restored, settle


class Kind(StrEnum):
    """What kind of thing came about."""

    PHASE = "Phase"
    READY = "Ready"
    STOPPED = "Stopped"
    RESUMED = "Resumed"
    NOTICED = "Noticed"
    BACKED_UP = "BackedUp"
    ARCHIVED = "Archived"
    RESTORED = "Restored"
    DELETED = "Deleted"
    WAITS = "Waits"
    MASS_CHANGE = "MassChange"


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One line of what came about: when, to whom, in which phase the contract is then, and what was done."""

    time: datetime
    tenant: str | None
    kind: Kind
    phase: Phase | None
    what: str
    because: str = ""


Change = Callable[["Simulation"], None]


@dataclass(kw_only=True)
class Simulation:
    """One cell with its tenants; ``happenings`` grows while ``run`` goes on.

    ``down``: spans in which no operator runs. ``tripped``: the breaker against mass changes holds.
    """

    limits: CellLimits | None = None
    delays: Delays = field(default_factory=Delays)
    down: tuple[tuple[datetime, datetime], ...] = ()
    accounts: dict[str, Account] = field(default_factory=dict)
    happenings: list[Happening] = field(default_factory=list)
    tripped: bool = False
    halted: bool = False

    def __post_init__(self) -> None:
        self._order = itertools.count()
        self._agenda: list[tuple[datetime, int, str | Change]] = []
        self._looks: dict[str, datetime] = {}
        self._ledgers = {budget.action: Ledger({}) for budget in (SUSPENSIONS, DELETIONS)}
        self._tally = Tally(RULES[Cause.SUSPENSIONS].within)

    def at(self, time: datetime, change: Change) -> None:
        """Note a change to come."""
        heapq.heappush(self._agenda, (time, next(self._order), change))

    def look(self, name: str, time: datetime) -> None:
        """Have a tenant looked at no later than ``time``, which is not before now; each look says when the next is."""
        if name in self._looks and self._looks[name] <= time:
            return
        self._looks[name] = time
        heapq.heappush(self._agenda, (time, next(self._order), name))

    def hear(self, name: str, time: datetime, message: Snapshot) -> None:
        """A message of the provider arrives at ``time``; it waits where the operator is down."""
        self.accounts[name].inbox.append(message)
        self.look(name, time)

    def enrol(self, account: Account, time: datetime) -> None:
        """A tenant with its contract is there from ``time`` on."""
        self.accounts[account.name] = account
        self.at(time, lambda sim: sim.look(account.name, time))

    def release(self, now: datetime) -> None:
        """A person looked at what is held, and lets it go on."""
        self.tripped = self.halted = False
        self._tally.look_at(now)
        for name in self.accounts:
            self.look(name, now)

    def run(self, until: datetime) -> None:
        """Let time pass; returns at ``until``, or when nothing is to come any more."""
        while self._agenda and self._agenda[0][0] <= until:
            time, _, what = heapq.heappop(self._agenda)
            if callable(what):
                what(self)
            elif self._looks.get(what) == time:
                del self._looks[what]
                self._look(self.accounts[what], time)

    def _tell(self, now: datetime, account: Account | None, kind: Kind, what: str, because: str = "") -> None:
        name, phase = (account.name, account.phase) if account is not None else (None, None)
        line = Happening(time=now, tenant=name, kind=kind, phase=phase, what=what, because=because)
        self.happenings.append(line)

    def _up_again(self, time: datetime) -> datetime:
        return max((end for begin, end in self.down if begin <= time < end), default=time)

    def _look(self, account: Account, now: datetime) -> None:
        """One reconcile of one tenant; notes when the next one is due."""
        if (up := self._up_again(now)) > now:
            self.look(account.name, up)
            return
        verdict = self._decide(account, now)
        self._report(account, verdict, now)
        waits = [*self._effects(account, verdict.phase, now), *self._retention(account, verdict.phase, now)]
        foretold = verdict.next.time if verdict.next is not None else None
        coming = [time for time in (*waits, foretold) if time is not None and time > now]
        if coming:
            self.look(account.name, min(coming))

    def _decide(self, account: Account, now: datetime) -> Verdict:
        known = account.contract.snapshot
        for answer in (*account.inbox, account.speaks(now)):
            known = latest(known, answer)
        account.inbox.clear()
        contract = replace(account.contract, snapshot=known)
        ready = account.ready_at is not None and account.ready_at <= now
        if ready and contract.trial_days and contract.times.ready is None:
            contract = replace(contract, times=replace(contract.times, ready=now))
        verdict = decide(contract, now)
        times = settle(contract.times, verdict.phase, now, held=self.tripped or self.halted)
        account.contract = replace(contract, times=times, last=verdict.phase)
        return verdict

    def _report(self, account: Account, verdict: Verdict, now: datetime) -> None:
        if verdict.phase is account.phase:
            return
        account.phase = verdict.phase
        does = consequence(verdict.phase, account.contract.policy, shared=account.shared)
        if account.restoring(verdict.phase):
            does = "its data is restored from its final backup first"
        self._tell(now, account, Kind.PHASE, does, verdict.because)

    def _effects(self, account: Account, phase: Phase, now: datetime) -> Iterator[datetime | None]:
        """Build, stop or resume what the phase calls for."""
        effect = EFFECTS[phase]
        if account.restoring(phase):
            yield self._restore(account, now)
        elif effect.provision and account.ready_at is None and account.provisionable:
            account.ready_at = now + self.delays.ready
            account.made += 1
        yield account.ready_at
        if not account.exists(now):
            return
        if account.made == 1 and not account.seen_ready:
            account.seen_ready = True
            self._tell(now, account, Kind.READY, "it is Ready")
        if not effect.pods:
            yield None if account.stopped else self._stop(account, now)
            return
        self._not_due(account)
        if account.stopped:
            account.stopped = False
            self._tell(now, account, Kind.RESUMED, "pods and logins are back, with the same endpoint and credentials")

    def _restore(self, account: Account, now: datetime) -> datetime | None:
        if account.restored_at is None:
            account.restored_at = now + self.delays.restore
        if account.restored_at > now:
            return account.restored_at
        account.come_back(now, restored(account.contract.times))
        self._tell(now, account, Kind.RESTORED, "its data is back, with new credentials")
        return None

    def _stop(self, account: Account, now: datetime) -> datetime | None:
        due = account.contract.times.suspended or now
        self._count(account, due, now)
        if account.settles_at is None:
            account.settles_at = now + self.delays.settle
        if now < account.settles_at:
            return account.settles_at
        later = self._refused(account, SUSPENSIONS, due, now)
        if later is None:
            account.stopped = True
            account.waits = None
            self._tell(now, account, Kind.STOPPED, "pods are evicted and logins off; nothing is deleted")
        return later

    def _retention(self, account: Account, phase: Phase, now: datetime) -> Iterator[datetime | None]:
        contract = account.contract
        if phase is Phase.ENDED and account.exists(now) and account.stopped:
            self._notice(account, now)
            wait = refuse_archive(contract, phase, account.proofs, now)
            if wait is not None and wait.reason == "FinalBackup":
                yield self._back_up(account, now)
                wait = refuse_archive(contract, phase, account.proofs, now)
            yield self._destroy(account, phase, wait, contract.times.ended or now, now)
        elif phase is Phase.ARCHIVED and contract.times.deleted is None:
            due = delete_due(contract) or now
            yield self._destroy(account, phase, refuse_delete(contract, phase, now), due, now)

    def _notice(self, account: Account, now: datetime) -> None:
        if account.notice_missing():
            account.proofs = replace(account.proofs, noticed=now)
            due = archive_due(account.contract)
            told = f"notice is given: its data is archived {day(due)}" if due is not None else "notice is given"
            self._tell(now, account, Kind.NOTICED, told)

    def _back_up(self, account: Account, now: datetime) -> datetime | None:
        if account.backed_up_at is None and account.backups_work:
            account.backed_up_at = now + self.delays.backup
        if account.backed_up_at is not None and account.backed_up_at <= now:
            account.proofs = replace(account.proofs, verified=now)
            account.backed_up_at = None
            self._tell(now, account, Kind.BACKED_UP, "its final backup is made and proved")
        return account.backed_up_at

    def _destroy(
        self, account: Account, phase: Phase, wait: Wait | None, due: datetime, now: datetime
    ) -> datetime | None:
        if wait is not None:
            if wait.until is None and account.backed_up_at is None:
                self._waits(account, wait.reason, wait.message, now)
            return wait.until
        if (later := self._refused(account, DELETIONS, due, now)) is not None:
            return later
        if phase is Phase.ENDED:
            account.archive(now)
            self._tell(now, account, Kind.ARCHIVED, "its pods and database are deleted; the final backup is kept")
        else:
            account.delete(now)
            self._tell(now, account, Kind.DELETED, "its final backup is deleted")
        self.look(account.name, now)
        return None

    def _refused(self, account: Account, budget: Budget, due: datetime, now: datetime) -> datetime | None:
        """When to ask again, where a brake or the hour's budget holds it back; None: it is begun."""
        if self.halted or self.tripped:
            why = "the installation is halted" if self.halted else "too many tenants fell due at once"
            self._waits(account, "Held", f"{why}: a person has to look", now)
            return FOREVER
        ledger, allowed = self._ledgers[budget.action], budget.per_hour(self.limits, len(self.accounts))
        turn = ledger.ask(account.name, due, allowed, now, now.timestamp())
        if turn.place == 0:
            ledger.spend(account.name, now)
            return None
        later = turn.time or FOREVER
        ledger.returns(account.name, later.timestamp())
        self._waits(account, budget.reason, f"number {turn.place} of {turn.waiting} in the line", now)
        return max(later, now + timedelta(seconds=1))

    def _waits(self, account: Account, reason: str, message: str, now: datetime) -> None:
        if account.waits != reason:
            account.waits = reason
            self._tell(now, account, Kind.WAITS, f"{reason}: {message}")

    def _count(self, account: Account, due: datetime, now: datetime) -> None:
        counted = self._tally.add(account.name, due)
        allowed = RULES[Cause.SUSPENSIONS].allowed(floor_of(self.limits), len(self.accounts))
        if counted > allowed and not self.tripped:
            self.tripped = True
            words = RULES[Cause.SUSPENSIONS].words
            said = f"{counted} of {len(self.accounts)} tenants {words}: all that destroys is held until a person looks"
            self._tell(now, None, Kind.MASS_CHANGE, said)

    def _not_due(self, account: Account) -> None:
        account.waits = account.settles_at = None
        self._tally.drop(account.name)
        for ledger in self._ledgers.values():
            ledger.leave(account.name)
