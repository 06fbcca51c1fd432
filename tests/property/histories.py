"""Histories of one Subscription at a payment provider, drawn by a number: the same number, the same history."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from paybill.api.plan import Payment
from paybill.billing.simulated import Faults, Simulated, deliveries
from paybill.lifecycle.account import Account
from paybill.lifecycle.contract import Contract
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.simulation import Happening, Simulation
from paybill.lifecycle.subscription import Hold

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AFTER = timedelta(days=400)
ABUSE = Hold(name="abuse", blocks="Access")
LEGAL = Hold(name="legal", blocks="Changes")

# What may follow what, as Stripe documents it; Canceled and IncompleteExpired are final.
FOLLOWS = {
    None: (Status.INCOMPLETE, Status.ACTIVE, Status.TRIALING),
    Status.INCOMPLETE: (Status.ACTIVE, Status.INCOMPLETE_EXPIRED, Status.ACTIVE),
    Status.TRIALING: (Status.ACTIVE, Status.PAST_DUE, Status.PAUSED, Status.CANCELED),
    Status.ACTIVE: (Status.ACTIVE, Status.PAST_DUE, Status.PAST_DUE, Status.PAST_DUE, Status.CANCELED),
    Status.PAST_DUE: (Status.ACTIVE, Status.ACTIVE, Status.UNPAID, Status.CANCELED),
    Status.UNPAID: (Status.ACTIVE, Status.CANCELED),
    Status.PAUSED: (Status.ACTIVE, Status.CANCELED),
}
Span = tuple[datetime, datetime]


@dataclass(frozen=True, kw_only=True)
class History:
    """What happens to one Subscription, whoever hears of it and whenever."""

    policy: Payment
    said: tuple[Snapshot, ...]
    holds: tuple[tuple[datetime, tuple[Hold, ...]], ...] = ()
    away: tuple[Span, ...] = ()
    strange: tuple[Span, ...] = ()
    down: tuple[Span, ...] = ()
    backups_fail_until: datetime = START

    @property
    def end(self) -> datetime:
        """When all is said and everything works again."""
        return max([START, *(one.provider_time or START for one in self.said), *(time for time, _ in self.holds),
                    *(until for spans in (self.away, self.strange, self.down) for _, until in spans),
                    self.backups_fail_until]) + timedelta(hours=1)  # fmt: skip

    def holds_at(self, time: datetime) -> tuple[Hold, ...]:
        """The holds that there are at a moment."""
        return next((held for since, held in reversed(self.holds) if since <= time), ())


def history(number: int) -> History:
    """One history, with whatever goes wrong beside it."""
    lots = random.Random(number)
    end = lots.randint(0, 12)
    grace = lots.randint(0, end)
    policy = Payment(
        grace_days=grace,
        restrict_after_days=lots.choice([None, lots.randint(0, grace)]),
        end_after_days=end,
        retain_days=lots.choice([0, 2, 10]),
        archive_days=lots.choice([0, 5, 20]),
    )
    said, held = _said(lots), [(START, ())]
    held += [
        (_moment(lots), lots.choice([(), (ABUSE,), (LEGAL,), (ABUSE, LEGAL)])) for _ in range(lots.choice([0, 0, 1, 2]))
    ]
    return History(
        policy=policy,
        said=said,
        holds=tuple(sorted(held, key=lambda one: one[0])),
        away=_spans(lots),
        strange=_spans(lots),
        down=_spans(lots),
        backups_fail_until=_moment(lots) if lots.random() < 0.3 else START,
    )


def _said(lots: random.Random) -> tuple[Snapshot, ...]:
    said: list[Snapshot] = []
    status, time = None, START
    for _ in range(lots.randint(1, 6)):
        following = FOLLOWS.get(status)
        if following is None:
            break
        status = lots.choice(following)
        late = status in {Status.PAST_DUE, Status.UNPAID} and lots.random() < 0.8
        since = (said[-1].past_due_since if said and said[-1].past_due_since else time) if late else None
        said.append(Snapshot(status=status, provider_time=time, past_due_since=since))
        time += timedelta(hours=lots.choice([0, 1, 30, 100, 300, 600]))
    return tuple(said)


def _moment(lots: random.Random) -> datetime:
    return START + timedelta(hours=lots.randint(0, 1_500))


def _spans(lots: random.Random) -> tuple[Span, ...]:
    begins = [_moment(lots) for _ in range(lots.choice([0, 0, 1, 2]))]
    return tuple((begin, begin + timedelta(hours=lots.choice([1, 50, 400, 1_000]))) for begin in begins)


@dataclass(kw_only=True)
class Told:
    """What came of a history: the account as it stands, and what happened to it."""

    account: Account
    simulation: Simulation

    @property
    def happenings(self) -> list[Happening]:
        """In order."""
        return self.simulation.happenings


def tell(
    story: History,
    *,
    faults: Faults | None = None,
    seed: int = 0,
    until: datetime | None = None,
    answers: bool = True,
) -> Told:
    """Play a history until long after its end; the provider is asked once more when all works again.

    Without ``answers`` it never says anything but its messages.
    """
    provider = Simulated(history=list(story.said), away=list(story.away), strange=list(story.strange))
    contract = Contract(start=START, trial_days=0, policy=story.policy, snapshot=None)
    account = Account(name="acme", contract=contract, speaks=provider.snapshot if answers else lambda _: None)
    simulation = Simulation(down=story.down)
    simulation.enrol(account, START)
    # Half of all providers have no API to ask: their messages are all there is, and polls catch what was lost.
    speaks = Simulation.hear if seed % 2 else _hint
    for time, one in deliveries(list(story.said), faults or Faults(), seed):
        simulation.at(time, lambda sim, time=time, one=one: speaks(sim, "acme", time, one))
    hints = [until for spans in (story.away, story.strange, story.down) for _, until in spans]
    for time in (*hints, *_polls(story), story.end):
        simulation.at(time, lambda sim, time=time: sim.look("acme", time))
    for time, held in story.holds:
        simulation.at(time, lambda sim, time=time, held=held: _hold(sim, account, time, held))
    simulation.at(START, lambda sim: setattr(account, "backups_work", story.backups_fail_until <= START))
    simulation.at(story.backups_fail_until, lambda sim: _mend(sim, account, story.backups_fail_until))
    simulation.run(until or story.end + LONG_AFTER)
    return Told(account=account, simulation=simulation)


def paid(story: History, time: datetime) -> History:
    """The same, but that it is paid from then on, and nothing was ever cancelled for good."""
    after = Snapshot(status=Status.ACTIVE, provider_time=time)
    return replace(story, said=(*story.said, after))


def _hint(simulation: Simulation, name: str, time: datetime, _: Snapshot) -> None:
    simulation.look(name, time)


def _polls(story: History) -> list[datetime]:
    count = int((story.end - START) / timedelta(days=6))
    return [START + timedelta(days=6 * number) for number in range(1, count + 1)]


def _hold(simulation: Simulation, account: Account, time: datetime, held: tuple[Hold, ...]) -> None:
    account.contract = replace(account.contract, holds=held)
    simulation.look("acme", time)


def _mend(simulation: Simulation, account: Account, time: datetime) -> None:
    account.backups_work = True
    simulation.look("acme", time)
