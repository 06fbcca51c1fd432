"""The composition root: settings → session → control database → Lease → epoch → caches → workers → Kopf.

Read it from top to bottom and you have the life of the process. A standby waits at the Lease. A leader that loses the
Lease, or whose epoch was taken, ends at once and leaves starting again to whoever supervises it: nothing that it
still holds in memory can be trusted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from paybill import handlers, watching
from paybill.api.conditions import READY
from paybill.api.failures import Failure, Invalid, Retry
from paybill.api.kinds import KINDS
from paybill.audit.log import AuditLog
from paybill.billing.delivery import Endpoint
from paybill.billing.stripe_api import StripeApi
from paybill.cluster.breaker import ApiBreaker
from paybill.cluster.children import Children
from paybill.cluster.client import Cluster, ResourceExpired
from paybill.cluster.declared import Declared
from paybill.cluster.events import Events
from paybill.cluster.lease import Lease, LeaseSettings
from paybill.cluster.session import open_session
from paybill.control.adoption import Adoptions
from paybill.control.collection import CollectionStore
from paybill.control.database import ControlDatabase
from paybill.control.epoch import take_epoch
from paybill.control.facts import FactStore
from paybill.control.halts import HaltStore
from paybill.control.inbox import Inbox, let_in
from paybill.control.meter_events import MeterStore
from paybill.control.migrating import MigrationStore
from paybill.control.moves import MoveStore
from paybill.control.operations import OperationStore
from paybill.control.outbox import Outbox
from paybill.control.registry import Registry
from paybill.control.signups import SignupStore
from paybill.control.usage import latest_bytes, write_usage
from paybill.desired.resource import Key
from paybill.doors import Doors
from paybill.health import served
from paybill.reconcile import (
    announcing,
    backup_metrics,
    cell,
    collecting,
    fencing,
    isolation_report,
    mass_change,
    metering,
    metrics,
    modes,
    payments,
    permission,
    reporting,
    rotation_report,
    servers,
    worker,
)
from paybill.reconcile.announcing import Announcing
from paybill.reconcile.backup_jobs import BackupJobs
from paybill.reconcile.backup_metrics import BackupCollector
from paybill.reconcile.brakes import Brakes
from paybill.reconcile.collecting import Collecting
from paybill.reconcile.jobs import Jobs
from paybill.reconcile.migration_sources import Sources
from paybill.reconcile.operations import Operations, folder_of
from paybill.reconcile.paying import Payments
from paybill.reconcile.queue import Queue, Work
from paybill.reconcile.reporting import Reporting
from paybill.reconcile.revisions import Revisions
from paybill.reconcile.servers import Servers
from paybill.reconcile.world import World
from paybill.settings import Settings

logger = logging.getLogger(__name__)

LEASE = "paybill-operator"
OPENING_PATIENCE = 60.0


Made = Callable[[World], None]
"""Takes the world of a new leader before anything acts in it: here tests put their clock and their faults."""


async def run(
    settings: Settings,
    *,
    kubeconfig: Path | None = None,
    stop: asyncio.Event,
    leading: asyncio.Event | None = None,
    made: Made = lambda _: None,
    doors: Doors = Doors(),  # noqa: B008 - frozen
) -> None:
    """Run the operator until ``stop`` is set; ``leading`` is set once it leads and acts.

    Raises LeaseLost or LeadershipLost when another process took over.
    """
    leading, standing_by = leading or asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        worlds: list[World] = []
        controls: list[ControlDatabase] = []
        await stack.enter_async_context(
            served(
                settings.metrics_host, settings.metrics_port, leading, standing_by, lambda: _troubles(worlds, controls)
            )
        )

        def take(world: World) -> None:
            worlds[:] = [world]
            made(world)

        session = open_session(kubeconfig, around=doors.around_requests, request_seconds=doors.request_seconds)
        cluster = Cluster(await stack.enter_async_context(session), ApiBreaker())
        opening = asyncio.create_task(_open_control(settings, doors))
        if not await _unless_stopped(opening, stop):
            return
        control = opening.result()
        controls.append(control)
        stack.push_async_callback(control.close)
        standing_by.set()
        lease = Lease(
            cluster, LeaseSettings(namespace=settings.namespace, name=LEASE, duration=settings.lease_seconds,
                                   renew_every=settings.lease_seconds / 4)
        )  # fmt: skip
        if not await _unless_stopped(asyncio.create_task(lease.acquire()), stop):
            return
        try:
            # Held from the first moment on: with thousands of tenants, knowing them takes longer than a Lease lasts.
            async with asyncio.TaskGroup() as group:
                holding = group.create_task(lease.hold())
                while not await _lead(settings, doors, cluster, control, lease, stop, leading, take):
                    logger.warning("a tenants' server has seen a greater epoch than ours: taking a new one")
                holding.cancel()
        finally:
            await lease.release()


async def _lead(
    settings: Settings,
    doors: Doors,
    cluster: Cluster,
    control: ControlDatabase,
    lease: Lease,
    stop: asyncio.Event,
    leading: asyncio.Event,
    made: Made,
) -> bool:
    """From winning the Lease to losing it, or to the request to stop; False when the epoch has to be taken anew."""
    lease.assert_held()
    epoch = await take_epoch(control, holder=lease.identity)
    cluster.guard = lease.assert_held
    world = await _world(settings, doors, cluster, control, epoch, lease)
    made(world)
    control.came_back = lambda: _wake(world, "the control database is back")
    collector = metrics.WorldCollector(
        lambda: _samples(world),
        lambda: len(world.queue),
        lambda: world.cluster.breaker,
        lambda: world.operations.sample(world.now()),
        lambda: rotation_report.samples(world),
        lambda: isolation_report.samples(world),
        lambda: metering.samples(world) if settings.tenant_metrics else (),
    )
    backups = BackupCollector(lambda: backup_metrics.samples(world), each=settings.tenant_metrics)
    metrics.REGISTRY.register(collector)
    metrics.REGISTRY.register(backups)
    world.audit.start()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(world.events.run()), group.create_task(world.children.run())]
            await world.children.synced.wait()
            await modes.begin(world)
            primed = await _prime(world)
            if primed:
                tasks.append(group.create_task(modes.run(world)))
                tasks.append(group.create_task(worker.run(world, settings.workers)))
                tasks.append(group.create_task(watching.run(world, stop)))
                tasks.append(group.create_task(payments.run(world)))
                tasks.append(group.create_task(announcing.run(world)))
                tasks.append(group.create_task(reporting.run(world)))
                tasks.append(group.create_task(collecting.run(world)))
                tasks.append(group.create_task(world.operations.run(world)))
                leading.set()
                metrics.LEADING.set(1)
                logger.info("leading with epoch %d: %d tenants in the registry", epoch, len(world.registry.all()))
                await stop.wait()
            for task in tasks:
                task.cancel()
        return primed
    finally:
        leading.clear()
        metrics.LEADING.set(0)
        metrics.REGISTRY.unregister(collector)
        metrics.REGISTRY.unregister(backups)
        await world.jobs.close()
        await world.audit.close()
        await world.servers.close()


async def _world(
    settings: Settings, doors: Doors, cluster: Cluster, control: ControlDatabase, epoch: int, lease: Lease
) -> World:
    queue = Queue()
    registry = Registry(control, settings.installation)
    facts = FactStore(control, settings.installation)
    revisions = Revisions(cluster, settings.namespace, settings.installation)
    brakes = Brakes(store=HaltStore(control, settings.installation))
    operations = _operations(settings, control)
    migration_rows = MigrationStore(control, settings.installation)
    moves = MoveStore(control, settings.installation)
    pauses = CollectionStore(control, settings.installation)
    for store in (registry, facts, revisions, brakes, operations.store, migration_rows, moves, pauses):
        await store.load()
    _queue_drops(registry, queue)
    world = World(
        settings=settings,
        cluster=cluster,
        declared=Declared(),
        children=Children(cluster, settings.installation, _marking(registry, queue)),
        registry=registry,
        facts=facts,
        adoptions=Adoptions(control, registry, facts),
        audit=AuditLog(control.pool, epoch=epoch),
        servers=_servers(settings, doors, control, epoch),
        operations=operations,
        migrations=Sources(),
        migration_rows=migration_rows,
        moves=moves,
        revisions=revisions,
        events=Events(cluster, "paybill"),
        queue=queue,
        jobs=BackupJobs(queue=queue),
        brakes=brakes,
        epoch=epoch,
        fence=fencing.fence(control, epoch),
        used=await latest_bytes(control, (claim.id for claim in registry.all())),
        payments=_payments(settings, control),
        signups=SignupStore(control, settings.installation),
        announcing=Announcing(outbox=Outbox(control, settings.installation), endpoint=_endpoint(settings)),
        reporting=Reporting(store=MeterStore(control, settings.installation)),
        collecting=Collecting(store=pauses),
        write_usage=lambda rows: write_usage(control, rows, epoch=epoch),
        assert_leading=lease.assert_held,
    )
    operations.jobs = Jobs(
        cluster=cluster, namespace=settings.namespace, installation=settings.installation,
        pods=settings.operation_pods, now=lambda: world.now(),
    )  # fmt: skip
    registry.guard = lambda: permission.refuse_unless_acting(world, "registry.write")
    return world


def _operations(settings: Settings, control: ControlDatabase) -> Operations:
    return Operations(
        store=OperationStore(control, settings.installation),
        folder=folder_of(settings.operations_folder, settings.installation),
        embedded_home=str(settings.embedded_home or ""),
    )


def _servers(settings: Settings, doors: Doors, control: ControlDatabase, epoch: int) -> Servers:
    announcing_ours = fencing.announcing(control, epoch)
    return Servers(settings.installation, announcing_ours, doors.servers, accepted=settings.accepted_releases)


def _payments(settings: Settings, control: ControlDatabase) -> Payments:
    return Payments(
        inbox=Inbox(control, settings.installation),
        api=_stripe(settings),
        poll=timedelta(seconds=settings.stripe_poll_seconds),
    )


def _queue_drops(registry: Registry, queue: Queue) -> None:
    """What deleted tenants left is looked at behind everything else."""
    for claim in registry.all():
        if claim.state == "deleted":
            queue.add(Work("Drop", claim.id), "start", background=True)


def _marking(registry: Registry, queue: Queue) -> Callable[[str, Key], None]:
    """Marks the Tenant whose object in the cluster changed."""

    def changed(owner: str, key: Key) -> None:
        claim = registry.by_id(owner)
        if claim is not None and claim.state == "claimed":
            queue.add(Work("Tenant", claim.tenant_name), f"{key} changed")

    return changed


def _endpoint(settings: Settings) -> Endpoint | None:
    """Where messages go; raises Invalid where they could not be signed."""
    if not settings.events_url:
        return None
    if settings.events_secret_file is None:
        raise Invalid("BadEventsSecret", "PAYBILL_EVENTS_URL is set without PAYBILL_EVENTS_SECRET_FILE: set both")
    return Endpoint(settings.events_url, settings.events_secret_file, f"/paybill/{settings.installation}")


def _stripe(settings: Settings) -> StripeApi | None:
    if settings.stripe_key_file is None:
        return None
    return StripeApi(settings.stripe_key_file, url=settings.stripe_url, account=settings.stripe_account)


async def _prime(world: World) -> bool:
    """Know everything that is declared, and every server, before the first tenant is looked at.

    A reconcile that sees half of the picture would report what is not true. A server that does not answer is tried
    again later; its tenants wait. False when a server has seen a greater epoch than ours.
    """
    # Cells first: they say how many deletions at once are too many.
    for model in sorted(KINDS, key=lambda model: model.kind != "Cell"):
        await _list_declared(world, model.kind)
    mass_change.prime(world)
    for name in sorted(world.declared.cells):
        try:
            await cell.reconcile(world, name, "start", deep=False)
        except Failure as failure:
            logger.warning("Cell %s: %s", name, failure)
            if failure.reason == servers.BEHIND:
                return False
            if failure.reason == "EpochLost":
                raise worker.LeadershipLost(str(failure)) from failure
    return True


async def _list_declared(world: World, kind: str) -> None:
    """Every object of one of our kinds; again from the start while the API server is in trouble, as long as we lead."""
    while True:
        try:
            async for page, _ in world.cluster.list_pages(kind):
                for obj in page:
                    handlers.take(world, kind, None, obj)
        except (Retry, ResourceExpired) as failure:
            logger.warning("list of %ss: %s", kind, failure)
            await asyncio.sleep(getattr(failure, "after", None) or 1.0)
        else:
            return


async def _open_control(settings: Settings, doors: Doors) -> ControlDatabase:
    """Open and migrate the control database; it may come up after us."""
    deadline = asyncio.get_running_loop().time() + OPENING_PATIENCE
    while True:
        try:
            dsn = settings.control_database()
            control = await ControlDatabase.open(dsn, application_name="paybill-operator", connection=doors.control)
            try:
                await control.migrate()
                if settings.webhook_role:
                    await let_in(control, settings.webhook_role)
            except BaseException:
                await control.close()
                raise
            return control
        except Retry as failure:
            if asyncio.get_running_loop().time() > deadline:
                raise
            logger.warning("%s; again in 1 s", failure)
            await asyncio.sleep(1.0)


async def _unless_stopped(task: asyncio.Task[Any], stop: asyncio.Event) -> bool:
    """Wait for a task, or for the request to stop, which cancels it; True when the task ended."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


def _wake(world: World, cause: str) -> None:
    """Look at every Tenant that waits for something, behind what people change."""
    for name in list(world.waiting):
        world.queue.add(Work("Tenant", name), cause, background=True)


def _troubles(worlds: Iterable[World], controls: Iterable[ControlDatabase]) -> Iterator[str]:
    """What the leader waits for before it can do anything, in words."""
    for world in worlds:
        if world.cluster.breaker.open:
            yield f"requests to the API server are paused: {world.cluster.breaker.why}"
        if world.audit.away:
            yield "the audit log cannot be written: changes wait"
    for control in controls:
        if control.away:
            yield f"the control database {control.place} cannot be used: changes wait"


def _samples(world: World) -> list[metrics.TenantSample]:
    return [
        metrics.TenantSample(phase=one.phase, compute=one.compute, database=one.database, ready=READY in one.true)
        for one in world.declared.tenants.glances()
    ]
