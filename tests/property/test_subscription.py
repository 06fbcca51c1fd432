"""What holds for every contract, whatever was agreed, paid, held and cancelled, in whatever order it became known."""

from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from paybill.api.plan import Payment
from paybill.lifecycle.phases import EFFECTS, Access, Phase
from paybill.lifecycle.provider import Snapshot, Status, latest
from paybill.lifecycle.subscription import Contract, EffectTimes, Hold, decide, forecast, settle
from tests.unit.lifecycle.contracts import ACCESS, START, at, manual, says

settings.register_profile("lifecycle", deadline=None, max_examples=100)
MANY = settings.get_profile("lifecycle")

DESTROYED = {Phase.ARCHIVED, Phase.DELETED}
SEVERITY = (
    {Phase.PENDING}, {Phase.AWAITING_PAYMENT}, {Phase.TRIALING, Phase.ACTIVE}, {Phase.PAST_DUE}, {Phase.RESTRICTED},
    {Phase.SUSPENDED}, {Phase.ENDED, Phase.ABANDONED},
)  # fmt: skip

# Whole days and half ones, so that deadlines fall together; and any second, so that they do not.
moments = st.one_of(st.integers(-20, 200).map(lambda half: at(half / 2)), st.integers(-999_999, 9_999_999).map(
    lambda seconds: START + timedelta(seconds=seconds)
))  # fmt: skip
maybe = st.one_of(st.none(), moments)


@st.composite
def policies(draw: st.DrawFn) -> Payment:
    """Admissible policies: restricted before suspended before ended."""
    end = draw(st.integers(0, 40))
    grace = draw(st.integers(0, end))
    return Payment(
        first_payment_window=draw(st.sampled_from(["24h", "1h", "90m", "720h"])),
        restrict_after_days=draw(st.one_of(st.none(), st.integers(0, grace))),
        grace_days=grace,
        end_after_days=end,
        retain_days=draw(st.integers(0, 40)),
        archive_days=draw(st.integers(0, 40)),
    )


def snapshots(*statuses: Status) -> st.SearchStrategy[Snapshot]:
    """Whatever a provider may say."""
    return st.builds(
        Snapshot,
        status=st.sampled_from(statuses or tuple(Status)),
        provider_time=maybe,
        trial_end=maybe,
        paid_until=maybe,
        past_due_since=maybe,
        canceled_time=maybe,
        cancel_time=st.one_of(st.none(), maybe),
    )


holds = st.lists(
    st.builds(Hold, name=st.sampled_from("abc"), blocks=st.sampled_from(["Access", "Changes", "Provisioning"])),
    max_size=2,
).map(tuple)
live_times = st.builds(EffectTimes, ready=maybe, suspended=maybe, ended=maybe, requested_end=st.none())
any_times = st.builds(
    EffectTimes, ready=maybe, suspended=maybe, ended=maybe, archived=maybe, deleted=maybe, requested_end=maybe
)


@st.composite
def contracts(draw: st.DrawFn, *, times=any_times, said=None, held=holds) -> Contract:
    """Any contract; cancelled by a date or with its period, not both, as admission has it."""
    start = draw(moments)
    cancel = draw(maybe)
    return Contract(
        start=start,
        trial_days=draw(st.sampled_from([0, 0, 1, 14])),
        policy=draw(policies()),
        snapshot=draw(snapshots() if said is None else said),
        times=draw(times),
        holds=draw(held),
        cancel_time=max(cancel, start) if cancel is not None else None,
        cancel_at_period_end=cancel is None and draw(st.booleans()),
        last=draw(st.one_of(st.none(), st.sampled_from(sorted(set(Phase) - DESTROYED)))),
    )


def severity(phase: Phase) -> int:
    return next(number for number, group in enumerate(SEVERITY) if phase in group)


def uncancelled(contract: Contract) -> Contract:
    said = replace(contract.snapshot, cancel_time=None) if contract.snapshot is not None else None
    return replace(
        contract,
        snapshot=said,
        cancel_time=None,
        cancel_at_period_end=False,
        times=replace(contract.times, requested_end=None),
    )


