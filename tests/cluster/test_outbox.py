"""Transitions as other systems hear of them: a real HTTP endpoint that fails, hangs, forgets to answer and is told
twice."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from paybill.cli.outbox import outbox as command
from tests.cluster import samples
from tests.cluster.api import condition
from tests.cluster.waiting import until

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests").decode()
SETTINGS: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def _told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    (folder / "secret").write_text(SECRET)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    SETTINGS.update(events_url=f"http://127.0.0.1:{port}/events", events_secret_file=folder / "secret")


@dataclass
class Listener:
    """An endpoint: ``answers`` are the statuses of the next requests, None hangs; then it takes everything."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    always: int | None = None

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.answers.pop(0) if self.answers else self.always or 204
        if status is None:
            await asyncio.sleep(3600)
        return web.Response(status=status or 204)

    def of(self, tenant: str) -> list[Any]:
        """What was said of a tenant, verified and read by the libraries of both standards."""
        found = []
        for headers, body in self.got:
            Webhook(SECRET).verify(body, headers)
            event = from_structured_event(HTTPMessage(headers, body))
            assert headers["webhook-id"] == event.get_id()
            if event.get_subject() == tenant:
                found.append(event)
        return found

    def turns(self, tenant: str) -> list[str]:
        return [event.get_type() for event in self.of(tenant)]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    one = Listener()
    app = web.Application()
    app.add_routes([web.post("/events", one.take)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = int(SETTINGS["events_url"].split(":")[2].split("/")[0])
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield one
    await runner.cleanup()


def hurry(operator: Any) -> None:
    """What was put off goes out at the next look."""
    operator.clock.offset += timedelta(hours=2)


async def test_each_transition_is_told_once_signed_and_in_the_words_of_cloudevents(
    customers, operator, api, listener, name
):
    await customers.onboard()
    found = await api.get("Subscription", name)
    await until(lambda: listener.turns(name))
    (first,) = listener.of(name)
    assert first.get_type() == "dev.paybill.subscription.active.v1"
    assert first.get_source() == f"/paybill/{operator.settings.installation}"
    assert first.get_id().startswith(f"{found['metadata']['uid']}/active/")
    data = first.get_data()
    assert (data["from"], data["to"], data["access"]) == (None, "Active", "full")
    await api.apply(samples.subscription(name, data["plan"], paid=samples.moment(days=20)))
    await customers.phase(name, "Suspended")
    await until(lambda: len(listener.turns(name)) == 2)
    assert listener.of(name)[1].get_data()["access"] == "suspended"
    operator.look_at("Tenant", name, deep=True)
    await customers.quiet_for(2)
    assert len(listener.turns(name)) == 2


async def test_a_message_that_is_not_taken_goes_out_again_with_the_same_id(customers, operator, listener, name):
    listener.answers = [500, 429, None]
    await customers.onboard()
    for count in (1, 2, 3, 4):
        await until(lambda count=count: len(listener.got) >= count, seconds=40)
        hurry(operator)
        operator.call(lambda world: world.announcing.breaker.__init__(world.announcing.breaker._pauses, lambda: 0.5))
    ids = {event.get_id() for event in listener.of(name)}
    assert len(ids) == 1
    await until(lambda: operator.call(lambda world: not world.announcing.breaker.open))


async def test_a_crash_loses_no_message_and_what_was_sent_before_it_has_the_same_id(
    customers, operator, control, listener, name
):
    await customers.onboard()
    await until(lambda: listener.turns(name))
    operator.crash()
    # As if it had ended between the answer and the note of it.
    await control.execute(
        "UPDATE paybill.outbox SET state = 'Waiting', settled_time = NULL WHERE subject = %s", (name,)
    )
    operator.start()
    await until(lambda: len(listener.turns(name)) == 2)
    assert len({event.get_id() for event in listener.of(name)}) == 1


async def test_who_wants_no_more_gets_dead_letters_which_are_shown_and_sent_again_on_request(
    customers, operator, control_dsn, listener, name
):
    listener.always = 410
    await customers.onboard()
    operator.call(lambda world: setattr(world.announcing, "counted", None))
    found = await customers.until(name, lambda one: condition(one, "Announced"), kind="Subscription", seconds=30)
    assert condition(found, "Announced")["reason"] == "DeadLetters"
    listed = await asyncio.to_thread(
        CliRunner().invoke, command, ["list", "--tenant", name, "--output", "json", "--database", control_dsn]
    )
    (letter,) = json.loads(listed.output)
    assert (letter["state"], letter["answer"]) == ("Dead", "HTTP 410")
    listener.always, listener.got = 204, []
    again = await asyncio.to_thread(CliRunner().invoke, command, ["retry", letter["id"], "--database", control_dsn])
    assert again.exit_code == 0, again.output
    await until(lambda: listener.turns(name))
    operator.call(lambda world: setattr(world.announcing, "counted", None))
    await customers.until(name, lambda one: not condition(one, "Announced"), kind="Subscription")


async def test_a_body_that_was_changed_on_the_way_is_not_what_was_signed(customers, listener, name):
    await customers.onboard()
    await until(lambda: listener.turns(name))
    headers, body = listener.got[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"Active", b"Ended!"), headers)


async def test_a_notice_counts_from_when_it_was_taken_and_nothing_is_archived_before(
    customers, operator, api, control, listener, name
):
    backup = {"store": {"type": "Directory"}, "keySecretRef": {"name": "paybill-backup-key", "key": "current"}}
    await api.apply(samples.cell(name, notices="Outbox", backup=backup))
    ladder = {"graceDays": 1, "endAfterDays": 2, "retainDays": 5, "archiveDays": 6}
    await customers.plan(name, payment=ladder)
    await customers.onboard(plan=name, spec={"cellRef": {"name": name}})
    await until(lambda: listener.turns(name))
    listener.always = 500
    await api.edit("Subscription", name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=90)}}})
    await customers.phase(name, "Ended")

    operator.clock.offset += timedelta(days=5, minutes=1)
    operator.look_at("Tenant", name)
    found = await customers.until(name, lambda one: condition(one, "Ready").get("reason") == "NoticeNotGiven")
    assert "paybill outbox list" in condition(found, "Ready")["message"]

    listener.always = None
    # As `paybill outbox retry` does it: for our clock the message is older than any is tried.
    await control.execute(
        "UPDATE paybill.outbox SET state = 'Waiting', settled_time = NULL, due_time = now() WHERE subject = %s"
        " AND state <> 'Acknowledged'",
        (name,),
    )
    operator.call(lambda world: world.announcing.breaker.__init__(world.announcing.breaker._pauses, lambda: 0.5))
    await until(lambda: "dev.paybill.subscription.archiveScheduled.v1" in listener.turns(name))
    (notice,) = {event.get_id(): event for event in listener.of(name) if "archive" in event.get_type()}.values()
    assert notice.get_data()["archiveTime"] > notice.get_data()["endedTime"]
    assert notice.get_data()["archiveDays"] == 6
    await until(lambda: _taken(control, notice.get_id()))
    operator.look_at("Tenant", name)
    await customers.until(name, lambda one: one["status"]["phase"] == "Archived", kind="Subscription", seconds=60)


async def _taken(control: Any, message: str) -> bool:
    """Whether it is noted that a message was taken."""
    row = await (await control.execute("SELECT state FROM paybill.outbox WHERE id = %s", (message,))).fetchone()
    return row == ("Acknowledged",)
