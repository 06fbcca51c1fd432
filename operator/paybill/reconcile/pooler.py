"""Keeps the PgBouncer of a Cell: writes what it mounts, has it read that, and lets nobody in by an alias it lacks.

Tenants say what their alias should be while they are reconciled; the Cell's turn writes all of them at once. What
nobody has said yet, after a restart, stays as the Secret has it. A tenant is handed the pooler's address only after its
login was proved there, so a Secret never names an alias that the pooler has not read; a kubelet brings it a changed
Secret within about a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from paybill.api import conditions as c
from paybill.api.cell import Cell, Pooler
from paybill.api.failures import Failure, Invalid, Retry
from paybill.control.claims import Claim
from paybill.databases import pooler as console
from paybill.databases.credentials import refusal, scram_verifier, verifies
from paybill.desired import names, sql_names
from paybill.desired import pooler as wanted
from paybill.desired.handover import Endpoint
from paybill.desired.pooler import Alias
from paybill.desired.resource import Key, texts
from paybill.reconcile import admin_uri, objects
from paybill.reconcile.queue import DUE, Work
from paybill.reconcile.site import Site
from paybill.reconcile.status import POOLER_READY, Fact
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

POOLER: Final = "Pooler"
"""The kind of work that a Cell's pooler is."""
AGAIN = 2.0
"""Seconds until a pooler that has not read its files is asked to read them again."""


@dataclass(kw_only=True)
class Pooling:
    """What is known of one Cell's pooler."""

    said: dict[str, Alias] = field(default_factory=dict)
    """What the aliases should be, as their tenants said since the start, by id."""
    shown: dict[str, console.Shown] = field(default_factory=dict)
    """What its console showed last, by alias."""
    waiting: set[str] = field(default_factory=set)
    """Tenants, by name, that wait for their alias or their login."""
    doubted: bool = False
    """Whether somebody's login was refused, so that it may not have read its logins."""
    failure: Failure | None = None
    declared: Pooler | None = None
    """What the Cell says of it, as last seen."""


def cell_changed(world: World, cell: Cell) -> None:
    """Look at a Cell's pooler; where it has another address, or is there or gone, at every Secret that names it too."""
    name = cell.metadata.name
    known, pooling = name in world.pooling, world.pooling.setdefault(name, Pooling())
    before, pooling.declared = pooling.declared, cell.spec.pooler
    if before is None and cell.spec.pooler is None:
        return
    world.queue.add(Work(POOLER, name), f"Cell/{name} changed", background=True)
    if known and before != cell.spec.pooler:
        for claim in world.registry.all():
            if claim.cell == name and claim.state == "claimed":
                world.queue.add(Work("Tenant", claim.tenant_name), DUE, background=True)


def of(world: World, site: Site) -> Pooler | None:
    """The pooler that a tenant is behind; None where there is none, or its server tells us no verifiers."""
    cell = world.declared.cells.get(site.claim.cell)
    if cell is None or site.claim.level == "Server" or not site.attached.server.traits.superuser:
        return None
    return cell.spec.pooler


def endpoint(world: World, site: Site) -> Endpoint:
    """Where the tenant's app reaches its database."""
    pooler = of(world, site)
    if pooler is None:
        return site.attached.endpoint
    return wanted.endpoint(pooler, site.claim.id)


async def say(world: World, site: Site, connections: int, *, handing: bool) -> Alias | None:
    """Say what the tenant's alias should be; None where it has none. A new one is looked at when it is handed out."""
    pooler = of(world, site)
    if pooler is None:
        return None
    attached, tenant_id = site.attached, site.claim.id
    observed = await attached.seen(tenant_id) if handing else attached.observed.get(tenant_id)
    if observed is None or observed.passwords is None:
        return None
    logins = [sql_names.role(tenant_id, suffix) for suffix in site.logins.suffixes if suffix.startswith("app_")]
    server = attached.endpoint
    alias = Alias(
        id=tenant_id, host=server.host, port=server.port, database=server.database, mode=pooler.pool_mode,
        most=connections, users=tuple((one, observed.passwords[one]) for one in logins if one in observed.passwords),
    )  # fmt: skip
    pooling = world.pooling.setdefault(site.claim.cell, Pooling())
    if pooling.said.get(tenant_id) != alias:
        pooling.said[tenant_id] = alias
        world.queue.add(Work(POOLER, site.claim.cell), f"Tenant {site.claim.tenant_name} has another alias")
    return alias


