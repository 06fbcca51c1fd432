"""Tries attacks as the canaries' logins, one after the other in the same few sessions, and says how each one ended.

An error proves a denial only if it is the one that the protection gives: a check whose tables are missing would
otherwise find everything denied. Any other error leaves the question open, and the check says so instead of answering.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg.pq import TransactionStatus

from paybill.api.failures import Retry
from paybill.databases.failures import translated
from paybill.databases.server import Session
from paybill.isolation.attacks import NOTHING, THROUGH, Attack
from paybill.isolation.canaries import Canary, Scene
from paybill.isolation.results import Ending, Result

_GONE: Final = ("08", "57P")
"""Classes of SQLSTATE that say that the server or the session went away."""


class Logins:
    """The sessions of a check: one per login, opened when it is first needed and as new for every attack."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._open: dict[str, Session] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._open.values():
            await session.close()

    async def session(self, canary: Canary, suffix: str) -> Session:
        """A session of a canary in which nothing was done or set before."""
        login = canary.login(suffix)
        session = self._open.get(login)
        if session is None or session.closed:
            session = self._open[login] = await canary.connect(suffix)
        return session

    async def close(self, canary: Canary, suffix: str) -> None:
        """End the session of a login, where it has one."""
        session = self._open.pop(canary.login(suffix), None)
        if session is not None:
            await session.close()


async def attempt(attack: Attack, logins: Logins) -> Result:
    """Try one attack and take it back.

    Raises ``Retry("IsolationUnclear")`` when it ended in another way than denied or in success, and what the loss of
    the server is otherwise.
    """
    scene = logins.scene
    ended, said = await outcome(attack, logins)
    if ended == attack.denied:
        return result(scene, attack, "denied", said)
    if ended in (attack.succeeds, THROUGH):
        return result(scene, attack, "succeeded", said)
    raise unclear(scene, str(attack), said)


async def outcome(attack: Attack, logins: Logins) -> tuple[str, str]:
    """What an attack ended with (an SQLSTATE, NOTHING or THROUGH), and the same in words."""
    scene = logins.scene
    session = await logins.session(scene.attacker, attack.login)
    try:
        return await _tried(session, attack.statement.format(**scene.names))
    except psycopg.OperationalError as error:
        if (error.sqlstate or "08").startswith(_GONE):
            raise translated(scene.server.name, error) from error
        return error.sqlstate or "", words(error)
    except psycopg.Error as error:
        return error.sqlstate or "", words(error)
    finally:
        await forget(session)


async def _tried(session: Session, statement: str) -> tuple[str, str]:
    await session.execute("BEGIN")
    cursor = await session.execute(statement.encode())
    while cursor.nextset():
        pass
    if cursor.description and cursor.rowcount == 0:
        return NOTHING, "no row"
    return THROUGH, f"went through: {cursor.statusmessage}"


async def forget(session: Session) -> None:
    """Take back what was done and set in a session; one in which that fails is closed."""
    try:
        if session.info.transaction_status is not TransactionStatus.IDLE:
            await session.execute("ROLLBACK")
        await session.execute("DISCARD ALL")
    except psycopg.Error:
        with contextlib.suppress(psycopg.Error):
            await session.close()


def words(error: psycopg.Error) -> str:
    """The server's primary message with its code: no detail, which may hold values."""
    said = error.diag.message_primary or (str(error).strip().splitlines() or [type(error).__name__])[-1]
    # Of a login that was refused libpq also says where the server is.
    return f"{error.sqlstate}: {said}" if error.sqlstate else said.rpartition("FATAL:")[2].strip()


def result(scene: Scene, attack: Attack, ending: Ending, evidence: str) -> Result:
    """The result of an attack in a scene."""
    return Result(level=scene.level, number=attack.number, name=attack.name, result=ending, evidence=evidence)


def unclear(scene: Scene, attack: str, said: str) -> Retry:
    """The failure of a check that could not tell whether an attack is denied."""
    return Retry(
        "IsolationUnclear",
        f"server {scene.server.name}: attack {attack} ended neither denied nor in success ({said}): nothing is proved",
    )
