"""What does not get past the guard, and that nobody was asked about a token for it."""

import pytest

from paybill.api.failures import Retry
from paybill.gateway.guard import AGENT, LARGEST_BODY, Guard
from paybill.gateway.rates import Bucket

HEADERS = {"host": "gateway.test", "authorization": "Bearer a.b.c", "content-type": "application/json"}


async def ask(*, method="POST", path="/mcp", body=(b"{}",), who=None, gone=False, **changes):
    """The status of the answer, the body that came through and the tokens that were asked about."""
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    given = [(name.encode(), one.encode()) for name, value in headers.items() if value is not None
             for one in (value if isinstance(value, list) else [value])]  # fmt: skip
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    parts.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False})
    asked, came, sent = [], [], []

    async def whose(token):
        asked.append(token)
        if isinstance(who, Exception):
            raise who
        return "the agent" if who is None else who or None

    async def app(scope, receive, send):
        came.append(((await receive())["body"], scope[AGENT]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    guard = Guard(app, whose, hosts=["Gateway.test"], origins=["https://good.test"])
    await guard({"type": "http", "method": method, "path": path, "headers": given}, receive, send)
    return sent[0]["status"], came, asked


async def test_a_request_gets_through_whole_and_with_its_agent():
    assert await ask(body=(b"{", b"}")) == (200, [(b"{}", "the agent")], ["a.b.c"])
    assert (await ask(origin="https://good.test"))[0] == 200


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (421, {"host": "evil.test"}), (421, {"host": None}), (421, {"host": "gateway.test.evil.test"}),
        (421, {"host": "gateway.test:99"}), (400, {"host": ["gateway.test", "evil.test"]}),
        (403, {"origin": "https://evil.test"}), (403, {"origin": "null"}), (403, {"origin": ""}),
        (404, {"path": "/"}), (404, {"path": "/mcp/"}), (405, {"method": "GET"}), (405, {"method": "DELETE"}),
        (415, {"content_encoding": "gzip"}), (401, {"authorization": None}), (401, {"authorization": "Basic a.b.c"}),
        (401, {"authorization": "Bearer "}), (400, {"authorization": ["Bearer a.b.c", "Bearer d.e.f"]}),
    ],
    ids=str,
)  # fmt: skip
async def test_attack_15_what_is_turned_away_costs_no_question(status, changes):
    assert await ask(**changes) == (status, [], [])


async def test_a_token_of_nobody_is_turned_away_and_so_is_any_while_nobody_can_say():
    assert (await ask(who=""))[:2] == (401, [])
    assert (await ask(who=Retry("TokenReviewUnavailable", "away")))[:2] == (503, [])


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (413, {"content_length": str(LARGEST_BODY + 1)}), (413, {"content_length": "-1"}),
        (413, {"content_length": "9" * 5000}), (413, {"body": (b"x" * LARGEST_BODY, b"x")}),
        (400, {"body": (b"{",), "gone": True}),
    ],
    ids=str,
)  # fmt: skip
async def test_attack_30_a_body_that_is_too_large_or_breaks_off_is_turned_away(status, changes):
    assert (await ask(**changes))[:2] == (status, [])


async def test_attack_30_a_body_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr("paybill.gateway.guard.BODY_SECONDS", 0.01)
    import asyncio

    async def never():
        await asyncio.Event().wait()

    sent = []

    async def send(message):
        sent.append(message)

    async def whose(_):
        return "the agent"

    guard = Guard(never, whose, hosts=["gateway.test"])
    given = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await guard({"type": "http", "method": "POST", "path": "/mcp", "headers": given}, never, send)
    assert sent[0]["status"] == 408


def test_calls_come_back_evenly_and_are_never_more_than_a_minutes():
    now = 0.0
    bucket = Bucket(60, clock=lambda: now)
    assert [bucket.take() for _ in range(61)] == [True] * 60 + [False]
    now = 1.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 10_000.0
    assert sum(bucket.take() for _ in range(100)) == 60
