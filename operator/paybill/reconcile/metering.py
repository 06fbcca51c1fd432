"""What every tenant uses, measured once an hour per server: kept in the control database, shown as metrics.

Each server has its own minute of the hour, so that a fleet of them is not measured at once. A server that cannot be
measured keeps nobody waiting: its next look tries again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from paybill.api.failures import Failure
from paybill.control.usage import UsageRow
from paybill.databases.usage import Usage, usage
from paybill.reconcile import storage
from paybill.reconcile.metrics import UsageSample
from paybill.reconcile.servers import FENCED, Attached
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

SPREAD = 50
"""Minutes of an hour in which servers are measured; the rest is for who was late."""
NEAR_EVERY = timedelta(minutes=5)
"""How often those are measured that are near the storage of their Plan, or beyond it."""


async def look(world: World, cell: str) -> None:
    """Measure the servers of a cell whose turn it is, the tenants' own ones among them."""
    for attached in world.servers:
        if attached.cell != cell or not attached.reachable:
            continue
        hourly = due(attached, world.now())
        if hourly or (near := _due_near(world, attached)):
            try:
                await (_measure(world, attached) if hourly else _measure_near(world, attached, near))
            except Failure as failure:
                if failure.reason in FENCED:
                    raise
                logger.warning("server %s/%s is not measured: %s", cell, attached.spec.name, failure.message)


def due(attached: Attached, now: datetime) -> bool:
    """Whether a server's minute has come and it was not measured in this hour yet."""
    return attached.metered_hour != _hour(now) and now >= _hour(now) + _offset(attached)


def samples(world: World) -> Iterator[UsageSample]:
    """What was measured last of each tenant that is there."""
    for attached in world.servers:
        for tenant_id, used in attached.usage.items():
            claim = world.registry.by_id(tenant_id)
            if claim is not None:
                yield UsageSample(
                    tenant=claim.tenant_name, bytes=used.bytes, rows=used.rows, transactions=used.transactions,
                    connections=sum((attached.sessions.get(tenant_id) or {}).values()),
                )  # fmt: skip


async def _measure(world: World, attached: Attached) -> None:
    hour = _hour(world.now())
    found = await usage(attached.server, attached.pool, databases=attached.is_home)
    known = {one: used for one, used in found.items() if _is_here(world, attached, one)}
    busy = {one: most for one, most in attached.busiest.items() if _is_here(world, attached, one)}
    rows = [_row(one, hour, known.get(one, Usage()), busy.get(one, 0)) for one in sorted(known.keys() | busy.keys())]
    await world.write_usage(rows)
    attached.usage, attached.peaks, attached.busiest, attached.metered_hour = known, busy, {}, hour
    _judge(world, known)


def _due_near(world: World, attached: Attached) -> frozenset[str]:
    """Who is so near the storage of its Plan that it is measured between the hours, and has not been just now."""
    if attached.metered_near is not None and world.now() < attached.metered_near + NEAR_EVERY:
        return frozenset()
    found = (world.registry.by_id(one) for one in attached.usage)
    return frozenset(claim.id for claim in found if claim is not None and storage.close(world, claim))


async def _measure_near(world: World, attached: Attached, near: frozenset[str]) -> None:
    found = await usage(attached.server, attached.pool, databases=attached.is_home, only=near)
    known = {one: used for one, used in found.items() if one in near}
    await world.write_usage([_row(one, _hour(world.now()), used, 0) for one, used in sorted(known.items())])
    attached.usage.update(known)
    attached.metered_near = world.now()
    _judge(world, known)


def _judge(world: World, known: Mapping[str, Usage]) -> None:
    for tenant_id, used in known.items():
        claim = world.registry.by_id(tenant_id)
        if claim is not None:
            storage.wake(world, claim, used.bytes)


def _is_here(world: World, attached: Attached, tenant_id: str) -> bool:
    """Whether a tenant is placed there: one Postgres may be several servers of a cell, or of two."""
    claim = world.registry.by_id(tenant_id)
    return claim is not None and (claim.cell, claim.server) == (attached.cell, attached.spec.name)


def _row(tenant_id: str, hour: datetime, used: Usage, connections: int) -> UsageRow:
    return UsageRow(
        tenant_id=tenant_id, hour=hour, bytes=used.bytes, rows=used.rows, connections=connections,
        transactions=used.transactions,
    )  # fmt: skip


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def _offset(attached: Attached) -> timedelta:
    digest = hashlib.sha256(f"{attached.cell}/{attached.spec.name}".encode()).digest()
    return timedelta(minutes=digest[0] % SPREAD)
