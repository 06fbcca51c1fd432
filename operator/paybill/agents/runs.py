"""Opens runs, lets their steps do something, and closes them: what the controller does and no agent can.

A run is a row in the tenant's database, because that is where it holds: whoever has an agent's login can do what comes
next in its open runs, or in one that no workflow leads what its open steps still allow, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Blocked, Retry
from paybill.audit.links import Head
from paybill.databases.server import Session

FREE: Final = "*"
"""The step of a run that no workflow leads: the agent chooses its calls. No step of a workflow can be named so."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may use at most; ``time`` from its opening."""

    calls: int
    rows_read: int
    rows_written: int
    time: timedelta


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What one step may do: ``rows`` at once, ``calls`` times."""

    step: str
    collection: str
    operation: str
    calls: int
    rows: int


_OPEN = """
INSERT INTO pb.run (id, role, workflow_hash, policy_hash, schema_hash, opened_time, deadline,
                    max_calls, max_rows_read, max_rows_written)
SELECT %(id)s, a.role, %(workflow)s, a.policy_hash, a.schema_hash, c.now, c.now + %(time)s,
       %(calls)s, %(rows_read)s, %(rows_written)s
  FROM pb.agent a, (SELECT clock_timestamp()) c (now) WHERE a.role = %(role)s
ON CONFLICT (id) DO NOTHING RETURNING 1
"""
_KEEP = """
INSERT INTO pb.workflow SELECT pb.digest(pb.canonical(spec)), spec, pb.named(spec) FROM (SELECT %s::jsonb) w (spec)
ON CONFLICT DO NOTHING
"""
_LEAD = """
UPDATE pb.run r SET led = true, input = i.input, walk = pb.begun(
         (SELECT w FROM pb.workflow w WHERE w.hash = r.workflow_hash), i.input)
  FROM (SELECT %s::jsonb) i (input) WHERE r.id = %s
"""
_OPEN_RUNS = "SELECT count(*) FROM pb.run WHERE role = %s AND closed_time IS NULL AND deadline > clock_timestamp()"
_APPEND = "SELECT pb.append(%s, %s, %s, NULL, NULL, NULL, %s, NULL)"
_OPEN_DAY = """
UPDATE pb.agent SET read_day = (clock_timestamp() AT TIME ZONE 'UTC')::date,
       read_ceiling = COALESCE(pg_sequence_last_value(format('pb.%%I', reads)::regclass), 0) + rows_read_per_day
 WHERE role = %s AND read_day <> (clock_timestamp() AT TIME ZONE 'UTC')::date RETURNING 1
"""
_LOOK = """
SELECT r.opened_time, r.deadline, r.closed_time,
       (SELECT j.digest FROM pb.journal j WHERE j.run = r.id AND j.kind = 'closed'), r.deadline <= clock_timestamp(),
       r.workflow_hash, r.policy_hash, a.policy_hash, ARRAY[r.calls, r.rows_read, r.rows_written],
       ARRAY[r.max_calls, r.max_rows_read, r.max_rows_written], r.seq, r.head, r.schema_hash <> a.schema_hash,
       coalesce((to_jsonb(r) ->> 'led')::boolean, false),
       (SELECT j.time FROM pb.journal j WHERE j.run = r.id AND j.seq = r.seq)
  FROM pb.run r JOIN pb.agent a ON a.role = r.role WHERE r.id = %s AND r.role = %s
"""
_FORGET = """
WITH answers AS (DELETE FROM pb.answer a USING pb.run r
                  WHERE r.id = a.run AND r.role = %(role)s AND r.closed_time < clock_timestamp() - interval '2 days'),
     old AS (UPDATE pb.run r SET input = NULL, walk = NULL WHERE r.role = %(role)s AND r.walk IS NOT NULL
                AND r.closed_time < clock_timestamp() - interval '30 days' RETURNING r.id),
     forgotten AS (DELETE FROM pb.value v USING old WHERE v.run = old.id)
DELETE FROM pb.usage WHERE role = %(role)s AND start < clock_timestamp() - interval '2 days'
"""


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The workflow that a run is led through, and what it is begun with."""

    workflow: AgentWorkflowSpec
    input: Mapping[str, Any]


