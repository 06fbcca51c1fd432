"""The API server fails under load, in each of its ways: what was begun waits, few requests are made, and all is well.

The operator reaches it over a wire, and its Lease outlives the outage, so it is one process that goes through it. What
happens when the Lease does not is in test_outages.py and test_leadership.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from paybill.breaker import Breaker, Pauses
from paybill.doors import Doors
from paybill.local.bootstrap import Installed
from paybill.local.certificates import Certificates
from paybill.local.probes import client_context
from paybill.reconcile.world import World
from tests.cluster import samples
from tests.cluster.api import Api
from tests.cluster.conftest import ACCOUNT
from tests.cluster.customers import Customers
from tests.cluster.journal import Journal
from tests.cluster.load import Load
from tests.cluster.outages import WireThread
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS = {"lease_seconds": 60.0}
REQUEST_SECONDS = 2.0
OUTAGE = 5.0
"""Seconds of an outage: several pauses of the breaker."""
MORE = 20
MOST_REQUESTS = 20.0
"""Requests a second that an overloaded server may see of us, however many tenants wait."""
FLOW = "flowcontrol.apiserver.k8s.io/v1"
NOBODY = f"/apis/{FLOW}/flowschemas/paybill-test"
NOTHING = f"/apis/{FLOW}/prioritylevelconfigurations/paybill-test"


@pytest.fixture(scope="module")
def line(control_plane: LocalThread) -> Iterator[WireThread]:
    line = WireThread(control_plane.instance.ports["api"])
    yield line
    line.close()


@pytest.fixture(scope="module")
def installed(
    installed: Installed, control_plane: LocalThread, line: WireThread, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """The operator's way leads over the wire."""
    there = tmp_path_factory.mktemp("wired") / "kubeconfig"
    text = installed.operator_kubeconfig.read_text()
    there.write_text(text.replace(control_plane.api_url, f"https://127.0.0.1:{line.port}"))
    return replace(installed, operator_kubeconfig=there)


@pytest.fixture(scope="module")
def module_operator(module_operator: Operator) -> Operator:
    module_operator.doors = lambda: Doors(request_seconds=REQUEST_SECONDS)
    return module_operator


@pytest.fixture
async def load(customers: Customers) -> Load:
    load = Load(customers)
    await load.prepare()
    return load


class Outage:
    """What a test may do to the API server; each way is a context."""

    def __init__(self, control_plane: LocalThread, line: WireThread, api: Api) -> None:
        self.plane, self.line, self.api = control_plane, line, api

    @contextlib.asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        child = self._child("kube-apiserver")
        # Asked to, it waits for its watches to end, a quarter of a minute.
        self.plane.call(_stopped_at_once(child))
        try:
            yield
        finally:
            await asyncio.to_thread(self.plane.call, child.start())

    @contextlib.asynccontextmanager
    async def killed(self) -> AsyncIterator[None]:
        """With SIGKILL; whoever supervises it starts it again."""
        os.kill(self._child("kube-apiserver").pid, signal.SIGKILL)
        await until(lambda: self._answers(False))
        yield
        await until(lambda: self._answers(True))

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        pid = self._child("kube-apiserver").pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def cut_off(self) -> AsyncIterator[None]:
        """From the operator; everybody else reaches it."""
        with self.line.cut():
            yield

    @contextlib.asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        with self.line.slow(0.2):
            yield

    @contextlib.asynccontextmanager
    async def overloaded(self) -> AsyncIterator[None]:
        """Priority and fairness gives the operator no seat but for its Lease: 429 with Retry-After."""
        schema, level = _no_seat()
        await self._put(NOTHING, level)
        await self._put(NOBODY, schema)
        try:
            yield
        finally:
            for there in (NOBODY, NOTHING):
                await self.api.call("DELETE", there)

    @contextlib.asynccontextmanager
    async def full(self) -> AsyncIterator[None]:
        """etcd raises the alarm of an exceeded quota: reads are served, writes are refused with 500."""
        await self._alarm("ACTIVATE")
        try:
            yield
        finally:
            await self._alarm("DEACTIVATE")

    async def _alarm(self, action: str) -> None:
        certificates = Certificates(self.plane.instance.home.certificates)
        context = client_context(authority=certificates.etcd_authority.certificate, login=certificates.etcd_client)
        port = self.plane.instance.ports["etcd"]
        async with aiohttp.ClientSession() as session:
            member = (await self._etcd(session, port, context, "cluster/member/list", {}))["members"][0]["ID"]
            request = {"action": action, "memberID": member, "alarm": "NOSPACE"}
            await self._etcd(session, port, context, "maintenance/alarm", request)

    @staticmethod
    async def _etcd(
        session: aiohttp.ClientSession, port: int, context: ssl.SSLContext, what: str, request: Any
    ) -> dict[str, Any]:
        url = f"https://127.0.0.1:{port}/v3/{what}"
        async with session.post(url, json=request, ssl=context) as answer:
            assert answer.status == 200, await answer.text()
            said: dict[str, Any] = await answer.json()
            return said

    async def _put(self, where: str, obj: Any) -> None:
        status, answer = await self.api.call(
            "PATCH", where, obj, "application/apply-patch+yaml", fieldManager="test", force="true"
        )
        assert status < 300, answer["message"]

    def _child(self, name: str) -> Any:
        return next(child for child in self.plane.instance.children if child.command.name == name)

    async def _answers(self, wanted: bool) -> bool:
        try:
            async with self.api.session.http.get(f"{self.api.session.server}/readyz") as answer:
                return (answer.status == 200) is wanted
        except (aiohttp.ClientError, TimeoutError, OSError):
            return not wanted


