"""The webhook receiver over HTTP: what is kept, what is refused, and that what it answered 2xx for is never lost."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from datetime import UTC, datetime

import aiohttp
import psycopg
import pytest
from psycopg import sql

from tests.billing.receiving import JSON_TYPE, SECRET, Receiver, event, signed


def inbox(dsn: str) -> list[tuple]:
    with psycopg.connect(dsn) as connection:
        query = "SELECT source, id, type, object, subscription, customer, created_time FROM paybill.inbox ORDER BY id"
        return connection.execute(query).fetchall()


async def test_a_signed_event_is_kept_once_as_ids_and_nothing_else(receiver, control_dsn):
    one = event(created=1_700_000_000)
    assert [await receiver.post(one) for _ in range(3)] == [200, 200, 200]
    when = datetime.fromtimestamp(1_700_000_000, UTC)
    assert inbox(control_dsn) == [
        ("stripe", one["id"], "customer.subscription.updated", "sub_1", "sub_1", "cus_1", when)
    ]
    assert (await receiver.metric("kept"), await receiver.metric("duplicate")) == (1, 2)


async def test_what_cannot_be_trusted_is_refused_and_kept_nowhere(receiver, control_dsn):
    body = json.dumps(event()).encode()
    now = time.time()
    refused = {
        "unsigned": [(body, JSON_TYPE, 400)],
        "signature": [
            (body, signed(body, secret="whsec_another"), 400),
            (body.replace(b"sub_1", b"sub_2"), signed(body), 400),
            (body, JSON_TYPE | {"Stripe-Signature": "t=x,v1=y"}, 400),
            (body, JSON_TYPE | {"Stripe-Signature": f"t={int(now)},v0=00"}, 400),
            (b"\xff\xfe", JSON_TYPE | {"Stripe-Signature": signed(body)["Stripe-Signature"]}, 400),
        ],
        "stale": [(body, signed(body, at=now - 400), 400), (body, signed(body, at=now + 400), 400)],
        "content_type": [
            (body, signed(body) | {"Content-Type": "text/plain"}, 415),
            (body, signed(body) | {"Content-Encoding": "gzip"}, 415),
        ],
        "mode": [(live := json.dumps(event(livemode=True)).encode(), signed(live), 400)],
        "account": [(other := json.dumps(event(account="acct_2")).encode(), signed(other), 400)],
        "body": [
            (b"[]", signed(b"[]"), 400),
            (b"{", signed(b"{"), 400),
            (none := json.dumps(event(data={})).encode(), signed(none), 400),
        ],
    }
    for reason, requests in refused.items():
        for content, headers, status in requests:
            assert await receiver.post(content, headers) == status, reason
        assert await receiver.metric(reason) == len(requests), reason
    assert inbox(control_dsn) == []
    # The same event, as it should be: it was for none of these that it did not get in.
    assert await receiver.post(body, signed(body)) == 200
    assert len(inbox(control_dsn)) == 1
    assert SECRET not in receiver.said


async def test_a_type_that_means_nothing_to_us_is_accepted_and_counted(receiver, control_dsn):
    assert await receiver.post(event("issuing_card.created")) == 200
    assert (inbox(control_dsn), await receiver.metric("ignored")) == ([], 1)


async def test_ten_megabytes_are_refused_before_they_are_read(receiver, control_dsn):
    body = json.dumps(event(filling="x" * 10_000_000)).encode()
    async with (
        aiohttp.ClientSession() as http,
        http.post(receiver.url, data=io.BytesIO(body), headers=signed(body)) as one,
    ):
        assert one.status == 413

    async def chunks():
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    with contextlib.suppress(aiohttp.ClientError):  # it hangs up while we still send
        async with aiohttp.ClientSession() as http, http.post(receiver.url, data=chunks(), headers=signed(body)) as one:
            assert one.status == 413
    assert await receiver.metric("too_large") == 2
    assert inbox(control_dsn) == []


async def test_who_is_slow_is_hung_up_on_and_keeps_nobody_waiting(receiver):
    async def slow(*lines: bytes) -> bytes:
        """Everything that comes until it hangs up, while we say a line and then one byte a second."""
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.ports[0])
        writer.write(b"".join(lines))
        dripping = asyncio.create_task(_drip(writer) if lines else asyncio.sleep(0))
        try:
            return await asyncio.wait_for(reader.read(), 40)
        finally:
            dripping.cancel()
            writer.close()

    head = (b"POST /stripe HTTP/1.1\r\nHost: x\r\n", b"Content-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
    in_head, in_body, silent, quick = await asyncio.gather(
        slow(head[0]), slow(*head), slow(), receiver.post(event())
    )  # fmt: skip
    assert quick == 200
    assert b"408" in in_body.splitlines()[0]
    assert (in_head, silent) == (b"", b"")


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(1)
            writer.write(b"x")


async def test_what_was_answered_with_success_is_there_whenever_the_process_is_killed(receiver, control_dsn):
    told: list[str] = []

    async def send() -> None:
        while True:
            one = event()
            with contextlib.suppress(aiohttp.ClientError):
                if await receiver.post(one) == 200:
                    told.append(one["id"])

    for round_number in range(4):
        before, senders = len(told), [asyncio.create_task(send()) for _ in range(8)]
        while len(told) < before + 10 + 7 * round_number:
            await asyncio.sleep(0.002)
        await receiver.kill()
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        await receiver.start()
    kept = [row[1] for row in inbox(control_dsn)]
    assert set(told) - set(kept) == set(), "lost: answered with success and not in the inbox"
    assert len(kept) == len(set(kept))


async def test_without_its_database_nothing_is_answered_with_success(receiver, control_dsn, role):
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        revoke = sql.SQL("REVOKE USAGE ON SCHEMA paybill FROM {}").format(sql.Identifier(role))
        connection.execute(revoke)
    assert await receiver.post(event()) == 503
    assert await receiver.metric("unavailable") == 1


async def test_its_role_may_add_a_hint_and_do_nothing_else(receiver_dsn, control_dsn, role):
    attempts = (
        "SELECT id FROM paybill.inbox",
        "DELETE FROM paybill.inbox",
        "UPDATE paybill.inbox SET done_time = now()",
        "INSERT INTO paybill.inbox VALUES ('paybill', 's', 'x', 't', '', '', '', now(), now(), now(), 1, '', now())",
        "SELECT 1 FROM paybill.tenants",
        "SELECT 1 FROM paybill.audit_log",
        "CREATE TABLE paybill.mine (x int)",
    )
    with psycopg.connect(receiver_dsn, autocommit=True) as connection:
        for attempt in attempts:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(attempt)
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        # The one protection removed: all of it succeeds.
        connection.execute(sql.SQL("GRANT ALL ON SCHEMA paybill TO {}").format(sql.Identifier(role)))
        connection.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA paybill TO {}").format(sql.Identifier(role)))
    with psycopg.connect(receiver_dsn, autocommit=True) as connection:
        for attempt in attempts:
            connection.execute(attempt)


async def test_a_receiver_whose_role_may_do_more_does_not_start(receiver_dsn, control_dsn, tmp_path, role):
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("GRANT SELECT (id) ON paybill.tenants TO {}").format(sql.Identifier(role)))
    one = Receiver(receiver_dsn, tmp_path)
    await one.start(wait=False)
    assert await one.ended() == 1
    assert "WebhookRoleTooMighty" in one.said


async def test_an_operator_that_is_told_of_a_role_that_is_not_there_says_so(db):
    from paybill.api.failures import Blocked
    from paybill.control.inbox import let_in

    with pytest.raises(Blocked, match="WebhookRoleMissing"):
        await let_in(db, "nobody_made_it")
