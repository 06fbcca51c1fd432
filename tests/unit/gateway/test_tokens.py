"""What the gateway makes of the API server's answers: only a token for its own audience stands for anybody."""

import contextlib
import json
from types import SimpleNamespace

import aiohttp
import pytest

from paybill.api.failures import Retry
from paybill.gateway.tokens import LONGEST, MOST_KNOWN, Reviews

OURS = "https://paybill.dev/agents/shop"
BOT = "system:serviceaccount:shop:bot"


class Server:
    """Answers every TokenReview in one way and keeps what it was asked."""

    def __init__(self, status=None, code=201, error=None):
        self.status, self.code, self.error, self.asked = status, code, error, []

    @contextlib.asynccontextmanager
    async def post(self, url, json):
        self.asked.append((url, json["spec"]))
        if self.error is not None:
            raise self.error

        async def answer():
            return {"status": self.status}

        yield SimpleNamespace(status=self.code, json=answer)


def reviews(server, now=lambda: 0.0):
    return Reviews(SimpleNamespace(server="https://api", http=server), OURS, clock=now)


GOOD = {"authenticated": True, "audiences": [OURS], "user": {"username": BOT}}


async def test_a_token_for_this_gateway_stands_for_its_account_and_is_asked_about_once():
    server, now = Server(GOOD), 0.0
    asking = reviews(server, lambda: now)
    assert [await asking.user_of("a.b.c") for _ in range(3)] == [BOT] * 3
    [(url, spec)] = server.asked
    assert url == "https://api/apis/authentication.k8s.io/v1/tokenreviews"
    assert spec == {"token": "a.b.c", "audiences": [OURS]}
    now = 31.0
    assert await asking.user_of("a.b.c") == BOT
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "status",
    [
        None, {}, {**GOOD, "authenticated": False}, {**GOOD, "authenticated": "true"}, {**GOOD, "audiences": []},
        {**GOOD, "audiences": None}, {**GOOD, "audiences": ["https://other"]}, {**GOOD, "user": {}},
    ],
    ids=json.dumps,
)  # fmt: skip
async def test_attack_15_every_other_answer_stands_for_nobody(status):
    assert await reviews(Server(status)).user_of("a.b.c") == ""


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c.d", "ä.b.c", "a.b." + "c" * LONGEST])
async def test_attack_15_what_is_no_token_is_not_asked_about(token):
    server = Server(GOOD)
    assert await reviews(server).user_of(token) == ""
    assert server.asked == []


@pytest.mark.parametrize(
    "server", [Server(code=403), Server(error=aiohttp.ClientError()), Server(error=TimeoutError())]
)
async def test_when_nobody_answers_nobody_is_let_in_and_the_next_one_asks_again(server):
    asking = reviews(server)
    for _ in range(2):
        with pytest.raises(Retry, match="TokenReviewUnavailable"):
            await asking.user_of("a.b.c")
    assert len(server.asked) == 2


async def test_attack_30_no_more_tokens_are_kept_than_fit():
    asking = reviews(Server({**GOOD, "authenticated": False}))
    for number in range(MOST_KNOWN + 50):
        await asking.user_of(f"a.b.{number}")
    assert len(asking._known) == MOST_KNOWN
    assert all(len(key) == 32 for key in asking._known), "hashes, and no token"
