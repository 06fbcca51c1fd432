"""What a Cell and its Tenants say of isolation: the last checks, the rules of shared tables, privileges too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from paybill.api import conditions as c
from paybill.api.cell import Cell, CellStatus
from paybill.cluster.events import News
from paybill.control.claims import Claim
from paybill.reconcile import metrics
from paybill.reconcile.proving import Proving
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import Attached
from paybill.reconcile.status import DEGRADED, ISOLATED, Fact
from paybill.reconcile.world import World

MOST_NAMED = 20


def cell_facts(world: World, cell: Cell) -> tuple[Fact, Fact]:
    """Isolated and Degraded of a Cell."""
    here = [one for one in world.servers if one.cell == cell.metadata.name and _is_shared(cell, one)]
    return _isolated(world, cell, here), _degraded(here)


def tenant_fact(world: World, claim: Claim | None) -> Fact:
    """Isolated of a Tenant: what was proved of its server, and what it holds that is not declared."""
    if claim is None:
        return Fact(type=ISOLATED, status=None)
    if differing := world.differing.get(claim.id):
        said = f"it holds more than is declared, and nothing is done about it: {_listed(differing)}"
        return Fact(type=ISOLATED, status=c.FALSE, reason="GrantsDiffer", message=said)
    if claim.level == "Server":
        said = "its database server is nobody else's"
        return Fact(type=ISOLATED, status=c.TRUE, reason="OwnServer", message=said)
    attached = world.servers.find(claim.cell, claim.server)
    if attached is None or attached.proving.verdict is None:
        return Fact(type=ISOLATED, status=None)
    if not attached.proving.verdict:
        return _broken([attached])
    return Fact(type=ISOLATED, status=c.TRUE, reason="Proven", message=_proved(attached))


def announce(world: World, cell: Cell, status: CellStatus) -> None:
    """One Event whenever it is another answer whether tenants are apart; that they are from the start is no news."""
    before, after = (c.find_condition(one.conditions, ISOLATED) for one in (cell.status, status))
    if after is None or (before is None and after.status == c.TRUE):
        return
    if before is None or (before.status, before.reason) != (after.status, after.reason):
        warning = after.status != c.TRUE
        world.events.post(News(about=cell, reason=after.reason, message=after.message, warning=warning))


def wake_tenants(world: World, attached: Attached) -> None:
    """Have the tenants of a server look again when the verdict on it is, or was, that they are not apart."""
    proving = attached.proving
    before, proving.told = proving.told, proving.verdict
    if before == proving.verdict or False not in (before, proving.verdict):
        return
    cause = f"isolation of server {attached.spec.name} is another"
    for claim in world.registry.all():
        if (claim.cell, claim.server, claim.state) == (attached.cell, attached.spec.name, "claimed"):
            world.queue.add(Work("Tenant", claim.tenant_name), cause, background=True)


def samples(world: World) -> Iterator[metrics.IsolationSample]:
    """What the gauges say of each shared server."""
    now = world.now()
    for one in world.servers:
        last = one.proving.last
        if last is None:
            continue
        yield metrics.IsolationSample(
            cell=one.cell,
            server=one.spec.name,
            denied=last.denied,
            detected=last.detected,
            succeeded=len(last.succeeded),
            age_seconds=(now - last.checked_time).total_seconds(),
            findings=Counter(finding.rule for finding in one.proving.findings),
        )


def _is_shared(cell: Cell, attached: Attached) -> bool:
    return any(spec.name == attached.spec.name for spec in cell.spec.servers)


def _isolated(world: World, cell: Cell, here: list[Attached]) -> Fact:
    broken = [one for one in here if one.proving.verdict is False]
    if broken:
        return _broken(broken)
    if differing := _differing(world, cell.metadata.name):
        said = (
            f"{len(differing)} tenants hold more than is declared, and nothing is done about it: {_listed(differing)}"
        )
        return Fact(type=ISOLATED, status=c.FALSE, reason="GrantsDiffer", message=said)
    unproved = [one for one in here if one.proving.last is None]
    for one in unproved:
        failure = one.proving.failure
        if failure is not None:
            return Fact(type=ISOLATED, status=c.UNKNOWN, reason=failure.reason, message=failure.message)
    if unproved or not here or cell.spec.isolation.checks == "Never":
        return Fact(type=ISOLATED, status=None)
    late = [one for one in here if one.proving.overdue(cell.spec.isolation, world.now())]
    if late:
        said = "; ".join(_late(one.spec.name, one.proving) for one in late)
        return Fact(type=ISOLATED, status=c.UNKNOWN, reason="CheckOverdue", message=said)
    return Fact(type=ISOLATED, status=c.TRUE, reason="Proven", message="; ".join(_proved(one) for one in here))


def _broken(servers: Iterable[Attached]) -> Fact:
    servers = list(servers)
    attacked = any(one.proving.last is not None and one.proving.last.succeeded for one in servers)
    return Fact(
        type=ISOLATED,
        status=c.FALSE,
        reason="AttackSucceeded" if attacked else "SharedObjects",
        message="; ".join(_trouble(one) for one in servers),
    )


def _trouble(attached: Attached) -> str:
    proving, parts = attached.proving, []
    if proving.last is not None and proving.last.succeeded:
        named = _listed(proving.last.succeeded)
        parts.append(f"reached a neighbour at {proving.last.checked_time:%Y-%m-%dT%H:%M:%SZ}: attack {named}")
    if proving.findings:
        parts.append(f"break a rule of what tenants share: {_listed(str(one) for one in proving.findings)}")
    return f"server {attached.spec.name}: {', and '.join(parts)}"


def _proved(attached: Attached) -> str:
    last = attached.proving.last
    assert last is not None  # noqa: S101 - there is a verdict
    more = f", {last.detected} reach nobody and cannot be closed" if last.detected else ""
    when = f"{last.checked_time:%Y-%m-%dT%H:%M:%SZ}"
    return f"server {attached.spec.name}: {last.denied} attacks were denied{more} at {when}"


def _late(name: str, proving: Proving) -> str:
    when = f"{proving.last.checked_time:%Y-%m-%dT%H:%M:%SZ}" if proving.last is not None else "never"
    why = f": {proving.failure.message}" if proving.failure is not None else ""
    return f"server {name} was last checked at {when}{why}"


def _degraded(here: list[Attached]) -> Fact:
    kept_from = [(one.spec.name, (*one.refused, *_unwatched(one))) for one in here]
    refused = [f"server {name}: {'; '.join(what)}" for name, what in kept_from if what]
    holes = [f"server {one.spec.name}: {'; '.join(one.server.warnings)}" for one in here if one.server.warnings]
    if not refused and not holes:
        return Fact(type=DEGRADED, status=None)
    reason = "OutdatedServer" if holes else "ManagedServer"
    return Fact(type=DEGRADED, status=c.TRUE, reason=reason, message="; ".join((*holes, *refused)))


def _unwatched(attached: Attached) -> tuple[str, ...]:
    """Whose sessions the watchdog cannot keep within their limits."""
    logins = attached.watchdog.refused
    said = f"the watchdog may not act for {_listed(logins)}: what they do beyond their limits goes on"
    return (said,) if logins else ()


def _differing(world: World, cell: str) -> tuple[str, ...]:
    claims = (world.registry.by_id(one) for one in sorted(world.differing))
    return tuple(
        claim.tenant_name for claim in claims if claim is not None and claim.cell == cell and claim.state == "claimed"
    )


def _listed(words: Iterable[str]) -> str:
    named = list(words)
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"{', '.join(named[:MOST_NAMED])}{more}"
