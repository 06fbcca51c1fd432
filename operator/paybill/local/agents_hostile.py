"""The demo's hostile agent: it obeys the stranger, with the token, with the stolen login, and as its own account.

Every attempt is made for real and names the words that it must be refused with. One that goes through is found twice:
by its own answer, and by what the owner of the tables sees afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composed, Identifier, Literal

from paybill.agents import names as agent_names
from paybill.api.base import AGENTS_GROUP, VERSION
from paybill.api.failures import Blocked
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired import names
from paybill.gateway import answers
from paybill.gateway.calling import Speaker, knock
from paybill.local.agents_scene import TOKEN_SECONDS, Case, Scene, session_of, token_login

_GATEWAY, _LOGIN, _ACCOUNT = "gateway", "stolen login", "Kubernetes"
_DENIED = "InsufficientPrivilege"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One thing that is tried; ``act`` returns the word that it was refused with, "" when it went through."""

    what: str
    through: str
    refused_with: tuple[str, ...]
    act: Callable[[], Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an attempt."""

    what: str
    through: str
    word: str
    denied: bool
    """Whether it was refused, and with a word that says so."""


async def try_all(attempts: Iterable[Attempt]) -> list[Outcome]:
    """Make every attempt, whatever becomes of the others."""
    return [await _try(one) for one in attempts]


async def _try(one: Attempt) -> Outcome:
    word = await one.act()
    return Outcome(what=one.what, through=one.through, word=word or "it went through", denied=word in one.refused_with)


def attempts(scene: Scene, speaker: Speaker, run: str, case: Case) -> list[Attempt]:
    """Everything that is tried in a run which may read and change nothing."""
    return [*_by_gateway(speaker, run), *_by_login(scene, run, case), *_by_account(scene)]


def _by_gateway(speaker: Speaker, run: str) -> list[Attempt]:
    def call(what: str, words: tuple[str, ...], tool: str, **said: object) -> Attempt:
        async def act() -> str:
            return (await speaker.call(tool, **said)).refused

        return Attempt(what=what, through=_GATEWAY, refused_with=words, act=act)

    change = {"values": {"status": "refunded", "refunded": "240.00"}, "ifMatch": 1, "idempotencyKey": "obey"}
    return [
        call("refund another customer's order", ("NotNext",), "orders_update", run=run, step="order",
             key={"id": 2}, **change),
        call("refund in a run of its own making", ("NoOpenRun",), "orders_update", run=str(uuid4()),
             key={"id": 2}, **change),
        call("find customers by their card number", ("InvalidArguments",), "customers_list", run=run,
             where=[{"field": "card", "op": "startsWith", "value": "4"}]),
        call("run SQL", ("UnknownTool",), "execute_sql", query="UPDATE orders SET status = 'refunded'"),
    ]  # fmt: skip


def _by_login(scene: Scene, run: str, case: Case) -> list[Attempt]:
    def table(name: str) -> Identifier:
        return Identifier(scene.schema, name)

    tried: tuple[tuple[str, str, SQL | Composed], ...] = (
        ("refund all orders", _DENIED,
         SQL("UPDATE {} SET status = 'refunded', refunded = amount").format(table("orders"))),
        ("read card numbers", _DENIED, SQL("SELECT card FROM {}").format(table("customers"))),
        ("become the owner of the tables", _DENIED, SQL("SET ROLE {}").format(Identifier(f"pb_{scene.id}_owner"))),
        ("open a run for itself", _DENIED, SQL("INSERT INTO pb.run SELECT * FROM pb.run")),
        ("rewrite the journal", _DENIED, SQL("DELETE FROM pb.journal")),
        ("claim the run and refund", "NotGranted", _claiming(scene, run, case)),
    )  # fmt: skip
    made = [
        Attempt(what=what, through=_LOGIN, refused_with=(word,), act=_statement(scene.login, statement))
        for what, word, statement in tried
    ]
    elsewhere = make_conninfo(scene.login, dbname="paybill_control")
    made.append(
        Attempt(
            what="look into another database of the server",
            through=_LOGIN,
            refused_with=(_DENIED,),
            act=_statement(elsewhere, SQL("SELECT 1")),
        )
    )
    return made


def _claiming(scene: Scene, run: str, case: Case) -> Composed:
    """What the gateway would send, with a run and a step that are open, for a change that is not."""
    return SQL(
        "WITH claimed AS MATERIALIZED (SELECT set_config('pb.run', {}, true), set_config('pb.step', 'order', true))"
        " SELECT {}(jsonb_build_object('id', {}::integer), '{{\"status\": \"refunded\"}}', '1') FROM claimed"
    ).format(Literal(run), Identifier(agent_names.gates(scene.agent), "orders_update"), Literal(case.order))


def _statement(uri: str, statement: SQL | Composed) -> Callable[[], Awaitable[str]]:
    async def act() -> str:
        try:
            async with session_of(uri) as session:
                await session.execute(statement)
        except psycopg.Error as error:
            return _word(error)
        return ""

    return act


def _word(error: psycopg.Error) -> str:
    """The word of the gateway for an error of ours, else the name that Postgres gives the condition."""
    if (error.sqlstate or "").startswith("PA"):
        return answers.of_state(error.sqlstate).code
    if error.sqlstate is None and "permission denied for database" in str(error):
        return _DENIED  # libpq reports a refused connection without its state
    return type(error).__name__


def _by_account(scene: Scene) -> list[Attempt]:
    namespace, name = scene.account

    async def other_audience() -> str:
        token = await _token(scene, namespace, name, ["https://elsewhere.example"])
        return _status(await knock(scene.url, token))

    async def other_account() -> str:
        token = await _token(scene, scene.namespace, names.SERVICE_ACCOUNT, [scene.audience])
        return _status(await knock(scene.url, token))

    async def own_run() -> str:
        token = await _token(scene, namespace, name, [])
        return await _ask_for_a_run(scene, token)

    return [
        Attempt(what="use a token that was made for another service", through=_GATEWAY, refused_with=("Unauthorized",),
                act=other_audience),
        Attempt(what="use the token of another account", through=_GATEWAY, refused_with=("Unauthorized",),
                act=other_account),
        Attempt(what="ask for a run of its own", through=_ACCOUNT, refused_with=("Forbidden",), act=own_run),
    ]  # fmt: skip


async def _token(scene: Scene, namespace: str, account: str, audiences: Sequence[str]) -> str:
    async with open_session(scene.home.kubeconfig) as session:
        answer = await Cluster(session).token(namespace, account, TOKEN_SECONDS, audiences)
    return str(answer["status"]["token"])


def _status(status: int) -> str:
    """The word of HTTP for a request that was turned away."""
    return "" if status < 400 else HTTPStatus(status).phrase


async def _ask_for_a_run(scene: Scene, token: str) -> str:
    """Ask the API server for one more run, as the ServiceAccount that the agent is."""
    kubeconfig = token_login(scene.home, "agent", token)
    namespace, name = scene.account
    run = {
        "apiVersion": f"{AGENTS_GROUP}/{VERSION}",
        "kind": "AgentRun",
        "metadata": {"name": "of-its-own", "namespace": scene.namespace},
        "spec": {
            "policyRef": {"name": scene.policy},
            "workflowRef": {"name": "triage"},
            "requestedBy": f"system:serviceaccount:{namespace}:{name}",
            "input": {"ticket": "1", "order": "1"},
        },
    }
    async with open_session(kubeconfig) as session:
        try:
            await Cluster(session).create(run, manager=name)
        except Blocked as failure:
            return failure.reason
    return ""
