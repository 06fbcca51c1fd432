"""Ten thousand histories of payment, told out of order, twice, late or not at all: every rule of the ladder holds.

What is checked is what happened, by rules written anew here; none asks the code under test what it should have done.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from paybill.billing.simulated import Faults
from paybill.lifecycle import simulation
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Status
from paybill.lifecycle.simulation import Happening, Kind
from paybill.lifecycle.subscription import settle
from tests.property.histories import ABUSE, History, Told, history, paid, tell

SHARE = 250
"""Histories in one test."""
CHAOS = Faults(lost=0.3, doubled=0.3, latest=timedelta(days=9))
DEBT = {Phase.PAST_DUE, Phase.RESTRICTED, Phase.SUSPENDED, Phase.ENDED}
DEBTORS = {Status.PAST_DUE, Status.UNPAID, Status.PAUSED, Status.CANCELED, Status.INCOMPLETE_EXPIRED}


def settle_anew(times, phase, now, *, held=False):
    """Effect times as they would be if retention were taken from the clock of who looks first."""
    settled = settle(times, phase, now, held=held)
    return replace(settled, ended=settled.ended and settled.ended - timedelta(days=400))


@pytest.mark.parametrize("first", range(0, 10_000, SHARE))
def test_whatever_happens_every_rule_holds(first):
    for number in range(first, first + SHARE):
        story = history(number)
        told = tell(story, faults=CHAOS, seed=number)
        try:
            destroys_only_with_proofs(story, told)
            stops_and_resumes_in_turn(told)
            escalates_by_what_was_said(story, told)
            a_hold_stops_whoever_pays(story, told)
            hears_the_same_in_any_order(story, told, number)
            metamorphic = messages_alone_lead_there_too if number % 2 else silence_is_no_news
            metamorphic(story, number)
            paying_brings_all_back(story, number)
        except AssertionError as broken:
            raise AssertionError(f"history {number}: {broken}\n" + "\n".join(map(str, told.happenings))) from broken


def broken_rules(numbers: range) -> set[str]:
    """The rules that some history breaks."""
    broken = set()
    for number in numbers:
        story = history(number)
        told = tell(story, faults=CHAOS, seed=number)
        try:
            destroys_only_with_proofs(story, told)
            escalates_by_what_was_said(story, told)
            hears_the_same_in_any_order(story, told, number)
            metamorphic = messages_alone_lead_there_too if number % 2 else silence_is_no_news
            metamorphic(story, number)
            paying_brings_all_back(story, number)
        except AssertionError as one:
            broken.add(str(one).splitlines()[0])
    return broken


# Each protection with what happens without it: the rules are no rules if nothing breaks them.
WITHOUT = [
    pytest.param("latest", lambda known, seen: seen or known, "an older message counts", id="provider time"),
    pytest.param("refuse_archive", lambda *_: None, "archived too early", id="retention"),
    pytest.param("refuse_delete", lambda *_: None, "deleted too early", id="the archive's days"),
    pytest.param("settle", settle_anew, "archived too early", id="anchors that are kept"),
]


@pytest.mark.parametrize(("protection", "without", "breaks"), WITHOUT)
def test_without_its_protection_a_rule_is_broken(monkeypatch, protection, without, breaks):
    monkeypatch.setattr(simulation, protection, without)
    assert any(breaks in one for one in broken_rules(range(60)))


def destroys_only_with_proofs(story: History, told: Told) -> None:
    policy = story.policy
    for place, one in enumerate(told.happenings):
        if one.kind is Kind.ARCHIVED:
            ended = since(told.happenings[:place], Phase.ENDED)
            assert one.time >= ended.time + timedelta(days=policy.retain_days), "archived too early"
            assert not story.holds_at(one.time), "archived under a hold"
            episode = [other for other in told.happenings[:place] if other.time >= ended.time]
            assert any(other.kind is Kind.BACKED_UP for other in episode), "archived without a proved backup"
            ahead = min(timedelta(days=3), timedelta(days=policy.retain_days))
            told_then = [other for other in episode if other.kind is Kind.NOTICED]
            assert any(other.time + ahead <= one.time for other in told_then), "archived without notice"
        if one.kind is Kind.DELETED:
            archived = since(told.happenings[:place], Phase.ARCHIVED)
            assert one.time >= archived.time + timedelta(days=policy.archive_days), "deleted too early"
            assert not story.holds_at(one.time), "deleted under a hold"


def since(before: list[Happening], phase: Phase) -> Happening:
    """The entry into the phase that the contract is in, which must be this one."""
    last = [one for one in before if one.kind is Kind.PHASE][-1]
    assert last.phase is phase, f"destroyed in phase {last.phase}"
    return last


def stops_and_resumes_in_turn(told: Told) -> None:
    """Nobody is stopped twice, resumed without having been stopped, or archived while it runs."""
    turns = {Kind.STOPPED, Kind.RESUMED, Kind.ARCHIVED, Kind.RESTORED}
    follows = {
        Kind.READY: {Kind.STOPPED},
        Kind.STOPPED: {Kind.RESUMED, Kind.ARCHIVED},
        Kind.RESUMED: {Kind.STOPPED},
        Kind.ARCHIVED: {Kind.RESTORED},
        Kind.RESTORED: {Kind.STOPPED},
    }
    order = [one.kind for one in told.happenings if one.kind in turns | {Kind.READY}]
    assert all(after in follows[before] for before, after in pairwise(order)), f"{order}"


def escalates_by_what_was_said(story: History, told: Told) -> None:
    """Debt comes from debt: neither silence, nor the unknown, nor time makes any of who was last said to pay."""
    for one in told.happenings:
        if one.kind is Kind.PHASE and one.phase in DEBT and not story.holds_at(one.time):
            said = {snapshot.status for snapshot in story.said if snapshot.provider_time <= one.time}
            assert said & DEBTORS, f"{one.phase} though nothing but {said} was ever said"


def a_hold_stops_whoever_pays(story: History, told: Told) -> None:
    """From the first look after an access hold until it is lifted nobody is let in."""
    for one in told.happenings:
        if ABUSE in story.holds_at(one.time) and one.kind in {Kind.PHASE, Kind.RESUMED, Kind.READY, Kind.RESTORED}:
            assert one.phase not in {Phase.ACTIVE, Phase.TRIALING, Phase.PAST_DUE, Phase.RESTRICTED}, f"{one}"


def hears_the_same_in_any_order(story: History, told: Told, seed: int) -> None:
    """Told in order or not, twice or never: when all works again it stands where it would have stood.

    With retention long enough: when it begins depends on when the end was heard of, and must.
    """
    patient = replace(story, policy=story.policy.model_copy(update={"retain_days": 30_000}))
    soon = story.end + timedelta(hours=2)
    orderly, chaotic = (tell(patient, faults=how, seed=seed, until=soon) for how in (Faults(), CHAOS))
    one, other = orderly.account, chaotic.account
    assert one.phase is other.phase, f"{one.phase} when told in order, {other.phase} otherwise"
    assert one.contract.snapshot == other.contract.snapshot, "another answer is gone by"
    if one.seen_ready and other.seen_ready:
        assert one.stopped is other.stopped, "stopped in one order only"


def messages_alone_lead_there_too(story: History, number: int) -> None:
    """A provider that cannot be asked: each message comes, if late, twice and after younger ones."""
    patient = replace(story, policy=story.policy.model_copy(update={"retain_days": 30_000}))
    until, late = story.end + CHAOS.latest + timedelta(hours=1), replace(CHAOS, lost=0.0)
    orderly, chaotic = (
        tell(patient, faults=how, seed=2 * number + 1, until=until, answers=False) for how in (Faults(), late)
    )
    assert orderly.account.contract.snapshot == chaotic.account.contract.snapshot, "an older message counts"
    assert orderly.account.phase is chaotic.account.phase, "another phase by other messages"


def silence_is_no_news(story: History, number: int) -> None:
    """A provider that does not answer from some moment on, or not in words we know, is one that has nothing to say."""
    moments = sorted(one.provider_time for one in story.said)
    cut = moments[number % len(moments)] + timedelta(minutes=1)
    beyond = (cut, story.end + timedelta(days=1))
    story = replace(story, away=(), strange=(), down=())  # what was said until then is heard
    quiet = replace(story, said=tuple(one for one in story.said if one.provider_time <= cut))
    silent = replace(story, away=(beyond,))
    strange = replace(story, strange=(beyond,))
    until = story.end  # the polls and messages come at the same moments; what is said then is nothing
    expected = tell(quiet, until=until).account.phase
    for other in (silent, strange):
        assert tell(other, until=until).account.phase is expected, "silence changed the phase"


def paying_brings_all_back(story: History, number: int) -> None:
    """Inside retention, up to and including the archive; with the same credentials unless it was archived."""
    lifted = replace(story, holds=(*story.holds, (story.end, ())))
    story = paid(lifted, lifted.end + timedelta(hours=number % 2_000))
    told = tell(story, until=story.end + timedelta(days=1))
    account = told.account
    if account.contract.times.deleted is not None:
        assert account.phase is Phase.DELETED
        return
    assert account.phase is Phase.ACTIVE, f"paid, but {account.phase}"
    assert account.exists(story.end + timedelta(days=1)), "paid, but not there"
    assert not account.stopped, "paid, but stopped"
    assert account.contract.times.archived is None, "paid, but still in the archive"
    archived = sum(one.kind is Kind.ARCHIVED for one in told.happenings)
    assert account.made == 1 + archived, "new credentials without need"
