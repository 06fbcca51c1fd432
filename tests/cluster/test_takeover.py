"""Another process takes over within seconds, whatever became of the leader, and nothing is done twice.

Real processes with a token each: the API server's own audit log tells who wrote what. A round has customers who have
stopped paying, so there is something to do that must be done once.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.audit.chain import verify
from paybill.audit.reading import rows
from paybill.local.bootstrap import Installed
from paybill.settings import Settings
from tests.cluster import samples
from tests.cluster.api import Api, Object, accepted, holds
from tests.cluster.customers import may_connect, secret
from tests.cluster.rivals import Rival, link, prepare, writes_of
from tests.cluster.waiting import until
from tests.conftest import LocalThread

TOKEN = "/api/v1/namespaces/paybill-system/serviceaccounts/paybill-operator/token"
CUSTOMERS = 3
TAKEOVER = 15.0


@dataclass
class Round:
    """Two processes, the first of which leads, and a few customers."""

    api: Api
    make: Callable[..., Any]
    audit_log: Path
    control: psycopg.AsyncConnection[Any]
    name: str
    mark: int = 0
    names: list[str] = field(default_factory=list)

    async def customers(self) -> None:
        self.names = [f"{self.name}-{number}" for number in range(CUSTOMERS)]
        await self.api.apply(samples.plan(self.name))
        for one in self.names:
            await self.api.apply(samples.tenant(one), samples.subscription(one, self.name))
        for one in self.names:
            await self.wait(one, lambda tenant: holds(tenant, "Ready"))
        self.mark = self.audit_log.stat().st_size

    async def wait(self, one: str, good: Callable[[Object], Any], seconds: float = 40.0) -> Object:
        async def look() -> Object | None:
            found = await self.api.get("Tenant", one)
            return found if found is not None and good(found) else None

        return await until(look, seconds=seconds, otherwise=lambda: one)  # type: ignore[return-value]

    async def pay(self, until_time: str) -> None:
        change = {"spec": {"payment": {"paidUntilTime": until_time}}}
        for one in self.names:
            await self.api.edit("Subscription", one, change)

    async def stop_paying(self) -> None:
        await self.pay(samples.moment(days=100))

    async def suspended(self) -> None:
        for one in self.names:
            await self.wait(one, lambda tenant: holds(tenant, "Suspended") and holds(tenant, "Ready"))

    async def nothing_twice(self, old: Rival, new: Rival) -> None:
        """Every customer was suspended once, and what was replaced wrote nothing after its successor's first write."""
        done = writes_of(self.audit_log, self.mark)
        first = min((one["received"] for one in done if one["by"] == new.credential), default="9")
        late = [one["what"] for one in done if one["by"] == old.credential and one["received"] > first]
        assert late == []
        query = (
            "SELECT o.object FROM paybill.audit_log o WHERE o.kind = 'outcome' AND o.result = 'ok'"
            " AND o.destructive AND o.object LIKE %s"
        )
        done_once = Counter(
            row[0] for row in await (await self.control.execute(query, (f"%{self.name}-%",))).fetchall()
        )
        assert all(count == 1 for count in done_once.values()), done_once
        assert len(done_once) >= CUSTOMERS - 1, "the one whose outcome was lost is in the log as unfinished"


@pytest.fixture
def lease_seconds(request: pytest.FixtureRequest) -> float:
    return float(getattr(request, "param", 3.0))


@pytest.fixture
async def game(
    api: Api, installed: Installed, control_plane: LocalThread, control_dsn: str,
    control: psycopg.AsyncConnection[Any], lease_seconds: float, tmp_path: Path, name: str,
) -> AsyncIterator[Round]:  # fmt: skip
    made: list[Rival] = []
    settings = Settings(installation=installed.settings.installation, lease_seconds=lease_seconds)

    async def make(**extra: str) -> Rival:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        token = accepted(*await api.call("POST", TOKEN, request))["status"]["token"]
        folder = tmp_path / f"p{len(made)}"
        made.append(prepare(folder, settings, control_dsn, installed.operator_kubeconfig, token, **extra))
        return made[-1]

    round_ = Round(api, make, control_plane.audit_log, control, name)
    yield round_
    await leave_tidy(round_, made)
    with psycopg.connect(control_dsn) as connection:
        assert verify(rows(connection)).problems == ()


async def leave_tidy(round_: Round, made: list[Rival]) -> None:
    """Paid and alive, so that the objects can be deleted; then the processes end."""
    for process in made:
        process.close()


async def begin(game: Round, **extra: str) -> tuple[Rival, Rival]:
    """A leader with customers, and a standby that waits."""
    leader = await game.make(**extra)
    leader.start()
    await leader.leads()
    await game.customers()
    leader.arm()
    standby = await game.make()
    standby.start()
    await until(lambda: standby.says("/standbyz"), seconds=60)
    return leader, standby


def rounds(short: int, *, gate: bool = True) -> pytest.MarkDecorator:
    """Rounds with a short Lease, the first of them in the gate, and one with the default Lease."""
    each = [pytest.param(3.0, id=f"short-{number}") for number in range(short)]
    each.append(pytest.param(Settings().lease_seconds, id="default"))
    kept = 1 if gate else 0
    marked = [pytest.param(*one.values, id=one.id, marks=pytest.mark.exhaustive) for one in each[kept:]]
    return pytest.mark.parametrize("lease_seconds", [*each[:kept], *marked], indirect=True)


