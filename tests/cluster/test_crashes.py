"""The operator ends at any write while it makes a tenant: the next start makes the rest, once."""

from __future__ import annotations

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, holds
from tests.cluster.customers import Customers, connect
from tests.cluster.faults import Crash, When
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until

OWNERS = {"owners": [{"kind": "Group", "name": "acme-admins"}]}
POINTS = [(at, when) for at in range(1, 17) for when in ("before", "after")]
IN_THE_GATE = {(3, "after"), (4, "after"), (9, "before"), (11, "after")}


@pytest.mark.parametrize(
    ("at", "when"),
    [pytest.param(*point, marks=() if point in IN_THE_GATE else pytest.mark.exhaustive) for point in POINTS],
)
async def test_what_was_begun_is_completed(
    at: int, when: When, api: Api, customers: Customers, operator: Operator, journal: Journal, name: str
) -> None:
    await customers.plan(name)
    await customers.quiet()
    crash = Crash(operator, at, when)
    crash.arm()

    await api.apply(samples.tenant(name, **OWNERS), samples.subscription(name, name))
    await until(lambda: _crashed_or_ready(crash, api, name))
    crash.skip_unless_it_happened()
    operator.crash()
    operator.start()

    customer = await customers.ready(name)
    async with await connect(await customers.binding(customer)) as app:
        assert app.info.user == f"pb_{customer.id}_app_a"
    assert await api.get("RoleBinding", "paybill-owners", customer.namespace) is not None
    mine = [one["metadata"]["name"] for one in await api.list("Namespace") if _of(one, name)]
    assert mine == [customer.namespace], "no half-made place is left beside it"
    await customers.quiet()
    journal.begin()
    operator.look_at("Tenant", name)
    await until(lambda: operator.call(lambda world: world.queue.idle))
    assert journal.writes() == []


def _of(namespace: dict[str, dict[str, dict[str, str]]], tenant: str) -> bool:
    return namespace["metadata"].get("annotations", {}).get("paybill.dev/tenant-name") == tenant


async def _crashed_or_ready(crash: Crash, api: Api, name: str) -> bool:
    return crash.happened or holds(await api.get("Tenant", name), "Ready")
