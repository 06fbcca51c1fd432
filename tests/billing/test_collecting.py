"""Stripe pauses for a tenant that cannot be made, over the wire, and whatever ends when: once, and never for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.subscription import Subscription
from paybill.audit.log import AuditLog
from paybill.billing.stripe_api import StripeApi, Told
from paybill.billing.stripe_words import PAUSED, known
from paybill.control import take_epoch
from paybill.control.collection import CollectionStore
from paybill.control.facts import Facts, FactStore
from paybill.lifecycle.known import newer, read, wire
from paybill.reconcile import collecting, unmade
from paybill.reconcile.brakes import Brakes
from paybill.reconcile.collecting import Collecting
from paybill.reconcile.world import World
from paybill.settings import Settings
from tests.billing.mortal import Life, Mortal, ends
from tests.billing.pauses import SubscriptionServer
from tests.control.fixtures import control_dsn, db, epoch

__all__ = ["control_dsn", "db", "epoch"]

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
TENANT = "t" * 8


@pytest.fixture
async def server() -> AsyncIterator[SubscriptionServer]:
    one = SubscriptionServer()
    await one.start()
    yield one
    await one.stop()


def contract(number: int = 1) -> Subscription:
    return Subscription.model_validate({
        "metadata": {"name": f"acme-{number}", "uid": f"uid{number}"},
        "spec": {
            "tenantRef": {"name": f"acme-{number}"}, "planRef": {"name": "pro"},
            "payment": {"provider": "Stripe", "subscription": f"sub_{number}"},
        },
    })  # fmt: skip


@dataclass
class Shelf:
    """The Subscriptions that are there."""

    objects: dict[str, Subscription]

    def __iter__(self) -> Iterator[str]:
        return iter(self.objects)

    def __getitem__(self, name: str) -> Subscription:
        return self.objects[name]

    def entry(self, name: str) -> Any:
        return SimpleNamespace(uid=self.objects[name].metadata.uid)


class Scene:
    """What an operator has that leads: real stores, a real log and a real door; ``life`` may end it at any call.

    ``ready``: whether its tenant was ever Ready.
    """

    def __init__(self, db: Any, server: SubscriptionServer, folder: Path, now: datetime) -> None:
        (folder / "key").write_text("sk_test_x\n")
        self.now, self.ready = now, False
        self._db, self._server, self._key = db, server, folder / "key"
        self.asked_again: list[str] = []

    async def open(self, number: int = 1, life: Life | None = None) -> None:
        self.epoch = await take_epoch(self._db)
        self.facts = FactStore(self._db, "tests")
        self.store = CollectionStore(self._db, "tests")
        await self.facts.load()
        await self.store.load()
        self.audit = AuditLog(self._db.pool, epoch=self.epoch)
        self.audit.start()
        self.api = StripeApi(self._key, url=self._server.url)
        self.subscription = contract(number)
        mortal = life or Life()
        claim = SimpleNamespace(id=TENANT, cell="eu", ready_time=self.now if self.ready else None)
        self.world = cast("World", SimpleNamespace(
            settings=Settings(installation="tests", stripe_pause_hours=24.0),
            now=lambda: self.now,
            facts=self.facts,
            collecting=Collecting(store=Mortal(self.store, mortal, "put", "forget")),
            payments=SimpleNamespace(api=Mortal(self.api, mortal, "subscription", "change_collection"),
                                     want=self.asked_again.append),
            registry=SimpleNamespace(by_subscription=lambda _: claim),
            declared=SimpleNamespace(subscriptions=Shelf({self.subscription.metadata.name: self.subscription})),
            brakes=Brakes(store=cast("Any", None)),
            queue=SimpleNamespace(add=lambda *_, **__: None),
            events=SimpleNamespace(post=lambda _: None),
            audit=Mortal(self.audit, mortal, "intend"),
            spending=asyncio.Lock(),
            assert_leading=lambda: None,
            epoch=self.epoch,
        ))  # fmt: skip

    async def close(self) -> None:
        await self.api.close()
        await self.audit.close()

    async def ask(self) -> None:
        """What Stripe says is kept, as payments.py does it."""
        found = await self.api.subscription(f"sub_{self.subscription.metadata.uid.removeprefix('uid')}")
        assert found is not None
        seen = known(found[0], asked=found[1])

        def noted(facts: Facts) -> Facts:
            return replace(facts, last_known=wire(newer(read(facts.last_known), seen)))

        uid = self.subscription.metadata.uid
        await self.facts.note(Facts(uid, "tenant", "Active", start_time=NOW), noted, epoch=self.epoch)

    async def judged(self, failure: Failure | None) -> None:
        await unmade.judged(self.world, self.subscription, failure)

    async def turn(self) -> None:
        with suppress(Failure):
            await collecting.turn(self.world)
        await self.ask()


@pytest.fixture
async def scene(db: Any, server: SubscriptionServer, tmp_path: Path) -> AsyncIterator[Scene]:
    server.subscriptions["sub_1"] = subscription(1)
    one = Scene(db, server, tmp_path, NOW)
    await one.open()
    await one.ask()
    yield one
    await one.close()


def subscription(number: int) -> dict[str, Any]:
    return {
        "object": "subscription", "id": f"sub_{number}", "customer": f"cus_{number}", "status": "active",
        "items": {"data": []}, "metadata": {"other": "kept"},
    }  # fmt: skip


FAILED = Blocked("NoServerForLevel", "no server")


async def test_who_gets_nothing_for_a_day_is_not_billed_on_until_he_gets_it(scene, server, db):
    await scene.judged(FAILED)
    scene.now += DAY - timedelta(seconds=1)
    await scene.turn()
    assert server.pauses.asked == []
    scene.now += timedelta(seconds=1)
    for _ in range(3):
        await scene.turn()
    ((one, form, _),) = server.pauses.asked
    assert (one, form) == ("sub_1", {"pause_collection[behavior]": "void", f"metadata[{PAUSED}]": "tests/uid1"})
    assert scene.store.get("uid1").state == "Paused"

    await scene.judged(None)  # it goes through, and the tenant is not Ready yet
    await scene.turn()
    assert len(server.pauses.asked) == 1
    await scene.close()
    scene.ready = True
    await scene.open()
    for _ in range(3):
        await scene.turn()
    assert [form for _, form, _ in server.pauses.asked[1:]] == [{"pause_collection": "", f"metadata[{PAUSED}]": ""}]
    assert (server.pauses.paused, server.pauses.marks["sub_1"]) == ({}, {})
    assert scene.store.all() == ()
    assert await logged(db) == ["stripe.pause", "stripe.resume"]


async def logged(db: Any) -> list[str]:
    async with db.session() as connection:
        found = await connection.execute("SELECT action FROM paybill.audit_log WHERE kind = 'intent' ORDER BY seq")
        return [action for (action,) in await found.fetchall()]


@pytest.mark.parametrize(
    ("failure", "status"),
    [(Retry("ServerAway", "away"), "active"), (None, "active"), (FAILED, "unpaid"), (FAILED, "canceled")],
    ids=["a wait", "nothing failed", "nothing is collected", "it is over"],
)
async def test_nothing_else_pauses(scene, server, failure, status):
    server.subscriptions["sub_1"]["status"] = status
    await scene.ask()
    await scene.judged(failure)
    scene.now += 10 * DAY
    await scene.turn()
    assert server.pauses.asked == []
    # The same where it failed, and is collected:
    server.subscriptions["sub_1"]["status"] = "active"
    await scene.ask()
    await scene.judged(FAILED)
    scene.now += DAY
    await scene.turn()
    assert len(server.pauses.asked) == 1


async def test_a_pause_of_somebody_elses_is_left_alone_also_one_that_comes_between(scene, server):
    await scene.judged(FAILED)
    scene.now += DAY
    server.pauses.by_hand("sub_1", "keep_as_draft")  # after the last answer that is known
    for _ in range(3):
        await scene.turn()
    assert server.pauses.asked == []
    await scene.close()
    scene.ready = True
    await scene.open()
    await scene.turn()
    assert server.pauses.asked == []
    assert server.pauses.paused == {"sub_1": {"behavior": "keep_as_draft"}}


async def test_what_somebody_took_back_is_not_paused_again_and_his_next_pause_is_his(scene, server):
    await scene.judged(FAILED)
    scene.now += DAY
    await scene.turn()
    server.pauses.by_hand("sub_1", None)
    await scene.ask()
    for _ in range(3):
        await scene.turn()
    assert [sorted(form) for _, form, _ in server.pauses.asked[1:]] == [[f"metadata[{PAUSED}]"]]
    server.pauses.by_hand("sub_1", "void")
    await scene.close()
    scene.ready = True
    await scene.open()
    await scene.ask()
    for _ in range(3):
        await scene.turn()
    assert server.pauses.paused == {"sub_1": {"behavior": "void"}}
    assert scene.store.all() == ()


async def test_what_is_over_at_stripe_is_told_nothing_any_more(scene, server):
    await scene.judged(FAILED)
    scene.now += DAY
    await scene.turn()
    server.subscriptions["sub_1"]["status"] = "canceled"
    await scene.close()
    scene.ready = True
    await scene.open()
    await scene.turn()
    assert len(server.pauses.asked) == 1
    assert scene.store.all() == ()


async def test_a_request_is_written_down_before_it_goes_out(scene, db):
    await scene.judged(FAILED)
    scene.now += DAY
    found: list[Any] = []

    async def change(*_: Any, key: str, **__: Any) -> Told:
        async with db.session() as connection:
            rows = await connection.execute("SELECT state, attempts FROM paybill.collection_pauses")
            found.extend([*await rows.fetchall(), *await logged(db), key])
        return Told(outcome="Taken")

    scene.world.payments.api.change_collection = change
    await collecting.turn(scene.world)
    assert found[:2] == [("Pausing", 1), "stripe.pause"]
    assert found[2].startswith("paybill-")


@pytest.mark.parametrize("answer", [403, 400, 500, None], ids=["no right", "refused", "a failure", "a cut"])
async def test_what_is_not_taken_is_asked_for_again_with_another_key(scene, server, answer):
    await scene.judged(FAILED)
    scene.now += DAY
    server.pauses.answers = [answer]
    with suppress(Failure):
        await collecting.turn(scene.world)
    assert scene.store.get("uid1").answer
    await scene.close()
    await scene.open()  # another one, which knows of no trouble
    with suppress(Failure):
        await collecting.turn(scene.world)
    assert len(server.pauses.asked) == 1, "not at once"
    scene.now += timedelta(hours=1)
    await scene.turn()
    row = scene.store.get("uid1")
    assert (row.state, row.answer) == ("Paused", "")
    keys = [key for _, _, key in server.pauses.asked]
    assert len(keys) == len(set(keys)) == (1 if answer is None else 2)


async def test_only_who_leads_tells_anything(scene, server, db):
    await scene.judged(FAILED)
    scene.now += DAY
    await take_epoch(db, holder="another")
    with pytest.raises(Blocked, match="epoch"):
        await collecting.turn(scene.world)
    assert server.pauses.asked == []


@pytest.mark.parametrize("ready", [False, True], ids=["pausing", "resuming"])
async def test_whatever_ends_when_it_is_paused_once_and_resumed_once(db, server, tmp_path, ready):
    """The process ends before and behind every call to the control database, the log and Stripe, in turn."""
    ended, died = 0, True
    for last in range(1, 60):
        server.subscriptions[f"sub_{last}"] = subscription(last)
        server.pauses.asked.clear()
        before = Scene(db, server, tmp_path, NOW)
        await before.open(last)
        await before.ask()
        await before.judged(FAILED)
        before.now += DAY
        if ready:
            await before.turn()
            await before.turn()
        await before.close()

        mortal = Scene(db, server, tmp_path, before.now)
        mortal.ready = ready
        await mortal.open(last, Life(last))
        died = await ends(collecting.turn(mortal.world))
        await mortal.close()
        ended += died

        after = Scene(db, server, tmp_path, before.now + timedelta(hours=2))
        after.ready = ready
        await after.open(last)
        await after.ask()
        for _ in range(3):
            await after.turn()
        await after.close()
        sent = ["Resume" if form.get("pause_collection") == "" else "Pause" for _, form, _ in server.pauses.asked]
        assert sent == (["Pause", "Resume"] if ready else ["Pause"]), f"after an end at {last}"
        assert (f"sub_{last}" in server.pauses.paused) is not ready
        assert (after.store.get(f"uid{last}") is None) is ready
        if not died:
            break
    assert not died, "there were more calls than ends"
    assert ended >= 8
