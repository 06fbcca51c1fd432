"""An agent's calls in its tenant's database: one statement each, as its own login, and nothing but a gate is called.

Run, step and key are set for this one statement, in the same statement: it is a transaction of its own, so effect,
budget and journal are there together or not at all, and nothing is left in the session for the next call.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString, cast
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from paybill.agents import names
from paybill.agents.operations import Operation, Tool
from paybill.agents.runs import FREE
from paybill.api import duration
from paybill.gateway import answers
from paybill.gateway.answers import Problem
from paybill.gateway.mounted import Agent
from paybill.postgres import PatientConnection

WAIT: Final = 2.0
"""Seconds that a call waits for one of the agent's sessions."""
LOOK: Final = 2.0
"""Seconds that a look at the database waits for a session."""
GRACE: Final = 5.0
"""Seconds after its time that a statement's end is waited for."""
_NAME: Final = "paybill-gateway"
_AGAIN: Final = "PA005"
"""Another call with this key was made at the same moment; its answer is there now."""

_ARGUMENTS: Final[Mapping[Operation, tuple[LiteralString, ...]]] = {
    "get": ("key => {}::jsonb",),
    "list": ("conditions => {}::jsonb", "sort => {}::jsonb", "most => {}::integer"),
    "aggregate": ("function => {}::text", "field => {}::text", "grouped => {}::text", "conditions => {}::jsonb"),
    "create": ("given => {}::jsonb",),
    "update": ("key => {}::jsonb", "given => {}::jsonb", "matched => {}::text"),
    "delete": ("key => {}::jsonb",),
}
_SAID: Final[Mapping[Operation, tuple[str, ...]]] = {
    "get": ("key",),
    "list": ("where", "sort", "limit"),
    "aggregate": ("function", "field", "groupBy", "where"),
    "create": ("values",),
    "update": ("key", "values", "ifMatch"),
    "delete": ("key",),
}
_PLAIN: Final = ("limit", "function", "field", "groupBy")
"""What goes as it is; everything else is JSON."""


class Unmade(Exception):  # noqa: N818 - an answer, and no error of ours
    """A call came to nothing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: ``said`` is what the agent said, as JSON has it."""

    run: UUID
    tool: Tool
    said: Mapping[str, Any]
    key: str = ""
    step: str = FREE


class Database:
    """One agent's sessions."""

    def __init__(self, agent: Agent) -> None:
        self._gates = names.gates(agent.policy.agent)
        timeout = duration.parse(agent.policy.limits.statement_timeout).total_seconds()
        self._statements: dict[str, Composed] = {}
        self._at_work = 0
        options = (
            f"-c statement_timeout={int(timeout * 1000)} -c idle_in_transaction_session_timeout=5000"
            " -c search_path=pg_catalog,pg_temp -c TimeZone=UTC -c DateStyle=ISO"
        )
        connection = type("Session", (PatientConnection,), {"patience": timeout + GRACE})
        self.pool: AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            agent.uri, open=False, connection_class=connection, check=_alive, timeout=WAIT, name=agent.policy.agent,
            min_size=1, max_size=agent.policy.limits.connections, max_waiting=4 * agent.policy.limits.connections,
            kwargs={"autocommit": True, "connect_timeout": 5, "options": options, "application_name": _NAME},
        )  # fmt: skip

    async def open(self) -> None:
        """Begin to connect; a server that is away is tried again and again."""
        await self.pool.open()

    def log_in_with(self, uri: str) -> None:
        """New sessions log in with that. The server does not end those that are there for a changed password."""
        self.pool.conninfo = uri

    async def close(self) -> None:
        """End every session."""
        await self.pool.close(timeout=5)

    async def reached(self) -> bool:
        """Whether the database answers the agent's login, or all of its sessions are at work there."""
        try:
            async with self._session(LOOK) as session:
                await session.execute("SELECT 1")
        except PoolTimeout:
            return self._at_work > 0
        except psycopg.Error:
            return False
        return True

    @contextlib.asynccontextmanager
    async def _session(self, seconds: float = WAIT) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        """One of the agent's sessions; the pool counts those that it only tries to open as well, so we count ours."""
        async with self.pool.connection(timeout=seconds) as session:
            self._at_work += 1
            try:
                yield session
            finally:
                self._at_work -= 1

    async def make(self, call: Call) -> list[Any]:
        """Make the call; returns what its gate answered, decoded. Raises Unmade."""
        values = [str(call.run), call.step, call.key, *map(_value, _SAID[call.tool.operation], _given(call))]
        return await self.ask(self._statement(call.tool), values)

    async def ask(self, statement: Composed | SQL, values: Sequence[Any]) -> list[Any]:
        """Execute one statement of ours; returns its rows of one column of JSON, decoded. Raises Unmade."""
        for last in (False, True):
            try:
                return await self._asked(statement, values)
            except psycopg.Error as error:
                if error.sqlstate == _AGAIN and not last:
                    continue
                raise Unmade(answers.of_state(error.sqlstate)) from None
        raise AssertionError("the second attempt ends in one way or the other")

    async def _asked(self, statement: Composed | SQL, values: Sequence[Any]) -> list[Any]:
        try:
            async with self._session() as session:
                cursor = await session.execute(statement, values, prepare=True)
                rows = await cursor.fetchall()
        except PoolTimeout as error:
            raise Unmade(answers.BUSY if self._at_work else answers.AWAY) from error
        except psycopg.errors.OperationalError as error:
            if error.sqlstate is None:
                raise Unmade(answers.AWAY) from None
            raise
        return [json.loads(row) if row is not None else None for (row,) in rows]

    def _statement(self, tool: Tool) -> Composed:
        made = self._statements.get(tool.name)
        if made is None:
            gate = Identifier(self._gates, f"{tool.collection}_{tool.operation}")
            arguments = SQL(", ").join(SQL(one).format(SQL("%s")) for one in _ARGUMENTS[tool.operation])
            # Materialized: the settings are there before the gate is called, and nobody leaves them out.
            made = self._statements[tool.name] = SQL(
                "WITH claimed AS MATERIALIZED (SELECT set_config('pb.run', %s, true), set_config('pb.step', %s, true),"
                " set_config('pb.key', %s, true)) SELECT ({}({}))::text FROM claimed"
            ).format(gate, arguments)
        return made


def _given(call: Call) -> list[Any]:
    return [call.said.get(name) for name in _SAID[call.tool.operation]]


def _value(name: str, value: Any) -> Any:
    if name == "where" or name == "sort":
        return json.dumps(value or [])
    if name == "ifMatch":
        return value if value is None or isinstance(value, str) else json.dumps(value)
    return value if name in _PLAIN else json.dumps(value)


async def _alive(session: psycopg.AsyncConnection[Any]) -> None:
    """Whether the server hung up while the session was idle: a look at the socket, without a round trip."""
    if not cast("PatientConnection[Any]", session).alive:
        await session.close()  # or the pool would offer it again and again
        raise psycopg.OperationalError("the server hung up")
