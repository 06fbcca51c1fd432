"""Migrates one tenant in its own reconcile: a new one through all files before it is Ready, any other in its turn.

A file that fails leaves a tenant that is Ready as it was, at its former version: it goes on serving, and its condition
MigrationsCurrent says what failed. Who is suspended or restricted is left out, because its migration login is closed;
it is migrated when it comes back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from paybill.api.failures import Blocked, Failure, Retry
from paybill.control.migrating import MigrationRow, pool_subject
from paybill.desired import names, sql_names
from paybill.lifecycle.phases import Access
from paybill.lifecycle.tenant import Course
from paybill.migrations import subjects
from paybill.migrations.files import Bundle
from paybill.migrations.subjects import Reached
from paybill.reconcile.database import Credentials
from paybill.reconcile.migration_sources import Source
from paybill.reconcile.migrations import POOL, cleared, data_files, failed_as_it_is, retry_token
from paybill.reconcile.queue import Work
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

COUNTED_WITHIN = 0.5
"""Seconds until the Cell counts anew, once for many that end together."""
AGAIN = 5.0
"""Seconds until a tenant whose tables were locked is tried again."""


async def bring(world: World, site: Site, course: Course, credentials: Credentials, *, fresh: bool) -> None:
    """Run what this tenant lacks, if it is its turn; raises only for a tenant that was never Ready."""
    cell = world.declared.cells.get(site.claim.cell)
    if cell is None or cell.spec.migrations is None or course.effect.access is not Access.FULL:
        return
    if site.moving:  # a copy carries rows and no definitions: it is migrated where it arrives
        return
    new = site.claim.ready_time is None
    source = world.migrations.of.get(site.claim.cell)
    try:
        if source is None:
            raise Retry("WaitingForMigration", f"Cell {site.claim.cell} has not read its migrations yet", after=1.0)
        if source.failure is not None:
            raise source.failure
        await _forgiven(world, site)
        if site.claim.level == "Rows":
            await _shared(world, site, source, new=new)
        else:
            await _own(world, site, source, credentials, new=new, fresh=fresh)
    except Failure as failure:
        if new or failure.reason in NEVER_PASSED_OVER:
            raise
        if isinstance(failure, Retry):
            world.queue.add_within(Work("Tenant", site.claim.tenant_name), AGAIN)


NEVER_PASSED_OVER = frozenset({"EpochLost", "EpochBehind", "AuditUnavailable"})
"""Failures that are not about the files."""


async def _forgiven(world: World, site: Site) -> None:
    """Somebody said that this very failure is to be tried again; of shared tables it held up the pool as well."""
    claim = site.claim
    row = world.migration_rows.of(claim.id, claim.cell)
    said = site.tenant.metadata.annotations.get(names.RETRY_MIGRATION_ANNOTATION)
    if row.failed_time is None or said != retry_token(row):
        return
    await world.migration_rows.put(cleared(row), epoch=world.epoch)
    if claim.level == "Rows":
        pool = world.migration_rows.of(pool_subject(claim.cell, claim.server), claim.cell)
        await world.migration_rows.put(cleared(pool), epoch=world.epoch)
    world.queue.add_within(Work("Cell", claim.cell), COUNTED_WITHIN)


async def _own(world: World, site: Site, source: Source, credentials: Credentials, *, new: bool, fresh: bool) -> None:
    row, claim = world.migration_rows.of(site.claim.id, site.claim.cell), site.claim
    if row.version >= source.files.latest or not (new or claim.id in source.admitted):
        return
    _refuse_failed(row, source, new=new)
    user = sql_names.role(claim.id, f"mig_{site.logins.of('mig').handed}")
    password = (await credentials.known(fresh=fresh))[user]
    if user in credentials.made and not new:
        raise Retry("WaitingForMigration", f"login {user} of {claim.tenant_name} is in no Secret: it is mended first")
    attached = site.attached

    async def run() -> Reached:
        return await subjects.own(
            attached.server, attached.pool, claim.id, user, password, source.files, source.limits, new=new
        )

    await step(world, site.scope, f"Tenant/{claim.id}", row, source.files, run)


async def _shared(world: World, site: Site, source: Source, *, new: bool) -> None:
    """Where tables are shared, a tenant runs the data's files up to where its pool is."""
    claim = site.claim
    pool = world.migration_rows.of(pool_subject(claim.cell, claim.server), claim.cell)
    if new and pool.version == 0 and source.files.latest:
        world.queue.add(Work(POOL, f"{claim.cell}/{claim.server}"), f"Tenant/{claim.tenant_name} waits")
        raise Retry("WaitingForMigration", f"the shared tables of server {claim.server} are being made", after=1.0)
    row = world.migration_rows.of(claim.id, claim.cell)
    lacking = [file for file in data_files(source) if row.version < file.version <= pool.version]
    if not lacking:
        return
    _refuse_failed(row, source, new=new)
    attached, mark = site.attached, sql_names.mark(claim.installation, claim.origin_uid)

    async def run() -> Reached:
        return await subjects.data(attached.server, attached.pool, claim.id, mark, lacking, source.limits, new=new)

    await step(world, site.scope, f"Tenant/{claim.id}", row, Bundle(tuple(lacking)), run)


def _refuse_failed(row: MigrationRow, source: Source, *, new: bool) -> None:
    """A file that failed is not run again until it is another one, or somebody says so."""
    if not new and failed_as_it_is(row, source.files) is not None:
        raise Blocked(row.reason or "MigrationFailed", row.message or "")


async def step(
    world: World, scope: Scope, target: str, row: MigrationRow, files: Bundle, run: Callable[[], Awaitable[Reached]]
) -> None:
    """Take the step, note how far it came, and raise what stopped it."""

    async def act() -> None:
        reached = await run()
        await note(world, row, reached, files)
        if reached.failure is not None:
            raise reached.failure

    inputs = {"from": row.version, "to": files.latest, "digest": files.digest}
    try:
        await take(world, scope, [Step(action="migrations.run", target=target, act=act, inputs=inputs)])
    finally:
        world.queue.add_within(Work("Cell", row.cell), COUNTED_WITHIN)


async def note(world: World, row: MigrationRow, reached: Reached, files: Bundle) -> None:
    """Keep in the control database what the ledger says, and what failed for good."""
    for name in reached.ran:
        file = next(one for one in files.files if one.file_name == name)
        await world.migration_rows.release(row.cell, file.version, name, file.checksum, epoch=world.epoch)
    after = replace(cleared(row), version=max(row.version, reached.version))
    failure = reached.failure
    if failure is not None and not isinstance(failure, Retry):
        stuck = next((file for file in files.files if file.version > after.version), None)
        after = replace(
            after,
            failed_version=stuck.version if stuck is not None else None,
            failed_checksum=stuck.checksum if stuck is not None else None,
            failed_time=world.now(),
            reason=failure.reason,
            message=failure.message,
        )
    await world.migration_rows.put(after, epoch=world.epoch)