async def require(world: World, site: Site, alias: Alias | None, login: str, password: str, *, open_: bool) -> None:
    """Return once the pooler serves the alias and, where logins are open, lets ``login`` in; Retry until then."""
    pooler = of(world, site)
    if pooler is None or alias is None:
        return
    pooling = world.pooling[site.claim.cell]
    shown = pooling.shown.get(alias.name)
    why = "has not read its alias yet" if shown is None or not shown.agrees(alias) or shown.paused else None
    if why is None and open_:
        why = await _refusal(pooler, alias, login, password)
        pooling.doubted = pooling.doubted or why is not None
    if why is None:
        pooling.waiting.discard(site.claim.tenant_name)
        return
    pooling.waiting.add(site.claim.tenant_name)
    world.queue.add_within(Work(POOLER, site.claim.cell), AGAIN)
    raise Retry("PoolerBehind", f"the pooler of Cell {site.claim.cell} {why}", after=10.0)


async def _refusal(pooler: Pooler, alias: Alias, login: str, password: str) -> str | None:
    there = wanted.endpoint(pooler, alias.id)
    address = {"host": there.host, "port": str(there.port), "sslmode": there.sslmode}
    try:
        said = await refusal(address, alias.name, login, password)
    except Retry as failure:
        said = failure.message
    return f"does not let {login} in: {said}" if said is not None else None


async def pause(world: World, site: Site) -> None:
    """Have the tenant's clients wait before its logins are closed, where the pooler can: they see no error then."""
    cell = world.declared.cells.get(site.claim.cell)
    pooler, alias = of(world, site), sql_names.schema(site.claim.id)
    pooling = world.pooling.get(site.claim.cell)
    if cell is None or pooler is None or pooling is None or alias not in pooling.shown:
        return
    if pooler.pool_mode != "Transaction":
        return  # it would wait until the last client has gone
    try:
        dsn = await _dsn(world, cell, pooler)
    except Invalid:
        return  # its Cell says so; a tenant can be moved all the same, only not unseen
    step = Step(action="pooler.pause", target=f"Pooler/{alias}", act=lambda: console.pause(dsn, site.claim.id))
    await take(world, site.scope, [step])
    world.queue.add_within(Work(POOLER, site.claim.cell), AGAIN)  # whatever comes of the move, somebody looks


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001 - one of several
    """Bring one Cell's pooler to what its tenants said; whoever waited for that looks again."""
    cell = world.declared.cells.get(name)
    if cell is None:
        world.pooling.pop(name, None)
    if cell is None or cell.spec.pooler is None:
        return None
    pooling = world.pooling.setdefault(name, Pooling())
    before = pooling.failure
    try:
        await _bring(world, cell, cell.spec.pooler, pooling, cause)
        pooling.failure = None  # not before: a Cell that is looked at meanwhile says what was seen last
    except Failure as failure:
        pooling.failure = failure
        raise
    finally:
        if _reason(before) != _reason(pooling.failure):
            world.queue.add(
                Work("Cell", name), "its pooler serves" if pooling.failure is None else "its pooler does not"
            )
    return world.now() + timedelta(seconds=world.settings.database_resync_seconds)


def _reason(failure: Failure | None) -> str:
    return failure.reason if failure is not None else ""


async def _bring(world: World, cell: Cell, pooler: Pooler, pooling: Pooling, cause: str) -> None:
    name = cell.metadata.name
    dsn = await _dsn(world, cell, pooler)
    aliases = await _write(world, cell, pooling, dsn, cause)
    pooling.shown = await console.shown(dsn)
    if pooling.doubted or _behind(pooling, aliases):
        # What it reads was audited when it was written: to ask for that again changes nothing.
        await console.reload(dsn)
        pooling.doubted, pooling.shown = False, await console.shown(dsn)
    behind = _behind(pooling, aliases)
    for one in sorted(aliases.keys() - behind):
        if pooling.shown[aliases[one].name].paused and not _cut_over(world, one):
            step = Step(action="pooler.resume", target=f"Pooler/{aliases[one].name}", act=_resuming(dsn, one))
            await take(world, Scope(cause=cause, tenant_id=one, cell=name), [step])
            pooling.shown = await console.shown(dsn)
    for tenant in sorted(pooling.waiting):
        world.queue.add(Work("Tenant", tenant), f"the pooler of Cell {name} was looked at", background=True)
    if behind:
        said = f"the pooler of Cell {name} has not read {len(behind)} of {len(aliases)} aliases yet"
        raise Retry("PoolerBehind", said, after=AGAIN)


