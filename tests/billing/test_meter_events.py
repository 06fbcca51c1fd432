"""Use on a bill: each hour once, whatever ends when; over the wire to an endpoint that refuses what Stripe refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paybill.api.failures import Blocked
from paybill.api.plan import Meter
from paybill.billing.stripe_api import StripeApi
from paybill.control import take_epoch
from paybill.control.meter_events import MeterStore
from paybill.control.usage import UsageRow, write_usage
from paybill.lifecycle import meters
from paybill.lifecycle.meters import HOUR, Billable
from paybill.reconcile.reporting import count, send
from tests.billing.meters import MeterServer
from tests.billing.mortal import Life, Mortal, ends

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
STORAGE = Meter.model_validate({"provider": "Stripe", "event": "storage", "usage": "Storage", "unit": "1Mi"})
ROWS = Meter.model_validate({"provider": "Stripe", "event": "rows", "usage": "Rows"})
READY = START - timedelta(days=50)


class Clock:
    def __init__(self) -> None:
        self.time = START + meters.FINAL_AFTER

    def __call__(self) -> datetime:
        return self.time


def contract(number: int = 1, *told: Meter, **more: Any) -> Billable:
    values = {"since": READY, "until": None, "customer": f"cus_{number}", **more}
    return Billable(subscription_uid=f"uid{number}", tenant_id=f"tenant{number}", meters=told or (STORAGE,), **values)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[MeterServer]:
    one = MeterServer(clock)
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def api(server: MeterServer, tmp_path: Path) -> AsyncIterator[StripeApi]:
    one = door(server, tmp_path)
    yield one
    await one.close()


def door(server: MeterServer, folder: Path) -> StripeApi:
    (folder / "key").write_text("sk_test_x\n")
    return StripeApi(folder / "key", url=server.url)


@pytest.fixture
def store(db: Any) -> MeterStore:
    return MeterStore(db, "tests")


async def used(db: Any, epoch: int, hour: int, megabytes: int | None, number: int = 1, rows: int | None = None) -> None:
    """What a tenant used in an hour from the start on."""
    size = None if megabytes is None else megabytes * 2**20
    row = UsageRow(
        tenant_id=f"tenant{number}", hour=START + hour * HOUR, bytes=size, rows=rows, connections=0, transactions=None
    )
    await write_usage(db, [row], epoch=epoch)


async def turn(store: Any, api: Any, clock: Clock, epoch: int, *contracts: Billable) -> None:
    await count(store, contracts or (contract(),), clock.time, epoch=epoch)
    while await send(store, api, clock.time, epoch=epoch):
        pass


async def rows(db: Any, columns: str = "state") -> list[Any]:
    async with db.transaction() as connection:
        found = await connection.execute(f"SELECT {columns} FROM paybill.meter_events ORDER BY hour, meter, id")
        return list(await found.fetchall())


async def test_each_hour_is_told_once_it_is_over_in_units_that_are_rounded_up(db, epoch, store, api, server, clock):
    await turn(store, api, clock, epoch)
    await used(db, epoch, 0, 100)
    await used(db, epoch, 1, 3)
    clock.time += HOUR
    await turn(store, api, clock, epoch)
    assert server.asked == [], "the hour in which a meter is seen first is not told"
    clock.time += HOUR - timedelta(seconds=1)
    await turn(store, api, clock, epoch)
    assert server.asked == [], "an hour is told when nothing is added to it any more"
    clock.time += timedelta(seconds=1)
    await turn(store, api, clock, epoch)
    await turn(store, api, clock, epoch)
    (form,) = server.asked
    assert form["payload[value]"] == "3"
    assert int(form["timestamp"]) == int((START + HOUR).timestamp())
    assert server.bill() == {("cus_1", "storage"): 3}


async def seen(db: Any, epoch: int, store: Any, api: Any, clock: Clock, *contracts: Billable) -> None:
    """The meters are known, and an hour has passed."""
    await turn(store, api, clock, epoch, *contracts)
    clock.time += HOUR


async def test_an_operator_that_was_away_for_days_tells_every_hour_of_them(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    for hour in range(1, 51):
        await used(db, epoch, hour, hour)
    clock.time += 50 * HOUR
    await turn(store, api, clock, epoch)
    assert server.bill() == {("cus_1", "storage"): sum(range(1, 51))}


async def test_what_no_catalog_can_tell_is_no_event_and_nothing_is_one(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, None)
    await used(db, epoch, 2, 0)
    clock.time += 2 * HOUR
    await turn(store, api, clock, epoch)
    assert [form["payload[value]"] for form in server.asked] == ["0"]


@pytest.mark.parametrize("answer", [500, 429, None], ids=["a failure", "too many", "a cut after it was taken"])
async def test_an_answer_that_is_lost_makes_no_second_hour(db, epoch, store, server, clock, answer, tmp_path):
    api = door(server, tmp_path)
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, 7)
    clock.time += HOUR
    server.answers = [answer]
    await turn(store, api, clock, epoch)
    await api.close()
    assert await rows(db) == [("Waiting",)]
    clock.time += meters.LONGEST_PAUSE
    api = door(server, tmp_path)  # another one, which knows of no trouble
    await turn(store, api, clock, epoch)
    await api.close()
    assert len(server.asked) == 2
    assert server.bill() == {("cus_1", "storage"): 7}
    assert await rows(db) == [("Sent",)]


async def test_what_may_have_arrived_a_day_ago_is_not_told_again(db, epoch, store, server, clock, tmp_path):
    api = door(server, tmp_path)
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, 7)
    clock.time += HOUR
    server.answers = [None]
    await turn(store, api, clock, epoch)
    await api.close()
    clock.time += timedelta(hours=25)
    api = door(server, tmp_path)
    await turn(store, api, clock, epoch)
    assert server.bill() == {("cus_1", "storage"): 7}
    assert await rows(db) == [("Unsure",)]
    # The same without that care: the provider has forgotten the name by now, and counts it twice.
    async with db.transaction() as connection:
        await connection.execute(
            "UPDATE paybill.meter_events SET state = 'Waiting', settled_time = NULL, tried_time = NULL"
        )
    await turn(store, api, clock, epoch)
    await api.close()
    assert server.bill() == {("cus_1", "storage"): 14}


async def test_what_is_refused_waits_is_shown_and_goes_out_when_it_is_mended(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    for hour in (1, 2, 3):
        await used(db, epoch, hour, hour)
    clock.time += 3 * HOUR
    server.meters.clear()
    await turn(store, api, clock, epoch)
    assert len(server.asked) == 1, "one hour asks for the others"
    found = (await store.untold())["uid1"]
    assert (found.refused, found.lost) == (3, 0)
    assert found.words == "No active meter found for event name storage."
    await turn(store, api, clock, epoch)
    assert len(server.asked) == 1
    server.meters.add("storage")
    clock.time += meters.LONGEST_PAUSE
    await turn(store, api, clock, epoch)
    assert server.bill() == {("cus_1", "storage"): 6}
    assert await store.untold() == {}


async def test_a_key_that_is_refused_loses_nothing(db, epoch, store, server, clock, tmp_path):
    api = door(server, tmp_path)
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, 7)
    clock.time += HOUR
    server.answers = [401]
    await turn(store, api, clock, epoch)
    assert "key" in (await store.untold())["uid1"].words
    clock.time += timedelta(days=2)
    await turn(store, api, clock, epoch)
    await api.close()
    assert server.bill() == {("cus_1", "storage"): 7}


async def test_an_hour_that_stripe_would_not_take_any_more_is_given_up_and_told(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, 7)
    await used(db, epoch, 2, 8)
    clock.time = START + HOUR + meters.TOLD_WITHIN
    await turn(store, api, clock, epoch)
    assert server.bill() == {("cus_1", "storage"): 8}
    assert await rows(db) == [("Expired",), ("Sent",)]
    assert (await store.untold())["uid1"].lost == 1


async def test_hours_before_ready_and_after_the_end_are_not_told(db, epoch, store, api, server, clock):
    def one(**more: Any) -> Billable:
        return contract(1, **more)

    await seen(db, epoch, store, api, clock, one(since=None))
    for hour in range(1, 9):
        await used(db, epoch, hour, 1 << hour)
    clock.time = START + 3 * HOUR + meters.FINAL_AFTER
    await turn(store, api, clock, epoch, one(since=None))
    assert server.asked == []
    clock.time = START + 9 * HOUR + meters.FINAL_AFTER
    ready, ended = START + timedelta(hours=4, minutes=30), START + timedelta(hours=6, minutes=30)
    await turn(store, api, clock, epoch, one(since=ready, until=ended))
    assert server.bill() == {("cus_1", "storage"): (1 << 4) + (1 << 5) + (1 << 6)}


async def test_who_comes_back_does_not_pay_for_the_time_between(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    for hour in range(1, 5):
        await used(db, epoch, hour, 1 << hour)
    clock.time = START + 4 * HOUR + meters.FINAL_AFTER
    await turn(store, api, clock, epoch, contract(until=START + 2 * HOUR))
    clock.time += HOUR
    await turn(store, api, clock, epoch)
    assert server.bill() == {("cus_1", "storage"): (1 << 1) + (1 << 4)}


async def test_a_meter_that_was_taken_off_its_plan_and_put_back_counts_anew(db, epoch, store, api, server, clock):
    both = contract(1, STORAGE, ROWS)
    await seen(db, epoch, store, api, clock, both)
    for hour in range(1, 6):
        await used(db, epoch, hour, 1, rows=10)
    clock.time = START + 2 * HOUR + meters.FINAL_AFTER
    await turn(store, api, clock, epoch, both)
    await turn(store, api, clock, epoch, contract(1, ROWS))
    clock.time += 2 * HOUR
    await turn(store, api, clock, epoch, both)
    clock.time += 2 * HOUR
    await turn(store, api, clock, epoch, both)
    assert server.bill() == {("cus_1", "storage"): 1 + 1, ("cus_1", "rows"): 50}


async def test_a_contract_of_which_something_is_not_known_keeps_its_hours(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, 5)
    clock.time += HOUR
    await count(store, (), clock.time, epoch=epoch)  # its Plan is gone, or its provider never answered
    clock.time += 40 * HOUR
    await turn(store, api, clock, epoch)
    assert server.bill() == {("cus_1", "storage"): 5}


async def test_a_customers_meter_is_told_one_hour_after_the_other_also_for_two_tenants(
    db, epoch, store, api, server, clock
):
    both = contract(1, customer="cus_9"), contract(2, customer="cus_9")
    await seen(db, epoch, store, api, clock, *both)
    for number in (1, 2):
        for hour in range(1, 6):
            await used(db, epoch, hour, number, number)
    clock.time += 5 * HOUR
    await turn(store, api, clock, epoch, *both)
    assert server.most == 1
    assert server.bill() == {("cus_9", "storage"): 15}


async def test_only_who_leads_counts_or_sends(db, epoch, store, api, server, clock):
    await seen(db, epoch, store, api, clock)
    await used(db, epoch, 1, 5)
    clock.time += HOUR
    await count(store, [contract()], clock.time, epoch=epoch)
    await take_epoch(db, holder="another")
    with pytest.raises(Blocked, match="epoch"):
        await send(store, api, clock.time, epoch=epoch)
    assert server.asked == []
    clock.time += HOUR
    with pytest.raises(Blocked, match="epoch"):
        await count(store, [contract()], clock.time, epoch=epoch)


async def test_whatever_ends_when_each_hour_is_on_the_bill_once(db, store, server, clock, tmp_path):
    """The process ends before and behind every call to the control database and to Stripe, one after the other."""
    ended = 0
    for last in range(1, 200):
        number, begin = last, clock.time
        known = contract(number, STORAGE, ROWS)
        epoch = await take_epoch(db, holder=f"first {last}")
        api = door(server, tmp_path)
        await count(store, [known], clock.time, epoch=epoch)
        hours = round((begin - meters.FINAL_AFTER - START) / HOUR) + 1
        for hour in (hours, hours + 1):
            await used(db, epoch, hour, 3, number, rows=5)
        clock.time += 3 * HOUR
        life = Life(last)
        died = await ends(turn(Mortal(store, life), Mortal(api, life), clock, epoch, known))
        await api.close()
        ended += died
        clock.time += timedelta(minutes=1)
        next_one = door(server, tmp_path)
        epoch = await take_epoch(db, holder=f"second {last}")
        await turn(store, next_one, clock, epoch, known)
        await next_one.close()
        bill = server.bill()
        assert bill[f"cus_{number}", "storage"] == 6, f"after an end at {last}"
        assert bill[f"cus_{number}", "rows"] == 10, f"after an end at {last}"
        if not died:
            break
    assert not died, "there were more calls than ends"
    assert ended > 20
    assert {state for (state,) in await rows(db)} == {"Sent"}
