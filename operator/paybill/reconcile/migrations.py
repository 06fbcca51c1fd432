"""The migrations of a Cell's fleet: whose turn it is, who is told, and how it is said. Steady, it costs no query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paybill.api import conditions as c
from paybill.api.cell import Cell
from paybill.api.failures import Failure
from paybill.api.migrations import MigrationsStatus
from paybill.control.claims import Claim
from paybill.control.migrating import MigrationRow, pool_subject
from paybill.desired.names import RETRY_MIGRATION_ANNOTATION
from paybill.lifecycle.migrations import Subject, Turn, turn
from paybill.lifecycle.phases import EFFECTS, Access, Phase
from paybill.lifecycle.tenant import changes_held
from paybill.migrations.files import Bundle, File
from paybill.migrations.lint import kind
from paybill.reconcile import metrics, migration_sources
from paybill.reconcile.migration_sources import Source
from paybill.reconcile.queue import Work
from paybill.reconcile.status import MIGRATIONS_CURRENT, Fact
from paybill.reconcile.world import World

POOL = "Pool"
"""The kind of work that migrates a pool of shared tables; its name is ``<cell>/<server>``."""
NAMED_AT_MOST = 16


async def look(world: World, cell: Cell) -> tuple[MigrationsStatus | None, Fact]:
    """Read the files again, decide whose turn it is, and tell them; returns what the Cell's status says of it."""
    source, name = await migration_sources.load(world, cell), cell.metadata.name
    declared = cell.spec.migrations
    if source is None or declared is None:
        return None, Fact(type=MIGRATIONS_CURRENT, status=None)
    await _forgiven(world, cell)
    subjects = list(_subjects(world, cell, source))
    decided = turn(
        subjects,
        source.files.latest,
        source.files.digest,
        canaries=declared.canaries,
        max_unavailable=str(declared.max_unavailable),
        failure_budget=declared.failure_budget,
    )
    if source.failure is not None:
        decided = replace(decided, admitted=frozenset())
    world.migrations.of[name] = replace(source, admitted=decided.admitted)
    for subject in sorted(decided.admitted):
        _tell(world, name, subject)
    _count(name, decided)
    return _status(world, source, decided), _fact(world, source, decided)


def _subjects(world: World, cell: Cell, source: Source) -> Iterator[Subject]:
    name = cell.metadata.name
    for claim in world.registry.all():
        if claim.cell == name and claim.level != "Rows" and claim.state == "claimed" and claim.ready_time is not None:
            row = world.migration_rows.of(claim.id, name)
            failed = failed_as_it_is(row, source.files) is not None
            yield Subject(id=claim.id, version=row.version, failed=failed, held=_held(world, claim))
    for server in cell.spec.servers:
        if server.holds == "Rows":
            row = world.migration_rows.of(pool_subject(name, server.name), name)
            failed = failed_as_it_is(row, source.files) is not None
            yield Subject(id=row.subject, version=row.version, failed=failed, pool=True)


def failed_as_it_is(row: MigrationRow, files: Bundle) -> File | None:
    """The file that this subject could not run, unless it is another one by now."""
    file = files.get(row.failed_version) if row.failed_version is not None else None
    return file if file is not None and file.checksum == row.failed_checksum else None


def retry_token(row: MigrationRow) -> str:
    """What names one failure: a later one of the same file is another."""
    return row.failed_time.isoformat() if row.failed_time is not None else ""


def cleared(row: MigrationRow) -> MigrationRow:
    """The same without its failure."""
    return replace(row, failed_version=None, failed_checksum=None, failed_time=None, reason=None, message=None)


async def _forgiven(world: World, cell: Cell) -> None:
    """Somebody said, on the Cell, that this very failure of a pool is to be tried again."""
    said = cell.metadata.annotations.get(RETRY_MIGRATION_ANNOTATION)
    for server in cell.spec.servers:
        row = world.migration_rows.of(pool_subject(cell.metadata.name, server.name), cell.metadata.name)
        if said and row.failed_time is not None and said == retry_token(row):
            await world.migration_rows.put(cleared(row), epoch=world.epoch)


def _held(world: World, claim: Claim) -> bool:
    """Whether a tenant is not to be touched: its migration login is closed, or people or a move have the tenant."""
    tenant = world.declared.tenants.glance(claim.tenant_name)
    facts = world.facts.get(claim.subscription_uid or "")
    if tenant is None or tenant.deleting or tenant.paused or "Moving" in tenant.true:
        return True
    if facts is None:
        return False
    phase = Phase(facts.phase)
    return EFFECTS[phase].access is not Access.FULL or changes_held(phase, tenant.holds) is not None


