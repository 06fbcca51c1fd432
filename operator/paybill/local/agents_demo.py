"""What ``paybill up --agents`` shows: an agent that does its work, the same one obeying a stranger, and the journal.

Nothing is played: the gateway is a process of its own, refusals are those of the database, the gateway and the API
server, and what became of the data is asked of the database as the owner of the tables. Whatever is not as it should
be ends it with a failure.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from paybill.agents.journal import Entry
from paybill.agents.journal import verify as check
from paybill.agents.reading import entries, heads
from paybill.api.failures import Blocked
from paybill.gateway.calling import speaking_to
from paybill.local import agents_hostile as hostile
from paybill.local import agents_scene as scenes
from paybill.local import agents_support as support
from paybill.local.agents_hostile import Outcome
from paybill.local.agents_scene import Case, Scene, Tell, session_of
from paybill.local.home import Home


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was shown: ``attempts`` of the hostile agent, ``seconds`` that it all took."""

    tenant: str
    namespace: str
    gateway: str
    database: Path
    """The file that `paybill agents journal` takes."""
    runs: tuple[str, ...]
    attempts: tuple[Outcome, ...]
    entries: int
    seconds: float

    def wire(self) -> dict[str, Any]:
        """As programs see it."""
        return {**dataclasses.asdict(self), "database": str(self.database), "seconds": round(self.seconds, 2)}


async def show(home: Home, folder: Path, *, progress: Tell, tell: Tell) -> Shown:
    """Show it all; raises Blocked with what is not as it should be.

    ``progress`` takes lines of what is being set up, ``tell`` those of what the agents do.
    """
    began = time.monotonic()
    scene = await scenes.prepare(home, folder, progress)
    case = await scenes.new_case(scene)
    before = await scenes.orders(scene)
    tell(f"A support agent works for tenant {scene.tenant}, through the gateway at {scene.url}:")
    run = await support.open_run(scene, "triage", f"triage-{case.ticket}", _about(case))
    async with speaking_to(scene.url, scene.token) as speaker:
        await support.triage(speaker, run, case, tell)
        tell("\nIt obeys the stranger, with its token and with its database login, which was stolen:")
        found = await hostile.try_all(hostile.attempts(scene, speaker, run, case))
    for one in found:
        tell(f"  {'denied' if one.denied else 'NOT DENIED'}  {one.what} ({one.through}): {one.word}")
    judge(found)
    unchanged(before, await scenes.orders(scene))
    count = await _journal(scene, [run], tell)
    return Shown(
        tenant=scene.tenant, namespace=scene.namespace, gateway=scene.url, database=scene.file, runs=(run,),
        attempts=tuple(found), entries=count, seconds=time.monotonic() - began,
    )  # fmt: skip


def _about(case: Case) -> dict[str, int]:
    return {"ticket": case.ticket, "order": case.order}


def judge(found: Iterable[Outcome]) -> None:
    """Raise ``Blocked("NotDenied")`` naming every attempt that went through, or was refused for another reason."""
    wrong = [f"{one.what} ({one.through}): {one.word}" for one in found if not one.denied]
    if wrong:
        raise Blocked("NotDenied", f"the hostile agent was not denied as it must be: {'; '.join(wrong)}")


def unchanged(before: dict[int, tuple[str, str]], after: dict[int, tuple[str, str]]) -> None:
    """Raise ``Blocked("DataChanged")`` where an order is not as the owner saw it before."""
    wrong = sorted(one for one in before.keys() | after.keys() if before.get(one) != after.get(one))
    if wrong:
        raise Blocked("DataChanged", f"orders {', '.join(map(str, wrong))} are not as they were")


async def _journal(scene: Scene, runs: list[str], tell: Tell) -> int:
    """Show the journal of the runs, and check that of the whole database; returns how many entries that has."""
    async with session_of(scene.administrator) as session, session.transaction():
        await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = [entry async for entry in entries(session)]
        report = check(found, (), await heads(session))
    tell("\nWhat the journal in the tenant's database has of it:")
    mine = {UUID(run) for run in runs}
    for line in _lines(entry for entry in found if entry.run in mine):
        tell(f"  {line}")
    if not report.intact:
        raise Blocked("JournalBroken", "; ".join(problem.message for problem in report.problems))
    tell(f"  {report.entries} entries of {len(report.heads)} runs: whole")
    return report.entries


def _lines(found: Iterable[Entry]) -> Iterator[str]:
    for one in found:
        what = f"{one.collection}.{one.operation}, {one.rows} rows" if one.operation else ""
        step = one.step or ""
        yield f"{one.time:%H:%M:%S} {str(one.run)[:8]} {one.seq:>2} {one.kind:<8} {step:<8} {what}".rstrip()