async def _write(world: World, cell: Cell, pooling: Pooling, dsn: str, cause: str) -> dict[str, Alias]:
    """Write the Secret if it is not what it should be; returns the aliases by tenant id."""
    name, settings = cell.metadata.name, world.settings
    key = Key("Secret", settings.namespace, names.pooler(name))
    found = await world.cluster.get(key)
    data = texts(found)
    known, admin = wanted.parse(data)
    here = {claim.id for claim in world.registry.all() if claim.cell == name and claim.level != "Server"}
    aliases = {one: alias for one, alias in (known | pooling.said).items() if one in here}
    pooling.said = {one: alias for one, alias in pooling.said.items() if one in here}
    files = wanted.files(aliases.values(), _admin(dsn, admin))
    desired = wanted.secret(name, settings.namespace, settings.installation, files)
    if found is not None:
        objects.refuse_foreign(key, found, desired)
    if data != files:
        inputs = [alias.line() for _, alias in sorted(aliases.items())]
        step = Step(action="pooler.apply", target=str(key), act=lambda: world.cluster.apply(desired), inputs=inputs)
        await take(world, Scope(cause=cause, cell=name), [step])
    return aliases


def _admin(dsn: str, known: tuple[str, str] | None) -> tuple[str, str]:
    """The console's login by its URI; its verifier stays while the password does."""
    user, password = console.login_of(dsn)
    login = wanted.console_login(user)
    if not (password.isascii() and password.isprintable() and password):
        raise Invalid("BadPoolerLogin", "the URI of a pooler's console needs a password of printable ASCII")
    if known is not None and known[0] == login and verifies(password, known[1]):
        return known
    return login, scram_verifier(password)


def _behind(pooling: Pooling, aliases: Mapping[str, Alias]) -> set[str]:
    return {
        one
        for one, alias in aliases.items()
        if (shown := pooling.shown.get(alias.name)) is None or not shown.agrees(alias)
    }


def _cut_over(world: World, tenant_id: str) -> bool:
    """Whether a move has shut the tenant out right now, and it is not at the target yet."""
    row, claim = world.moves.of(tenant_id), world.registry.by_id(tenant_id)
    if row is None or claim is None or row.step != "Cutover":
        return False
    return _place(claim) == (row.source_server, row.source_level, row.source_database)


def _place(claim: Claim) -> tuple[str, str, str | None]:
    return claim.server, claim.level, claim.pool_database


def _resuming(dsn: str, tenant_id: str) -> console.Word:
    return lambda: console.resume(dsn, tenant_id)


async def _dsn(world: World, cell: Cell, pooler: Pooler) -> str:
    return await admin_uri.read(world, pooler.admin_secret_ref, f"the pooler of Cell {cell.metadata.name}")


def condition(world: World, cell: Cell) -> Fact:
    """The condition PoolerReady of a Cell; absent where it has no pooler."""
    pooling = world.pooling.get(cell.metadata.name)
    if cell.spec.pooler is None or pooling is None:
        return Fact(type=POOLER_READY, status=None)
    if pooling.failure is not None:
        failure = pooling.failure
        return Fact(type=POOLER_READY, status=c.FALSE, reason=failure.reason, message=failure.message)
    direct = sorted(
        one.spec.name for one in world.servers if one.cell == cell.metadata.name and not one.server.traits.superuser
    )
    said = (
        f"; tenants of {', '.join(direct)} connect directly: its administrator may not read verifiers" if direct else ""
    )
    return Fact(type=POOLER_READY, status=c.TRUE, reason="PoolerServes", message=f"all aliases are read{said}")
