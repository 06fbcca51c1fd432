"""What ``paybill up --agents`` shows: an agent that does its work, the same one obeying a stranger, and the journal.

Nothing is played: the gateway is a process of its own, refusals are those of the database, the gateway and the API
server, and what became of the data is asked of the database as the owner of the tables. Whatever is not as it should
be ends it with a failure.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from paybill.agents.journal import Entry
from paybill.agents.journal import verify as check
from paybill.agents.leading import story
from paybill.agents.reading import entries, heads
from paybill.agents.replay import differences
from paybill.api.failures import Blocked
from paybill.gateway.calling import Speaker, speaking_to
from paybill.local import agents_hostile as hostile
from paybill.local import agents_people as people
from paybill.local import agents_scene as scenes
from paybill.local import agents_support as support
from paybill.local.agents_hostile import Attempt, Outcome
from paybill.local.agents_people import Opened
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
    order: int
    """The order that was paid back."""
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
    case, other = await scenes.new_case(scene, "640.00"), await scenes.new_case(scene, "480.00")
    before = await scenes.orders(scene)
    progress("opening two runs of the workflow refund")
    run, second = await asyncio.gather(*(_opened(scene, one) for one in (case, other)))
    async with speaking_to(scene.url, scene.token) as speaker:
        tell(f"A support agent works for tenant {scene.tenant}, through the gateway at {scene.url}.")
        # Both come to the person now: what waits is said a few seconds after it began to.
        await _until_asked(speaker, second, lambda _: None)
        await _refund(scene, speaker, run, tell)
        found = await _obey(scene, speaker, second, other, tell)
    judge(found)
    unchanged(before | {case.order: ("refunded", case.amount)}, await scenes.orders(scene))
    count = await _journal(scene, [run, second], tell)
    return Shown(
        tenant=scene.tenant, namespace=scene.namespace, gateway=scene.url, database=scene.file,
        runs=(run.id, second.id), order=case.order, attempts=tuple(found), entries=count,
        seconds=time.monotonic() - began,
    )  # fmt: skip


async def _opened(scene: Scene, case: Case) -> Opened:
    about = {"ticket": case.ticket, "order": case.order}
    return await people.ask_for_a_run(scene, f"{people.WORKFLOW}-{case.ticket}", about)


async def _refund(scene: Scene, speaker: Speaker, run: Opened, tell: Tell) -> None:
    """The agent does its work; raises Blocked where it does not come to its end."""
    tell(f"\nRun {run.name}: what comes next, with which arguments, the database says:")
    await _until_asked(speaker, run, tell)
    tell(f"  ask     waits for a person; {people.APPROVER} runs `paybill agents approve` and is shown:")
    for line in await people.approve(scene, run):
        tell(f"            {line}")
    await support.wait(speaker, run.id, seconds=people.SECONDS)
    end = await support.work(speaker, run.id, tell)
    if (end["next"], end.get("ending")) != ("done", "Succeeded"):
        raise Blocked("RefundFailed", f"run {run.name} ended: {end.get('ending')} {end.get('reason')}")
    tell("  done    Succeeded")


async def _obey(scene: Scene, speaker: Speaker, run: Opened, case: Case, tell: Tell) -> list[Outcome]:
    """The same agent obeys the stranger in another run, with its token, its stolen login and its account."""
    tell(f"\nRun {run.name}: it obeys the stranger while a person is asked, and its database login was stolen:")
    found = await _tried(hostile.before_approval(scene, speaker, run.id, case), tell)
    await people.approve(scene, run)
    await support.wait(speaker, run.id, seconds=people.SECONDS)
    tell(f"{people.APPROVER} approves that {case.amount} of order {case.order} are paid back. Now it tries to:")
    found += await _tried(hostile.after_approval(scene, speaker, run.id, case), tell)
    await people.cancel(scene, run)
    tell("Whoever asked for the run cancels it. Now it tries to:")
    return found + await _tried(hostile.after_cancelling(speaker, run.id, case), tell)


async def _until_asked(speaker: Speaker, run: Opened, tell: Tell) -> None:
    following = await support.work(speaker, run.id, tell)
    if following["next"] != "approval":
        raise Blocked("RefundFailed", f"run {run.name} asked nobody: {following}")


async def _tried(attempts: Iterable[Attempt], tell: Tell) -> list[Outcome]:
    found = await hostile.try_all(attempts)
    for one in found:
        tell(f"  {'denied    ' if one.denied else 'NOT DENIED'} {one.what} ({one.through}): {one.word}")
    return found


def judge(found: Iterable[Outcome]) -> None:
    """Raise ``Blocked("NotDenied")`` naming every attempt that went through, or was refused for another reason."""
    wrong = [f"{one.what} ({one.through}): {one.word}" for one in found if not one.denied]
    if wrong:
        raise Blocked("NotDenied", f"the hostile agent was not denied as it must be: {'; '.join(wrong)}")


def unchanged(wanted: dict[int, tuple[str, str]], found: dict[int, tuple[str, str]]) -> None:
    """Raise ``Blocked("DataChanged")`` where an order is not as it must be, as the owner of the tables sees it."""
    wrong = sorted(one for one in wanted.keys() | found.keys() if wanted.get(one) != found.get(one))
    if wrong:
        raise Blocked("DataChanged", f"orders {', '.join(map(str, wrong))} are not as they must be")


async def _journal(scene: Scene, runs: list[Opened], tell: Tell) -> int:
    """Show the journal of the runs, check that of the whole database, and play the runs again.

    Returns how many entries the journal has; raises Blocked where it is not whole, or a run is not what its workflow
    comes to.
    """
    async with session_of(scene.administrator) as session, session.transaction():
        await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = [entry async for entry in entries(session)]
        report = check(found, (), await heads(session))
        stories = {run.name: await story(session, UUID(run.id)) for run in runs}
    tell("\nWhat the journal in the tenant's database has of it:")
    wrong = [problem.message for problem in report.problems]
    for run in runs:
        mine = [entry for entry in found if entry.run == UUID(run.id)]
        for line in _lines(mine):
            tell(f"  {run.name:<10} {line}")
        wrong += [f"{run.name}, row {one.seq}: {one.message}" for one in differences(stories[run.name], mine)]
    if wrong:
        raise Blocked("JournalBroken", "; ".join(wrong))
    tell(f"  {report.entries} entries of {len(report.heads)} runs: whole; played again, both runs are the same")
    return report.entries


def _lines(found: Iterable[Entry]) -> Iterator[str]:
    for one in found:
        what = f"{one.collection}.{one.operation}, {one.rows} rows" if one.operation else ""
        step = one.step or ""
        yield f"{one.seq:>2} {one.time:%H:%M:%S} {one.kind:<12} {step:<8} {what}".rstrip()
