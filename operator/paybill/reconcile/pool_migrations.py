"""Migrates one pool of shared tables: the structure once, the data for each of its tenants, file by file.

A file of structure may rely on the data that the file before it filled in, so the pool goes no further than the last
file of data that every tenant has run. A tenant that fails there holds up its pool, and is named.
"""

from __future__ import annotations

from datetime import datetime

from paybill.api.failures import Blocked
from paybill.control.claims import Claim
from paybill.control.migrating import MigrationRow, pool_subject
from paybill.desired import sql_names
from paybill.migrations import subjects
from paybill.migrations.files import Bundle, File
from paybill.migrations.lint import kind
from paybill.migrations.subjects import Reached
from paybill.reconcile.migration_sources import Source
from paybill.reconcile.migrations import failed_as_it_is
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import Attached
from paybill.reconcile.steps import Scope
from paybill.reconcile.tenant_migrations import note, step
from paybill.reconcile.world import World


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Bring the shared tables of ``<cell>/<server>`` through the files that they lack, if it is their turn."""
    cell, _, server = name.partition("/")
    source, subject = world.migrations.of.get(cell), pool_subject(cell, server)
    if source is None or source.failure is not None:
        return None
    tenants = _tenants(world, cell, server)
    fresh = all(claim.ready_time is None for claim in tenants)
    row = world.migration_rows.of(subject, cell)
    if not (fresh or subject in source.admitted) or failed_as_it_is(row, source.files) is not None:
        return None
    attached, scope = world.servers.get(cell, server), Scope(cause=cause, cell=cell)
    for file in source.files.files:
        row = world.migration_rows.of(subject, cell)
        if file.version > row.version:
            await _one(world, scope, attached, source, file, row)
    for claim in tenants:
        world.queue.add(Work("Tenant", claim.tenant_name), f"server {server} was migrated", background=True)
    return None


async def _one(world: World, scope: Scope, attached: Attached, source: Source, file: File, row: MigrationRow) -> None:
    only = Bundle((file,))
    if kind(file) == "Structure":

        async def run() -> Reached:
            return await subjects.structure(attached.server, attached.pool, [file], source.files, source.limits)

        await step(world, scope, row.subject, row, only, run)
        return
    failed = [
        claim.tenant_name
        for claim in _tenants(world, row.cell, attached.spec.name)
        if claim.ready_time is not None and not await _data(world, scope, attached, source, file, claim)
    ]
    if failed:
        whose = ", ".join(failed[:16])
        why = Blocked("MigrationFailed", f"{file.file_name} failed for {whose}: the pool waits for them")
        await note(world, row, Reached(version=row.version, failure=why), only)
        raise why
    await note(world, row, Reached(version=file.version), only)


async def _data(world: World, scope: Scope, attached: Attached, source: Source, file: File, claim: Claim) -> bool:
    """Run one file of data for one tenant; whether it has run."""
    row = world.migration_rows.of(claim.id, claim.cell)
    if row.version >= file.version:
        return True
    mark = sql_names.mark(claim.installation, claim.origin_uid)

    async def run() -> Reached:
        return await subjects.data(attached.server, attached.pool, claim.id, mark, [file], source.limits, new=False)

    whose = Scope(cause=scope.cause, tenant_id=claim.id, cell=scope.cell)
    try:
        await step(world, whose, f"Tenant/{claim.id}", row, Bundle((file,)), run)
    except Blocked as failure:
        if failure.reason != "MigrationFailed":
            raise
        return False
    return True


def _tenants(world: World, cell: str, server: str) -> list[Claim]:
    """The tenants whose rows are in the pool, whatever their phase: the login of a data step is not one of theirs."""
    return [
        claim
        for claim in world.registry.all()
        if (claim.cell, claim.server, claim.level) == (cell, server, "Rows") and claim.state == "claimed"
    ]
