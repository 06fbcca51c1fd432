"""A thousand Subscriptions that fall due in the same second: within the hour's budget, none twice, each in its turn."""

from collections import Counter
from datetime import timedelta

from paybill.api.cell import CellLimits
from paybill.api.plan import Payment
from paybill.lifecycle.account import Account
from paybill.lifecycle.contract import Contract
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.simulation import Kind, Simulation
from tests.property.histories import START

TENANTS, PER_HOUR = 1_000, 120
DUE = START + timedelta(days=4)


def crowd(limits: CellLimits) -> Simulation:
    """Tenants that are all paid until the same second, with no grace."""
    simulation = Simulation(limits=limits)
    paid = Snapshot(status=Status.BY_DATES, paid_until=DUE)
    policy = Payment(grace_days=0, end_after_days=30)
    for number in range(TENANTS):
        contract = Contract(start=START, trial_days=0, policy=policy, snapshot=None)
        simulation.enrol(Account(name=f"t{number:04}", contract=contract, speaks=lambda _: paid), START)
    return simulation


def test_they_are_stopped_within_the_budget_and_none_twice():
    simulation = crowd(CellLimits(suspensions_per_hour=PER_HOUR, mass_change_floor=TENANTS))
    simulation.run(DUE + timedelta(days=2))
    stopped = [one for one in simulation.happenings if one.kind is Kind.STOPPED]
    assert Counter(one.tenant for one in stopped) == dict.fromkeys(simulation.accounts, 1)
    times = [one.time for one in stopped]
    assert times == sorted(times)
    assert times[0] < DUE + timedelta(minutes=1)
    for first, last in zip(times, times[PER_HOUR:], strict=False):
        assert last - first >= timedelta(hours=1), "more than the budget within an hour"
    assert times[-1] <= DUE + timedelta(hours=TENANTS // PER_HOUR, minutes=10), "slower than the budget allows"
    assert all(one.phase is Phase.SUSPENDED for one in simulation.accounts.values())


def test_those_who_pay_while_they_wait_are_never_stopped():
    simulation = crowd(CellLimits(suspensions_per_hour=PER_HOUR, mass_change_floor=TENANTS))
    waiting = [f"t{number:04}" for number in range(500, TENANTS)]
    later = DUE + timedelta(hours=1, minutes=30)

    def pays(sim: Simulation) -> None:
        for name in waiting:
            sim.accounts[name].speaks = lambda _: Snapshot(status=Status.BY_DATES, paid_until=DUE + timedelta(days=99))
            sim.look(name, later)

    simulation.at(later, pays)
    simulation.run(DUE + timedelta(days=2))
    stopped = Counter(one.tenant for one in simulation.happenings if one.kind is Kind.STOPPED)
    assert len(stopped) == 500
    assert not set(waiting) & stopped.keys()


def test_without_a_person_who_allows_it_a_tenth_of_the_cell_is_not_stopped():
    simulation = crowd(CellLimits(suspensions_per_hour=TENANTS))
    simulation.run(DUE + timedelta(days=2))
    assert not [one for one in simulation.happenings if one.kind is Kind.STOPPED]
    simulation.release(DUE + timedelta(days=3))
    simulation.run(DUE + timedelta(days=4))
    assert len([one for one in simulation.happenings if one.kind is Kind.STOPPED]) == TENANTS
