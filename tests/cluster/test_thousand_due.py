"""A thousand Subscriptions due in the same second, at the running operator: as many stopped in each hour as its Cell
allows, none twice and nobody forgotten, also when the operator ends in the middle of a wave.

tests/property/test_thousand_due.py has the same in virtual time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from paybill.reconcile.queue import Work
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds, user
from tests.cluster.halting import done
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

TENANTS, PER_HOUR = 1_000, 240
APPLIED_AT_ONCE = 8
PATIENCE = 1_200.0
"""Seconds: on a machine that does other things as well."""
SETTINGS = {"lease_seconds": 15.0}
SPENT = "SuspensionBudgetSpent"

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def fleet(control_plane: LocalThread, module_operator: Operator) -> Iterator[str]:
    """The name of a Cell and a Plan with ``TENANTS`` Ready tenants, all paid until the same second."""
    prefix = f"d{secrets.token_hex(3)}"
    module_operator.start()
    control_plane.call(_in_session(control_plane, _onboard, prefix), timeout=PATIENCE)
    yield prefix
    module_operator.stop()
    control_plane.call(_in_session(control_plane, _remove, prefix), timeout=PATIENCE)


async def _in_session(control_plane: LocalThread, act: Any, prefix: str) -> None:
    async with user(control_plane.kubeconfig) as admin:
        await act(admin, prefix)


async def _onboard(api: Api, prefix: str) -> None:
    limits = {"suspensionsPerHour": PER_HOUR, "massChangeFloor": TENANTS}
    await api.apply(samples.cell(prefix, [samples.server("rows-1", "Rows")], limits=limits))
    await api.apply(samples.plan(prefix, "Shared", "Rows", payment={"graceDays": 0, "endAfterDays": 30}))
    paid = samples.moment(days=-10)
    names = iter([f"{prefix}-{number:04}" for number in range(TENANTS)])

    async def client() -> None:
        for name in names:
            await api.apply(
                samples.tenant(name, cellRef={"name": prefix}), samples.subscription(name, prefix, paid=paid)
            )

    await asyncio.gather(*(client() for _ in range(APPLIED_AT_ONCE)))
    await until(lambda: _all(api, prefix, "Ready"), seconds=PATIENCE)


async def _of(api: Api, kind: str, prefix: str) -> list[Object]:
    return [one for one in await api.list(kind) if one["metadata"]["name"].startswith(prefix)]


async def _all(api: Api, prefix: str, kind: str) -> bool:
    return sum(1 for one in await _of(api, "Tenant", prefix) if holds(one, kind)) >= TENANTS


async def _remove(api: Api, prefix: str) -> None:
    """All at once, and without the operator, which has stopped."""
    for kind in ("Subscription", "Tenant", "Plan", "Cell"):
        names = [one["metadata"]["name"] for one in await _of(api, kind, prefix)]
        await asyncio.gather(*(api.delete(kind, name) for name in names))
        await asyncio.gather(*(api.strip(kind, name) for name in names))


def ask(operator: Operator, prefix: str) -> None:
    """Have everybody looked at: their own waits are of the real clock."""

    def wake(world: Any) -> None:
        for name in list(world.declared.tenants):
            if name.startswith(prefix):
                world.queue.add(Work("Tenant", name), "test", background=True)

    operator.call(wake)


async def test_they_are_stopped_within_the_budget_and_none_twice_whatever_ends_meanwhile(
    fleet: str, operator: Operator, api: Api, control: Any
) -> None:
    async def begun() -> int:
        return len(await done(control, "tenant.suspend", cell=fleet))

    async def spent() -> bool:
        """Whether an hour's budget is used up, and everybody else was told so."""
        tenants = await _of(api, "Tenant", fleet)
        waits = sum((condition(one, "Ready") or {}).get("reason") == SPENT for one in tenants)
        stopped = sum(holds(one, "Suspended") and holds(one, "Ready") for one in tenants)
        return waits + stopped >= TENANTS

    def one_clock(world: Any) -> None:
        # What was begun in the last hour is read from the log: it must have been written by the clock that reads it.
        world.audit._clock = operator.clock

    operator.stop()
    operator.made = one_clock
    operator.start()
    operator.clock.offset += timedelta(days=10, seconds=1)
    ask(operator, fleet)
    for hour in range(-(-TENANTS // PER_HOUR)):
        allowed = min(TENANTS, (hour + 1) * PER_HOUR)
        if hour == 1:  # it ends in the middle of a wave, and another one goes on
            await until(lambda hour=hour: _more(begun, hour * PER_HOUR), seconds=PATIENCE)
            operator.crash()
            operator.start()
            ask(operator, fleet)
        await until(lambda allowed=allowed: _more(begun, allowed - 1), seconds=PATIENCE)
        await until(spent, seconds=PATIENCE)
        assert await begun() == allowed, "more than the hour has room for"
        operator.clock.offset += timedelta(minutes=61)
        ask(operator, fleet)

    await until(lambda: _all(api, fleet, "Suspended"), seconds=PATIENCE)
    assert await begun() == TENANTS
    # Of what was under way when the operator ended the log has no outcome, or one of the second time; never two.
    carried = await carried_through(control, fleet)
    assert set(carried.values()) == {1}
    assert len(carried) >= TENANTS - operator.call(lambda world: world.settings.workers)


async def _more(begun: Any, than: int) -> bool:
    return await begun() > than


async def carried_through(control: Any, cell: str) -> dict[str, int]:
    """How often each tenant's suspension was carried through, by the audit log."""
    found = await control.execute(
        "SELECT i.tenant_id, count(*) FROM paybill.audit_log AS i JOIN paybill.audit_log AS o"
        " ON o.step = i.step AND o.kind = 'outcome'"
        " WHERE i.kind = 'intent' AND i.action = 'tenant.suspend' AND i.cell = %s AND o.result = 'ok'"
        " GROUP BY i.tenant_id",
        (cell,),
    )
    return {str(one): count for one, count in await found.fetchall()}
