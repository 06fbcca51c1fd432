"""One check of one pool: two canaries, every attack of its level, and what the server keeps its administrator from."""

from __future__ import annotations

from paybill.databases.drop import Fence
from paybill.databases.refusals import refusals
from paybill.databases.server import Server
from paybill.desired.database_tenant import PoolDatabase
from paybill.isolation.attacks import Level, attacks_on
from paybill.isolation.attempts import Logins, attempt
from paybill.isolation.canaries import Scene, canaries
from paybill.isolation.findings import findings
from paybill.isolation.results import Proof, Result
from paybill.isolation.ways import ways_on


async def check(server: Server, pool: PoolDatabase, level: Level, *, fence: Fence) -> Proof:
    """Try every attack of ``level`` in ``pool``, at level Database with ``pool`` as the server's home.

    The results are in the order of their numbers.

    Raises ``Retry("IsolationUnclear")`` when an attack ended in no way that proves anything, and what making and
    removing two tenants raises.
    """
    async with canaries(server, pool, level, fence=fence) as scene:
        return Proof(
            level=level,
            results=await tried(scene),
            findings=await findings(scene.admin, pool),
            refused=await refusals(scene.admin),
        )


async def tried(scene: Scene) -> tuple[Result, ...]:
    """Every attack of the scene's level."""
    async with Logins(scene) as logins:
        found = [await attempt(attack, logins) for attack in attacks_on(scene.level)]
        found += [await way(logins) for way in ways_on(scene.level)]
    return tuple(sorted(found, key=lambda one: one.number))
