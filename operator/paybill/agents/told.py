"""People's words about an agent's calls, as the tenant's database keeps them: each is told to one run, once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg

from paybill.agents import leading
from paybill.api.failures import Retry
from paybill.databases.server import Session

_MOVED_ON: Final = ("PA001", "PA002", "PA005")
"""The run is not open, waits for another thing, or has this Approval already."""
_TIME: Final = "SELECT time FROM pb.approval WHERE run = %s AND approval = %s"


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a person said of the call with the digest ``call``; ``approval`` is the UID of their Approval."""

    run: UUID
    step: str
    call: str
    approval: str
    approver: str
    denied: bool


async def when(session: Session, run: UUID, approval: str) -> datetime | None:
    """When the Approval with this UID was told to ``run``; None when it was not."""
    there = await (await session.execute("SELECT to_regclass('pb.approval') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return None  # no run was ever led here
    row = await (await session.execute(_TIME, [run, approval])).fetchone()
    return row[0] if row is not None else None


async def tell(session: Session, word: Word) -> None:
    """Have the database take the word; raises ``Retry("Conflict")`` when the run has moved on meanwhile."""
    try:
        await leading.approve(
            session, word.run, word.step, word.call, approval=word.approval, approver=word.approver, denied=word.denied
        )
    except psycopg.Error as error:
        if error.sqlstate not in _MOVED_ON:
            raise
        raise Retry("Conflict", f"run {word.run} moved on while it was told of an Approval", after=0.5) from error