@MANY
@given(contracts(), moments, st.lists(st.integers(0, 999), max_size=8))
def test_what_is_foretold_comes_at_its_second_and_nothing_before(contract, now, between):
    verdict = decide(contract, now)
    coming = verdict.next
    horizon = coming.time if coming is not None else now + timedelta(days=4_000)
    for share in between:
        assert decide(contract, now + (max(horizon, now) - now) * share // 1000).phase is verdict.phase
    if coming is None:
        assert decide(contract, horizon).phase is verdict.phase
    elif coming.time > now:
        assert coming.phase is not verdict.phase
        assert decide(contract, coming.time - timedelta(microseconds=1)).phase is verdict.phase
        settled = replace(contract, times=settle(contract.times, coming.phase, coming.time))
        assert decide(settled, coming.time).phase is coming.phase


@MANY
@given(contracts(), moments)
def test_a_forecast_ends_and_each_of_its_steps_is_what_would_be_decided(contract, now):
    contract = replace(contract, times=settle(contract.times, decide(contract, now).phase, now))
    steps = forecast(contract, now, limit=40)
    assert len(steps) < 12
    times = [max(now, step.time) for step in steps]
    assert times == sorted(times)
    for step in steps:
        now = max(now, step.time)
        contract = replace(contract, times=settle(contract.times, step.phase, now))
        assert decide(contract, now).phase is step.phase
    assert decide(contract, now).next is None


@MANY
@given(contracts(), moments)
def test_no_clock_destroys_anything(contract, now):
    phase = decide(contract, now).phase
    assert phase is not Phase.ARCHIVED or contract.times.archived is not None
    assert (phase is Phase.DELETED) is (contract.times.deleted is not None)


@MANY
@given(contracts(times=live_times, said=snapshots(*set(Status) - {Status.UNKNOWN})), st.lists(moments, min_size=2))
def test_left_alone_a_contract_only_goes_down(contract, looks):
    phases = [decide(contract, look).phase for look in sorted(looks)]
    started = [phase for phase in phases if phase is not Phase.PENDING]
    assert all(severity(one) <= severity(other) for one, other in pairwise(started))
    assert Phase.PENDING not in phases[len(phases) - len(started) :]


@MANY
@given(contracts(times=live_times), st.lists(moments, max_size=10), moments)
def test_downtime_changes_nothing(contract, looks, now):
    """Whoever looked in between, and settled what they saw, the phase now is the same."""
    looked_at = contract
    for look in sorted(look for look in looks if look < now):
        phase = decide(looked_at, look).phase
        looked_at = replace(looked_at, times=settle(looked_at.times, phase, look))
    assert decide(looked_at, now).phase is decide(contract, now).phase


known = snapshots(*set(Status) - {Status.UNKNOWN, Status.BY_DATES})


@MANY
@given(st.data(), st.lists(known, min_size=1, max_size=6), contracts(), moments)
def test_any_order_repetition_and_delay_of_the_same_answers_ends_in_the_same_phase(data, answers, contract, now):
    others = data.draw(st.permutations(answers))
    others += data.draw(st.lists(st.sampled_from(answers), max_size=4))
    others = [noise for answer in others for noise in (answer, None, says(Status.UNKNOWN, provider_time=999))]

    def outcome(said: list[Snapshot | None]) -> Phase:
        known: Snapshot | None = None
        for one in said:
            known = latest(known, one)
        return decide(replace(contract, snapshot=known), now).phase

    assert outcome(list(answers)) is outcome(others)


@MANY
@given(
    contracts(said=snapshots(*set(Status) - {Status.UNKNOWN})), st.one_of(st.none(), snapshots(Status.UNKNOWN)), moments
)
def test_an_answer_that_is_none_changes_nothing(contract, silence, now):
    heard = replace(contract, snapshot=latest(contract.snapshot, silence))
    assert decide(heard, now) == decide(contract, now)


@MANY
@given(contracts(said=st.one_of(st.none(), snapshots(Status.UNKNOWN)), times=live_times, held=st.just(())), moments)
def test_silence_from_the_start_holds_the_phase_it_found(contract, now):
    contract = uncancelled(contract)
    now = max(now, contract.start)
    assert decide(contract, now).phase is (contract.last or Phase.PENDING)


@MANY
@given(contracts(), moments, st.integers(1, 400))
def test_paying_inside_retention_leads_to_active(contract, now, days):
    contract = replace(uncancelled(contract), holds=())
    contract = replace(contract, times=replace(contract.times, deleted=None))
    now = max(now, contract.start)
    for paid in (
        Snapshot(status=Status.BY_DATES, paid_until=now + timedelta(days=days)),
        Snapshot(status=Status.ACTIVE, provider_time=now),
    ):
        phase = decide(replace(contract, snapshot=paid), now).phase
        assert phase is Phase.ACTIVE
        times = settle(contract.times, phase, now)
        assert times == EffectTimes(ready=contract.times.ready, archived=contract.times.archived)


@MANY
@given(contracts(), moments, st.integers(1, 400))
def test_payment_lifts_no_hold(contract, now, days):
    held = replace(contract, holds=(*contract.holds, ACCESS))
    paid = replace(held, snapshot=manual((now - START) / timedelta(days=1) + days))
    for one in (held, paid):
        assert EFFECTS[decide(one, now).phase].access is Access.NONE
    settled = replace(uncancelled(paid), times=EffectTimes())
    if settled.start <= now:
        assert decide(settled, now).phase is Phase.SUSPENDED


@MANY
@given(any_times, st.sampled_from(Phase), moments, moments)
def test_settling_again_changes_nothing(times, phase, now, later):
    once = settle(times, phase, now)
    assert settle(once, phase, later) == once


@MANY
@given(contracts(), moments, st.integers(-14, 14))
def test_the_zone_in_which_a_time_is_written_does_not_matter(contract, now, hours):
    zone = timezone(timedelta(hours=hours))

    def moved(value: object) -> object:
        if isinstance(value, datetime):
            return value.astimezone(zone)
        if isinstance(value, Snapshot | EffectTimes):
            return replace(value, **{field.name: moved(getattr(value, field.name)) for field in fields(value)})
        return value

    there = replace(contract, **{field.name: moved(getattr(contract, field.name)) for field in fields(contract)})
    here = decide(contract, now)
    assert (decide(there, now).phase, decide(there, now).next and decide(there, now).next.time) == (
        here.phase, here.next and here.next.time,
    )  # fmt: skip


@MANY
@given(contracts(), moments)
def test_every_phase_can_say_why(contract, now):
    verdict = decide(contract, now)
    assert verdict.because
    assert verdict.next is None or verdict.next.because


DWELL = timedelta(hours=30)


@st.composite
def told(draw: st.DrawFn) -> Contract:
    """A contract with debt to come, or with any, whose Plan has a running tenant told before debt stops it."""
    agreed = draw(contracts(times=st.just(EffectTimes(ready=START)), held=st.just(())))
    return replace(agreed, policy=agreed.policy.model_copy(update={"past_due_at_least": "30h"}))


def lived(contract: Contract, looks: list[datetime]) -> list[tuple[datetime, Phase]]:
    """The phases that each look finds, with what it settles."""
    found = []
    for look in looks:
        phase = decide(contract, look).phase
        contract = replace(contract, times=settle(contract.times, phase, look), last=phase)
        found.append((look, phase))
    return found


@MANY
@given(told(), st.lists(moments, min_size=2, max_size=12, unique=True).map(sorted))
def test_no_debt_stops_who_runs_before_it_was_told_for_long_enough_whoever_was_away(contract, looks):
    contract = uncancelled(contract)
    debts = {Status.BY_DATES, Status.PAST_DUE, Status.UNPAID, Status.INCOMPLETE}
    if contract.snapshot is None or contract.snapshot.status not in debts:
        contract = replace(contract, snapshot=manual(0))
    told_since: datetime | None = None
    for look, phase in lived(contract, looks):
        if phase in {Phase.SUSPENDED, Phase.ENDED}:
            assert told_since is not None
            assert look - told_since >= DWELL
            return
        owing = phase in {Phase.PAST_DUE, Phase.RESTRICTED}
        told_since = (told_since or look) if owing else None


@MANY
@given(told(), moments)
def test_who_is_looked_at_every_hour_is_told_no_longer_than_that(contract, begin):
    """Without downtime a span that fits into the grace changes nothing."""
    contract = replace(uncancelled(contract), snapshot=manual(0), start=START)
    policy = contract.policy.model_copy(update={"grace_days": 14, "end_after_days": 20, "restrict_after_days": None})
    looks = [START + timedelta(hours=hour) for hour in range(25 * 24)]
    with_it = lived(replace(contract, policy=policy), looks)
    without = lived(replace(contract, policy=policy.model_copy(update={"past_due_at_least": None})), looks)
    assert with_it == without


@MANY
@given(told(), moments)
def test_what_is_foretold_of_who_is_told_comes_at_its_second(contract, now):
    phase = decide(contract, now).phase
    contract = replace(contract, times=settle(contract.times, phase, now))
    coming = decide(contract, now).next
    assert decide(contract, now).phase is phase
    if coming is not None and coming.time > now:
        assert decide(contract, coming.time - timedelta(microseconds=1)).phase is phase
        settled = replace(contract, times=settle(contract.times, coming.phase, coming.time))
        assert decide(settled, coming.time).phase is coming.phase
    # Debt that nobody dates goes no further by itself, unless the provider has given up.
    dated = decide(contract, now).past_due_since is not None
    unpaid = contract.known is not None and contract.known.status is Status.UNPAID
    if phase is Phase.PAST_DUE and (dated or unpaid):
        assert coming is not None, "what waits for a span is foretold"
