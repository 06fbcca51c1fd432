"""What a run that the database leads has come through, and what comes next in it: read where it is kept.

The database moves a run on by itself (leading.sql). Whoever only looks, the controller or a replay, reads the same
story here and may hold it against the interpreter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from paybill.agents.interpreter import Event, Run
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Invalid
from paybill.databases.server import Session


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event as the database keeps it: ``seq`` is its row of the journal, ``effect`` the hash of what it did."""

    seq: int
    event: Event
    effect: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """A run with everything that happened in it, in its order."""

    led: bool
    workflow: AgentWorkflowSpec
    input: Mapping[str, Any]
    opened: datetime
    told: tuple[Told, ...]

    @property
    def run(self) -> Run:
        """The run as the interpreter takes it."""
        return Run(self.workflow, self.input, self.opened)

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened."""
        return tuple(one.event for one in self.told)


_RUN: Final = """
SELECT r.led, w.spec::text, r.input::text, r.opened_time
  FROM pb.run r LEFT JOIN pb.workflow w ON w.hash = r.workflow_hash AND r.led WHERE r.id = %s
"""
_EVENTS: Final = """
SELECT j.seq, j.kind, coalesce(j.step, ''), v.call, v."values"::text, v.error, v.effect
  FROM pb.value v JOIN pb.journal j ON j.run = v.run AND j.seq = v.seq WHERE v.run = %s ORDER BY v.seq
"""


async def story(session: Session, run: UUID) -> Story:
    """What happened in ``run``; ``session`` is the controller's, on the tenant's database.

    Raises ``Invalid("RunNotLed")`` where no workflow leads it, and ``Invalid("ValuesForgotten")`` where it ended so
    long ago that only its journal is kept.
    """
    row = await (await session.execute(_RUN, [run])).fetchone()
    if row is None or not row[0]:
        raise Invalid("RunNotLed", f"run {run} is led through no workflow")
    led, spec, given, opened = row
    if given is None:
        raise Invalid("ValuesForgotten", f"run {run} ended long ago: its values are forgotten, its journal is kept")
    rows = await (await session.execute(_EVENTS, [run])).fetchall()
    return Story(
        led=led,
        workflow=AgentWorkflowSpec.model_validate_json(spec),
        input=_loaded(given),
        opened=opened,
        told=tuple(
            Told(seq=seq, effect=effect, event=_event(kind, step, call, _loaded(values), error))
            for seq, kind, step, call, values, error, effect in rows
        ),
    )


def _event(kind: Any, step: str, call: str, values: Mapping[str, Any], error: str) -> Event:
    return Event(kind=kind, step=step, digest=call, values=values, error=error)


async def standing(session: Session, run: UUID) -> Mapping[str, Any] | None:
    """What comes next, as ``pb.standing`` says it; None for a run that is not led."""
    row = await (await session.execute("SELECT pb.standing(%s)::text", [run])).fetchone()
    return None if row is None or row[0] is None else _loaded(row[0])


async def approve(
    session: Session, run: UUID, step: str, digest: str, *, approval: str, approver: str, denied: bool
) -> None:
    """A person approved, or denied, the call with ``digest``; ``approval`` is what names their word, used once.

    The database raises SQLSTATE PA001 where the run is not open, PA002 where this is not what it waits for, PA005 where
    the approval was used.
    """
    await session.execute("SELECT pb.approve(%s, %s, %s, %s, %s, %s)", [run, step, digest, approval, approver, denied])


def _loaded(text: str) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = json.loads(text, parse_float=Decimal)
    return loaded
