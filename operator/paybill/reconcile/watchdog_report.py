"""What people hear of a tenant's sessions that went beyond limits: one Event per limit, one condition for an hour.

A tenant that does it all day must not fill the API server's store: the first time is news, what follows is counted in
the metrics and written to the audit log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paybill.api import conditions as c
from paybill.api.tenant import Tenant
from paybill.cluster.events import News
from paybill.control.claims import Claim
from paybill.lifecycle.watchdog import QUIET, Breach, Episode
from paybill.reconcile.queue import Work
from paybill.reconcile.status import LIMITS_EXCEEDED, Fact
from paybill.reconcile.world import World


def tell(world: World, tenant_id: str, found: Iterable[Breach], *, acts: bool) -> None:
    """Take up what a tenant's sessions did, and say what is new of it."""
    claim, now = world.registry.by_id(tenant_id), world.now()
    for one in found:
        episode = world.exceeding.setdefault(tenant_id, Episode(since=now, last=now))
        episode.last = now
        if one.rule in episode.said or claim is None:
            continue
        done = {"Cancel": "it was cancelled", "Terminate": "it was ended"}[one.deed] if acts else "nothing was done"
        episode.said[one.rule] = message = f"{one.words}; {done}"
        _wake(world, claim, message)
        tenant = world.declared.tenants.get(claim.tenant_name)
        if tenant is not None and tenant.metadata.uid == claim.tenant_uid:
            world.events.post(News(about=tenant, reason=one.rule, message=message, warning=True))


def settle(world: World, cell: str) -> None:
    """Forget the tenants of a cell that have kept their limits for a while, and take it off their conditions."""
    now = world.now()
    for tenant_id in sorted(world.exceeding):
        claim = world.registry.by_id(tenant_id)
        if claim is not None and claim.cell == cell and world.exceeding[tenant_id].over(now):
            del world.exceeding[tenant_id]
            _wake(world, claim, "its sessions have kept their limits for a while")
        elif claim is None:
            del world.exceeding[tenant_id]


def facts(world: World, tenant: Tenant, claim: Claim | None) -> Iterator[Fact]:
    """LimitsExceeded of a Tenant; what an operator before this one said stands until its time is over."""
    episode = world.exceeding.get(claim.id) if claim is not None else None
    told = c.find_condition(tenant.status.conditions, LIMITS_EXCEEDED)
    if episode is not None and episode.said and not episode.over(world.now()):
        yield Fact(type=LIMITS_EXCEEDED, status=c.TRUE, reason=episode.reason, message=episode.words)
    elif claim is None or told is None or world.now() - told.last_transition_time >= QUIET:
        yield Fact(type=LIMITS_EXCEEDED, status=None)


def _wake(world: World, claim: Claim, cause: str) -> None:
    if claim.state == "claimed":
        world.queue.add(Work("Tenant", claim.tenant_name), cause, background=True)