def _no_seat() -> tuple[Any, Any]:
    """A FlowSchema for all requests of the operator but its Lease's, and the empty level that it leads to."""
    rule = {
        "subjects": [{"kind": "User", "user": {"name": ACCOUNT}}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": [group], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
            for group in ("", "networking.k8s.io", "rbac.authorization.k8s.io", "apps", "paybill.dev")
        ],
    }
    schema = {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "paybill-test"}, "rules": [rule]}
    limited = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    level = {"type": "Limited", "limited": {**limited, "limitResponse": {"type": "Reject"}}}
    made = {"apiVersion": FLOW, "metadata": {"name": "paybill-test"}}
    return (
        {**made, "kind": "FlowSchema", "spec": schema},
        {**made, "kind": "PriorityLevelConfiguration", "spec": level},
    )


async def _stopped_at_once(child: Any) -> None:
    """In one go, so that its supervisor does not start it again."""
    os.kill(child.pid, signal.SIGKILL)
    await child.stop()


@pytest.fixture
def outage(control_plane: LocalThread, line: WireThread, api: Api) -> Outage:
    return Outage(control_plane, line, api)


WAYS: dict[str, Callable[[Outage], AbstractAsyncContextManager[None]]] = {
    "down": Outage.down,
    "killed": Outage.killed,
    "frozen": Outage.frozen,
    "cut off": Outage.cut_off,
    "slow": Outage.slow,
    "overloaded": Outage.overloaded,
    "full": Outage.full,
}
IN_THE_GATE = {"cut off", "full"}
PAUSED = {"down", "frozen", "cut off", "overloaded"}


@pytest.mark.parametrize(
    "way", [pytest.param(one, marks=() if one in IN_THE_GATE else pytest.mark.exhaustive) for one in WAYS]
)
async def test_what_was_begun_is_finished_after_it(way: str, load: Load, outage: Outage, operator: Operator) -> None:
    await load.begin()
    async with WAYS[way](outage):
        if way in PAUSED:
            await until(lambda: operator.call(lambda world: world.cluster.breaker.open))
        await asyncio.sleep(1.0)

    await load.settled()
    assert operator.running, "its Lease outlived the outage"
    await until(lambda: not operator.call(lambda world: world.cluster.breaker.open))


@pytest.mark.exhaustive
async def test_an_overloaded_server_is_left_alone(
    load: Load, outage: Outage, operator: Operator, journal: Journal, api: Api
) -> None:
    """A seat for one: what the breaker lets through does not depend on how many tenants wait; without it, it does."""
    async with outage.overloaded():
        await load.begin()
        for number in range(MORE):
            one = f"{load.customers.prefix}-more-{number}"
            await api.apply(samples.tenant(one), samples.subscription(one, load.name("small")))
        await until(lambda: operator.call(lambda world: world.cluster.breaker.open))
        held_back = operator.call(lambda world: world.cluster.breaker.refused)
        with_it = await _rate(journal)
        assert operator.call(lambda world: world.cluster.breaker.refused) > held_back
        operator.call(_disarm)
        without = await _rate(journal)
        operator.call(_arm)
    print(f"requests/s while overloaded: {with_it:.1f}, without the breaker {without:.1f}")  # noqa: T201
    assert with_it < MOST_REQUESTS
    assert without > 2 * with_it

    await load.settled()
    for number in range(MORE):
        await load.customers.ready(f"{load.customers.prefix}-more-{number}", seconds=60)
    assert operator.running


async def _rate(journal: Journal) -> float:
    """Requests of the operator per second."""
    journal.begin()
    await asyncio.sleep(OUTAGE)
    return sum(one.user == ACCOUNT for one in journal.all()) / OUTAGE


def _disarm(world: World) -> None:
    world.cluster.breaker._armed = False
    world.cluster.breaker._breaker = Breaker(Pauses(), random.random)


def _arm(world: World) -> None:
    world.cluster.breaker._armed = True