@rounds(3)
async def test_a_killed_leader_is_replaced_in_time(game: Round, lease_seconds: float) -> None:
    leader, standby = await begin(game)
    await game.stop_paying()
    await until(lambda: True, seconds=random.random())

    leader.signal(signal.SIGKILL)

    assert await standby.leads() < TAKEOVER
    await game.suspended()
    await game.nothing_twice(leader, standby)


@rounds(3)
async def test_a_leader_frozen_between_audit_and_act_does_not_act(game: Round, lease_seconds: float) -> None:
    leader, standby = await begin(game, STOP_AT="control commit audit*intent tenant.suspend", STOP_WHEN="after")
    await game.stop_paying()
    await until(lambda: leader.stopped, otherwise=lambda: leader.log[-2000:])

    assert await standby.leads() < TAKEOVER
    await game.suspended()
    await game.pay(samples.FAR)
    for one in game.names:
        await game.wait(one, lambda tenant: not holds(tenant, "Suspended") and holds(tenant, "Ready"))
    leader.signal(signal.SIGCONT)

    assert await leader.ended() == 1
    assert "LeaseLost" in leader.log or "lease" in leader.log
    await game.nothing_twice(leader, standby)
    for one in game.names:
        assert not holds(await game.api.get("Tenant", one), "Suspended")


@rounds(3, gate=False)
async def test_a_leader_frozen_right_before_its_request_suspends_nobody_who_has_paid(
    game: Round, lease_seconds: float
) -> None:
    """Past every check of its own: the API server refuses it, because the quota is not what it had seen."""
    leader, standby = await begin(game, STOP_AT="patch resourcequotas", STOP_WHEN="before")
    await game.stop_paying()
    await until(lambda: leader.stopped, otherwise=lambda: leader.log[-2000:])

    assert await standby.leads() < TAKEOVER
    await game.suspended()
    await game.pay(samples.FAR)
    for one in game.names:
        await game.wait(one, lambda tenant: not holds(tenant, "Suspended") and holds(tenant, "Ready"))
    leader.signal(signal.SIGCONT)

    assert await leader.ended() == 1
    await game.nothing_twice(leader, standby)


@pytest.mark.exhaustive
async def test_without_lease_check_and_precondition_the_woken_leader_would_suspend_who_has_paid(game: Round) -> None:
    leader, standby = await begin(game, STOP_AT="patch resourcequotas", STOP_WHEN="before", LIFTED="1")
    await game.stop_paying()
    await until(lambda: leader.stopped, otherwise=lambda: leader.log[-2000:])
    await standby.leads()
    await game.suspended()
    await game.pay(samples.FAR)
    for one in game.names:
        await game.wait(one, lambda tenant: not holds(tenant, "Suspended") and holds(tenant, "Ready"))
    mark = game.audit_log.stat().st_size

    leader.signal(signal.SIGCONT)

    def late() -> list[str]:
        return [one["what"] for one in writes_of(game.audit_log, mark) if one["by"] == leader.credential]

    await until(lambda: any("resourcequotas" in what for what in late()), otherwise=lambda: leader.log[-2000:])


@rounds(2, gate=False)
async def test_a_leader_frozen_while_it_drops_does_not_keep_the_next_one_out(game: Round, lease_seconds: float) -> None:
    leader, standby = await begin(game, STOP_AT="server pending drop", STOP_WHEN="before")
    bindings = {}
    for one in game.names:
        found = await game.api.get("Tenant", one)
        bindings[one] = await secret(game.api, found["status"]["namespace"], f"{found['status']['namespace']}-db")
    gone, kept = game.names[0], game.names[1:]
    await game.api.delete("Subscription", gone)
    await game.api.delete("Tenant", gone)
    await until(lambda: leader.stopped, otherwise=lambda: leader.log[-2000:])

    assert await standby.leads() < TAKEOVER

    async def dropped() -> bool:
        query = "SELECT state FROM paybill.tenants WHERE tenant_name = %s"
        return await (await game.control.execute(query, (gone,))).fetchall() == [("dropped",)]

    await until(dropped, seconds=40, otherwise=lambda: standby.log[-2000:])
    leader.signal(signal.SIGCONT)
    assert await leader.ended() == 1
    assert not await may_connect(bindings[gone])
    for one in kept:
        assert await may_connect(bindings[one])


@rounds(2)
async def test_a_leader_cut_off_from_the_api_server_ends_before_the_next_one_leads(
    game: Round, lease_seconds: float, control_plane: LocalThread
) -> None:
    async with link(control_plane.api_url) as wire:
        leader, standby = await begin(game, api=wire.address)
        wire.whole.clear()
        await game.stop_paying()
        cut = time.monotonic()

        while not await standby.says("/readyz"):
            led = await leader.says("/readyz")
            assert time.monotonic() - cut < TAKEOVER
        assert not led, "it is the first to know"
        assert await leader.ended() == 1
        await game.suspended()
        await game.nothing_twice(leader, standby)


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
@rounds(1, gate=False)
async def test_clocks_that_disagree_neither_take_nor_keep_the_lease(
    game: Round, lease_seconds: float, ahead: float
) -> None:
    leader, standby = await begin(game, CLOCK_AHEAD=str(ahead))
    for _ in range(int(lease_seconds) + 2):
        assert not await standby.says("/readyz")
        await until(lambda: True)
        assert await leader.says("/readyz")
    await game.stop_paying()
    await game.suspended()

    leader.signal(signal.SIGKILL)

    assert await standby.leads() < TAKEOVER
    await game.nothing_twice(leader, standby)