async def open_run(
    session: Session, run: UUID, role: str, workflow: str | Lead, budget: Budget, grants: Iterable[Grant]
) -> bool:
    """Open ``run`` for the agent whose login is ``role`` with its first steps; False when it is there already.

    ``workflow`` is what the database leads it through, or the hash of a workflow that nobody leads it through. Raises
    ``Blocked("AgentUnknown")``, ``Retry("TooManyRuns")`` where as many are open as the policy says.
    """
    revision = workflow.workflow.revision if isinstance(workflow, Lead) else workflow
    values = {
        "id": run, "role": role, "workflow": revision, "time": budget.time, "calls": budget.calls,
        "rows_read": budget.rows_read, "rows_written": budget.rows_written,
    }  # fmt: skip
    async with session.transaction():
        if not await _room(session, run, role):
            return False
        if await (await session.execute(_OPEN.encode(), values)).fetchone() is None:
            return False
        if isinstance(workflow, Lead):
            await session.execute(_KEEP, [Jsonb(workflow.workflow.wire())])
            await session.execute(_LEAD, [Jsonb(dict(workflow.input)), run])
        await session.execute(_APPEND, [run, "opened", None, revision])
        await grant(session, run, grants)
    return True


async def _room(session: Session, run: UUID, role: str) -> bool:
    """Whether ``run`` is to be opened: False when it is there already."""
    # Locked, so that two that are opened at once are counted one after the other.
    locked = await session.execute("SELECT open_runs FROM pb.agent WHERE role = %s FOR NO KEY UPDATE", [role])
    if (known := await locked.fetchone()) is None:
        raise Blocked("AgentUnknown", f"no plan of an agent with login {role} was carried out here")
    if await (await session.execute("SELECT 1 FROM pb.run WHERE id = %s", [run])).fetchone() is not None:
        return False
    row = await (await session.execute(_OPEN_RUNS, [role])).fetchone()
    if row is not None and row[0] >= known[0]:
        said = f"{row[0]} runs of this agent are open, as many as limits.openRuns says: one more waits for their end"
        raise Retry("TooManyRuns", said, after=60.0)
    return True


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a run stands; ``used`` and ``limits`` are of calls, rows read, rows written; ``ending`` as it was closed."""

    opened: datetime
    deadline: datetime
    closed: datetime | None
    ending: str | None
    over: bool
    """Whether its time has come, by the database's own clock."""
    workflow: str
    policy: str
    current_policy: str
    """The hash of the policy that the agent has now: a run of another one is refused every call."""
    used: tuple[int, int, int]
    limits: tuple[int, int, int]
    head: Head
    schema_changed: bool
    """Whether the agent's policy was carried out for other tables since: a run of before is refused every call too."""
    led: bool
    """Whether the database leads it through its workflow."""
    newest: datetime
    """When the newest entry of its journal was made."""


async def look(session: Session, run: UUID, role: str) -> Standing | None:
    """How the run of the agent with login ``role`` stands; None when it was never opened here."""
    there = await (await session.execute("SELECT to_regclass('pb.run') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return None
    row = await (await session.execute(_LOOK, [run, role])).fetchone()
    if row is None:
        return None
    opened, deadline, closed, ending, over, workflow, policy, current, used, limits, seq, head, changed, led, newest = (
        row
    )
    return Standing(
        opened=opened,
        deadline=deadline,
        closed=closed,
        ending=ending,
        over=over,
        workflow=workflow,
        policy=policy,
        current_policy=current,
        used=tuple(used),
        limits=tuple(limits),
        head=Head(run, seq, bytes(head)),
        schema_changed=changed,
        led=led,
        newest=newest,
    )


async def grant(session: Session, run: UUID, grants: Iterable[Grant]) -> None:
    """Let steps of an open run do something; what a step has already is left as it is."""
    for one in grants:
        await session.execute(
            "INSERT INTO pb.step_grant (run, step, collection, operation, max_calls, max_rows)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [run, one.step, one.collection, one.operation, one.calls, one.rows],
        )


async def end_step(session: Session, run: UUID, step: str) -> None:
    """A step is over: nothing more may be done in it."""
    await session.execute(
        "UPDATE pb.step_grant SET closed_time = clock_timestamp() WHERE run = %s AND step = %s AND closed_time IS NULL",
        [run, step],
    )


async def close_run(session: Session, run: UUID, how: str) -> bool:
    """Close a run for good; ``how`` is a word for the journal. False when it was closed."""
    async with session.transaction():
        closed = await session.execute(
            "UPDATE pb.run SET closed_time = clock_timestamp() WHERE id = %s AND closed_time IS NULL", [run]
        )
        if closed.rowcount == 0:
            return False
        await session.execute(_APPEND, [run, "closed", None, how])
    return True


async def open_day(session: Session, role: str) -> bool:
    """Give an agent the rows that it may read on this day, UTC; until it is called the agent reads none.

    The agent's own transactions never move this ceiling, so none of them can put it back by a rollback.
    """
    opened = (await session.execute(_OPEN_DAY.encode(), [role])).rowcount == 1
    if opened:
        await session.execute(_FORGET.encode(), {"role": role})
    return opened
