"""What an answer of the API server says about the server, and what everybody does about it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from paybill.api.failures import Retry
from paybill.cluster.breaker import DOUBTS, ApiBreaker, Sign, held_by_budget, read

LEASE = "/apis/coordination.k8s.io/v1/namespaces/paybill-system/leases/paybill-operator"
TENANT = "/apis/paybill.dev/v1alpha1/tenants/acme"


def status(code: int, **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "code": code, "details": details}).encode()


BUDGET = status(429, causes=[{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy"}])

ANSWERS = {
    "found": (200, {}, b"{}", Sign.WELL, 0.0),
    "gone": (404, {}, status(404), Sign.WELL, 0.0),
    "a conflict": (409, {}, status(409), Sign.WELL, 0.0),
    "invalid": (422, {}, status(422), Sign.WELL, 0.0),
    "forbidden": (403, {}, status(403), Sign.WELL, 0.0),
    "a watch too old": (410, {}, status(410), Sign.WELL, 0.0),
    "held by a PodDisruptionBudget": (429, {}, BUDGET, Sign.WELL, 0.0),
    "a budget still being processed": (
        429, {"Retry-After": "10"}, status(429, retryAfterSeconds=10, causes=[{"reason": "DisruptionBudget"}]),
        Sign.WELL, 0.0,
    ),
    "too many requests": (429, {"Retry-After": "1"}, b"Too many requests, please try again later.\n", Sign.BUSY, 1.0),
    "too many, said in the body": (429, {}, status(429, retryAfterSeconds=7), Sign.BUSY, 7.0),
    "a wait that nobody can read": (429, {"Retry-After": "soon"}, b"", Sign.BUSY, 0.0),
    "an error of one object, or of all": (500, {}, status(500), Sign.DOUBTFUL, 0.0),
    "a proxy without a server": (502, {}, b"<html>", Sign.BUSY, 0.0),
    "shutting down": (503, {"Retry-After": "5"}, b"apiserver is shutting down", Sign.BUSY, 5.0),
    "timed out": (504, {}, status(504, retryAfterSeconds=0), Sign.BUSY, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_says_of_the_server(answer):
    code, headers, body, sign, after = answer
    found = read(code, headers, body)
    assert (found.sign, found.after) == (sign, after)


def test_a_budget_is_told_from_a_busy_server_by_its_cause():
    assert held_by_budget(BUDGET)
    assert not held_by_budget(status(429, retryAfterSeconds=1))
    assert not held_by_budget(b"Too many requests, please try again later.\n")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> ApiBreaker:
    return ApiBreaker(clock=clock, chance=lambda: 0.5)


def ask(breaker: ApiBreaker, code: int, path: str = TENANT, method: str = "GET", **headers: str) -> None:
    with breaker.passage(method, path) as passage:
        passage.answered(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def refused(breaker: ApiBreaker, path: str = TENANT) -> Retry:
    with pytest.raises(Retry) as failure:
        breaker.passage("GET", path)
    return failure.value


def test_too_many_requests_pauses_all_for_as_long_as_the_server_asks(breaker, clock):
    ask(breaker, 429, Retry_After="3")
    clock.now = 2.99
    failure = refused(breaker, "/api/v1/namespaces/t-1")
    assert failure.reason == "ApiServerBusy"
    assert "HTTP 429" in failure.message
    assert failure.after is not None
    clock.now = 4.0
    ask(breaker, 200)
    assert not breaker.open


def test_a_server_out_of_reach_pauses_all(breaker):
    with breaker.passage("GET", TENANT) as passage:
        passage.unreachable("GET …: ClientConnectorError")
    assert breaker.open
    assert "ClientConnectorError" in refused(breaker).message


def test_the_lease_passes_and_says_nothing(breaker):
    for _ in range(10):
        ask(breaker, 503, LEASE, "PUT")
    assert not breaker.open
    ask(breaker, 503)
    ask(breaker, 200, LEASE, "PUT")
    assert breaker.open


def test_one_object_that_always_fails_stops_nobody_else(breaker):
    for _ in range(50):
        ask(breaker, 500, TENANT, "PATCH")
    assert not breaker.open


def test_many_objects_that_fail_in_a_row_are_the_servers_trouble(breaker):
    """etcd is full: every write is refused with 500, and reads go on."""
    for number in range(DOUBTS):
        assert not breaker.open
        ask(breaker, 200)
        ask(breaker, 500, f"{TENANT}-{number}", "PATCH")
    assert breaker.open


def test_a_write_that_went_well_in_between_clears_the_doubt(breaker):
    for number in range(10 * DOUBTS):
        ask(breaker, 500, f"{TENANT}-{number}", "PATCH")
        if number % (DOUBTS - 1) == DOUBTS - 2:
            ask(breaker, 200, TENANT, "PATCH")
    assert not breaker.open


def test_a_request_that_is_given_up_leaves_the_probe_to_the_next(breaker, clock):
    ask(breaker, 503)
    clock.now = 60.0
    with pytest.raises(KeyError), breaker.passage("GET", TENANT):
        raise KeyError
    ask(breaker, 200)
    assert not breaker.open


def test_who_is_refused_comes_back_when_it_is_worth_it_and_not_all_at_once(clock):
    chances = iter(number / 100 for number in range(1_000))
    breaker = ApiBreaker(clock=clock, chance=lambda: next(chances))
    ask(breaker, 429, Retry_After="10")
    waits = [refused(breaker).after or 0.0 for _ in range(90)]
    assert min(waits) >= 10.0
    assert max(waits) - min(waits) > 5.0


def test_it_is_logged_once_when_it_opens_and_once_when_it_closes(breaker, clock, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            ask(breaker, 503)
            refused(breaker)
            clock.now += 60.0
        ask(breaker, 200)
    assert [record.message.split(":")[0].split(" for ")[0] for record in caplog.records] == [
        "requests to the API server pause",
        f"the API server answers again after {clock.now:.1f} s",
    ]


def test_what_is_counted(breaker):
    ask(breaker, 503)
    for _ in range(3):
        refused(breaker)
    assert (breaker.troubles, breaker.refused) == (1, 3)


def test_a_check_ahead_costs_no_request_and_takes_no_probe(breaker, clock):
    breaker.check()
    ask(breaker, 503)
    with pytest.raises(Retry, match="ApiServerBusy"):
        breaker.check()
    clock.now = 60.0
    breaker.check()
    ask(breaker, 200)


def test_one_that_is_not_armed_only_counts():
    breaker = ApiBreaker(armed=False)
    for number in range(10):
        ask(breaker, 503, f"{TENANT}-{number}")
    assert not breaker.open
    assert breaker.troubles == 10