def _tell(world: World, cell: str, subject: str) -> None:
    if subject.startswith("pool/"):
        world.queue.add(Work(POOL, subject.removeprefix("pool/")), f"Cell/{cell}: migrations", background=True)
        return
    claim = world.registry.by_id(subject)
    if claim is not None:
        world.queue.add(Work("Tenant", claim.tenant_name), f"Cell/{cell}: migrations", background=True)


def _count(cell: str, decided: Turn) -> None:
    waiting = decided.total - decided.current - len(decided.failed) - decided.held
    states = {"current": decided.current, "failed": len(decided.failed), "held": decided.held, "waiting": waiting}
    for state, number in states.items():
        metrics.MIGRATIONS.labels(cell, state).set(number)


def _name(world: World, subject: str) -> str:
    claim = world.registry.by_id(subject)
    return claim.tenant_name if claim is not None else subject


def _status(world: World, source: Source, decided: Turn) -> MigrationsStatus:
    newest = source.files.get(source.files.latest)
    return MigrationsStatus(
        latest=newest.file_name if newest is not None else None,
        digest=source.files.digest,
        commit=source.commit,
        stage="Stopped" if source.failure is not None else decided.stage,
        subjects=decided.total,
        current=decided.current,
        in_progress=len(decided.admitted),
        held=decided.held,
        failed=tuple(_name(world, one) for one in decided.failed[:NAMED_AT_MOST]),
    )


def _fact(world: World, source: Source, decided: Turn) -> Fact:
    if source.failure is not None:
        return _behind(source.failure)
    newest = source.files.get(source.files.latest)
    said = f"{decided.current} of {decided.total} are at {newest.file_name if newest is not None else 'no file'}"
    if decided.failed:
        said += "; failed: " + ", ".join(_name(world, one) for one in decided.failed[:NAMED_AT_MOST])
    if decided.held:
        said += f"; {decided.held} are held"
    if source.away:
        said += f"; {source.away}, so these are the files of commit {source.commit}"
    if decided.stage == "Stopped":
        said += "; nobody else is migrated: see each one's MigrationsCurrent, then `paybill migrations retry`"
        return Fact(type=MIGRATIONS_CURRENT, status=c.FALSE, reason="MigrationBudgetSpent", message=said)
    if decided.current < decided.total:
        return Fact(type=MIGRATIONS_CURRENT, status=c.FALSE, reason="Migrating", message=said)
    return Fact(type=MIGRATIONS_CURRENT, status=c.TRUE, reason="Migrated", message=said)


def _behind(failure: Failure) -> Fact:
    return Fact(type=MIGRATIONS_CURRENT, status=c.FALSE, reason=failure.reason, message=failure.message)


def of_tenant(world: World, claim: Claim | None) -> tuple[Fact, ...]:
    """The condition MigrationsCurrent of a Tenant; absent where its Cell names no files."""
    source = world.migrations.of.get(claim.cell) if claim is not None else None
    if claim is None or source is None:
        return (Fact(type=MIGRATIONS_CURRENT, status=None),)
    row = world.migration_rows.of(claim.id, claim.cell)
    file = failed_as_it_is(row, source.files)
    if file is not None:
        return (
            Fact(
                type=MIGRATIONS_CURRENT,
                status=c.FALSE,
                reason=row.reason or "MigrationFailed",
                message=row.message or "",
            ),
        )
    version = reached(world, claim, row, source)
    at = source.files.get(version)
    said = f"at {at.file_name}" if at is not None else "no file has run"
    if version >= source.files.latest:
        return (Fact(type=MIGRATIONS_CURRENT, status=c.TRUE, reason="Migrated", message=said),)
    if source.failure is not None:
        return (_behind(source.failure),)
    waits = f"{said}; waits for its turn to run the files after it"
    return (Fact(type=MIGRATIONS_CURRENT, status=c.FALSE, reason="WaitingForMigration", message=waits),)


def reached(world: World, claim: Claim, row: MigrationRow, source: Source) -> int:
    """The version that a tenant is at; where tables are shared that is its pool's, once it has run the data's files."""
    if claim.level != "Rows":
        return row.version
    pool = world.migration_rows.of(pool_subject(claim.cell, claim.server), claim.cell)
    lacking = [one.version for one in data_files(source) if row.version < one.version <= pool.version]
    return row.version if lacking else pool.version


def data_files(source: Source) -> list[File]:
    """The files that run once for each tenant of shared tables."""
    return [file for file in source.files.files if kind(file) == "Data"]
