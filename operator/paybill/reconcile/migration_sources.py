"""The provider's migrations as each Cell names them: read again with every look at the Cell, checked once per change.

Files that may not run are refused as a whole, before any tenant is touched; what has run already stays as it is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from paybill.api import duration
from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Failure, Invalid
from paybill.desired.resource import Key
from paybill.migrations.files import Bundle, bundle, read
from paybill.migrations.ledger import refuse_changed
from paybill.migrations.lint import lint
from paybill.migrations.running import Limits
from paybill.reconcile.world import World

NAMED_AT_MOST = 3


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one Cell, and why they may not run (None: they may). ``admitted``: whose turn it is."""

    files: Bundle = field(default_factory=Bundle)
    limits: Limits = field(default_factory=Limits)
    failure: Failure | None = None
    admitted: frozenset[str] = frozenset()


@dataclass
class Sources:
    """The source of each Cell that names one, as of the last look at it."""

    of: dict[str, Source] = field(default_factory=dict)
    _checked: dict[str, Failure | None] = field(default_factory=dict)

    def checked(self, files: Bundle) -> Failure | None:
        """Why the rules refuse the files; the answer for the same files is kept."""
        if files.digest not in self._checked:
            self._checked = {files.digest: _refusal(files)}
        return self._checked[files.digest]


async def load(world: World, cell: Cell) -> Source | None:
    """Read what the Cell names, now; None when it names nothing."""
    declared, name = cell.spec.migrations, cell.metadata.name
    if declared is None:
        world.migrations.of.pop(name, None)
        return None
    limits = Limits(
        statement=duration.parse(declared.statement_timeout).total_seconds(),
        lock=duration.parse(declared.lock_timeout).total_seconds(),
    )
    before = world.migrations.of.get(name)
    files, failure = Bundle(), None
    try:
        if declared.source.directory is not None:
            files = await asyncio.to_thread(read, Path(declared.source.directory))
        else:
            files = await _from_config_map(world, cell)
        failure = world.migrations.checked(files)
        if failure is None:
            refuse_changed(files, world.migration_rows.ran(name), f"Cell {name}")
    except Failure as refused:
        failure = refused
    admitted = before.admitted if before is not None and failure is None else frozenset()
    source = Source(files=files, limits=limits, failure=failure, admitted=admitted)
    world.migrations.of[name] = source
    return source


async def _from_config_map(world: World, cell: Cell) -> Bundle:
    declared = cell.spec.migrations
    reference = declared.source.config_map_ref if declared is not None else None
    key = Key("ConfigMap", world.settings.namespace, reference.name if reference is not None else "")
    found = await world.cluster.get(key)
    if found is None:
        raise Invalid("MigrationsUnreadable", f"{key} does not exist: put the files there, a key for each")
    return bundle(found.get("data") or {})


def _refusal(files: Bundle) -> Failure | None:
    found = lint(files)
    if not found:
        return None
    first = "; ".join(str(one) for one in found[:NAMED_AT_MOST])
    more = f"; and {len(found) - NAMED_AT_MOST} more" if len(found) > NAMED_AT_MOST else ""
    return Blocked("MigrationsRefused", f"none of the files may run: {first}{more} (`paybill migrations lint`)")
