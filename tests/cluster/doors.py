"""The operator's doors with something behind them that watches: it sees every effect, by name, and may spoil it.

An effect is a request that writes to the API server (Leases and Events apart: both only say what is known already), or
a round trip to a Postgres that writes, commits included. It is named as one would say it: ``patch namespaces
t-k3x9m2qd``, ``control update paybill.tenants``, ``server script create role``; ``pending`` is what waits for a commit.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol, TypeVar

import psycopg
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ServerDisconnectedError
from psycopg import sql
from psycopg.pq import TransactionStatus

from paybill.api.failures import Failure
from paybill.audit.chain import COLUMNS
from paybill.doors import Doors
from paybill.postgres import PatientConnection

T = TypeVar("T")

VERBS = {"POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}
UNCOUNTED = {"leases", "events"}
WRITES = re.compile(r"(insert into|update|delete from|create|alter|drop|grant|revoke|comment on)\s+([\w.]+)?", re.I)
FENCE = re.compile(r"^with fence as \(.*?\)\s*", re.I | re.S)


class Watcher(Protocol):
    """Who sees the effects."""

    async def effect(
        self, name: str, act: Callable[[], Awaitable[T]], *, lost: Callable[[], Exception], silence: Awaitable[Any]
    ) -> T:
        """Do the effect, or what is to happen instead: ``lost`` makes the error of a broken connection."""
        ...

    def refuse_the_dead(self) -> None:
        """Raise when this process is to be taken for dead: nothing of it may reach the outside any more."""
        ...


def watched(watcher: Watcher, *, seconds: float = 15.0, patience: float = 45.0) -> Doors:
    """The doors of one process; ``seconds`` and ``patience`` are how long Kubernetes and Postgres may be silent."""
    shared = {"watcher": watcher, "patience": patience}
    return Doors(
        around_requests=(_around(watcher),),
        request_seconds=seconds,
        control=type("WatchedControl", (PatientConnection, WatchedConnection), {**shared, "door": "control"}),
        servers=type("WatchedServer", (PatientConnection, WatchedConnection), {**shared, "door": "server"}),
    )


def _around(watcher: Watcher) -> Any:
    async def around(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        name = _name_of_request(request)
        if "/leases" not in request.url.path:  # a dead one's Lease is let go, so that nobody has to wait for it
            watcher.refuse_the_dead()
        if name is None:
            return await handler(request)
        answers: list[ClientResponse] = []

        async def send() -> ClientResponse:
            answers.append(await handler(request))
            return answers[0]

        def lost() -> Exception:
            for answer in answers:
                answer.close()
            return ServerDisconnectedError()

        return await watcher.effect(name, send, lost=lost, silence=_forever())

    return around


def _name_of_request(request: ClientRequest) -> str | None:
    verb = VERBS.get(request.method)
    if verb is None:
        return None
    # /api/v1/… or /apis/group/version/…, then perhaps namespaces/NAME/ of what is inside
    parts = request.url.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    resource, name, sub = (*parts, "", "")[:3]
    return None if resource in UNCOUNTED else f"{verb} {resource}{'/' * bool(sub)}{sub} {name}".rstrip()


async def _forever() -> None:
    await asyncio.Event().wait()


class WatchedConnection(psycopg.AsyncConnection[Any]):
    """Stands under ``PatientConnection``, so that its patience ends what is silent here."""

    watcher: ClassVar[Watcher]
    door: ClassVar[str]
    _written = ""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            self.watcher.refuse_the_dead()
        except Failure:
            self.pgconn.finish()
            if gen.__name__ == "_execute_gen":
                gen.close()
                raise
            return _without_server(gen)
        name = self._name_of(gen)
        if name is None:
            return await super().wait(gen, *args, **kwargs)

        def send() -> Awaitable[Any]:
            return super(WatchedConnection, self).wait(gen, *args, **kwargs)

        def lost() -> Exception:
            gen.close()
            self.pgconn.finish()
            return psycopg.OperationalError("server closed the connection unexpectedly")

        return await self.watcher.effect(name, send, lost=lost, silence=self._until_hung_up())

    async def _until_hung_up(self) -> None:
        """Nothing is heard from the server until our own side shuts the socket."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.pgconn.socket, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self.pgconn.socket)

    @property
    def _in_transaction(self) -> bool:
        return self.info.transaction_status is TransactionStatus.INTRANS

    def _name_of(self, gen: Any) -> str | None:
        given = gen.gi_frame.f_locals
        match gen.__name__:
            case "_execute_gen":
                query = given["query"]
                text = query.as_string(self) if isinstance(query, sql.Composable) else query
                text = text.decode() if isinstance(text, bytes) else text
                said = name_of_statement(text, given.get("params"))
                if said is None:
                    return None
                self._written = said
                return f"{self.door} pending {said}" if self._in_transaction else f"{self.door} {said}"
            case "_exit_gen" | "_commit_gen" if given.get("exc_type") is None:
                written, self._written = self._written, ""
                return f"{self.door} commit {written}" if written and self._in_transaction else None
            case _:
                return None


def _without_server(gen: Any) -> Any:
    """What a round trip comes to on a closed connection by psycopg's own code: nothing, at a transaction's end."""
    try:
        next(gen)
    except StopIteration as done:
        return done.value
    raise psycopg.OperationalError("the connection is closed")


def name_of_statement(text: str, values: Any) -> str | None:
    """What a statement writes; None when it writes nothing."""
    text = text.strip()
    if text.upper().startswith("BEGIN;"):
        first = WRITES.search(text, len("BEGIN;"))
        return f"script {' '.join(filter(None, first.groups())).lower()}" if first else None
    if "pg_terminate_backend" in text:
        return "end sessions"
    text = FENCE.sub("", text)
    found = WRITES.match(text)
    if found is None:
        return None
    said = re.sub(r"\s+", " ", found[0]).lower()
    return _audited(values) if said == "insert into paybill.audit_log" else said


def _audited(values: Any) -> str:
    """``audit intent namespace.apply outcome plan.keep``: what a batch of the audit log says."""
    rows = dict(zip(COLUMNS, values, strict=True))
    told = (f"{kind} {action}" for kind, action in zip(rows["kind"], rows["action"], strict=True))
    return f"audit {', '.join(told)}"
