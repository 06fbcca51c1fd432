"""The provider's migrations as each Cell names them: read again with every look at the Cell, checked once per change.

Files that may not run are refused as a whole, before any tenant is touched; what has run already stays as it is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from paybill.api import duration
from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.api.migrations import GitSource
from paybill.desired.resource import Key, texts
from paybill.migrations import repository
from paybill.migrations.files import Bundle, bundle, read
from paybill.migrations.ledger import refuse_changed
from paybill.migrations.lint import lint
from paybill.migrations.repository import Checkout, Repository
from paybill.migrations.running import Limits
from paybill.reconcile.world import World

NAMED_AT_MOST = 3
GIT_EVERY = timedelta(seconds=30)
"""How often a Git server is asked at most: a Cell may be looked at many times a minute."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one Cell, and why they may not run (None: they may). ``admitted``: whose turn it is."""

    files: Bundle = field(default_factory=Bundle)
    limits: Limits = field(default_factory=Limits)
    failure: Failure | None = None
    admitted: frozenset[str] = frozenset()
    commit: str | None = None
    away: str = ""
    """Why the files were not read again, though what was read before still holds; empty where they were."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """The last look at a Git repository: what was there the last time that it answered, and why it did not since."""

    declared: GitSource
    time: datetime
    checkout: Checkout | None = None
    failure: Failure | None = None


@dataclass
class Sources:
    """The source of each Cell that names one, as of the last look at it."""

    of: dict[str, Source] = field(default_factory=dict)
    looked: dict[str, Looked] = field(default_factory=dict)
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
        world.migrations.looked.pop(name, None)
        return None
    limits = Limits(
        statement=duration.parse(declared.statement_timeout).total_seconds(),
        lock=duration.parse(declared.lock_timeout).total_seconds(),
    )
    before = world.migrations.of.get(name)
    files, failure, looked = Bundle(), None, None
    try:
        if declared.source.directory is not None:
            files = await asyncio.to_thread(read, Path(declared.source.directory))
        elif declared.source.git is not None:
            looked = await _looked_at(world, name, declared.source.git)
            files = _of(looked)
        else:
            files = await _from_config_map(world, cell)
        failure = world.migrations.checked(files)
        if failure is None:
            refuse_changed(files, world.migration_rows.ran(name), f"Cell {name}")
    except Failure as refused:
        failure = refused
    admitted = before.admitted if before is not None and failure is None else frozenset()
    checkout = looked.checkout if looked is not None else None
    source = Source(
        files=files,
        limits=limits,
        failure=failure,
        admitted=admitted,
        commit=checkout.commit if checkout is not None else None,
        away=looked.failure.message if looked is not None and looked.failure is not None else "",
    )
    world.migrations.of[name] = source
    return source


async def _looked_at(world: World, cell: str, declared: GitSource) -> Looked:
    """The repository, asked again where that was a while ago; a server that is away takes nothing away."""
    before = world.migrations.looked.get(cell)
    if before is not None and before.declared != declared:
        before = None
    if before is not None and world.now() < before.time + GIT_EVERY:
        return before
    known = before.checkout if before is not None else None
    try:
        checkout = await asyncio.to_thread(repository.read, await _repository(world, declared), known)
        looked = Looked(declared=declared, time=world.now(), checkout=checkout)
    except Failure as failure:
        kept = known if isinstance(failure, Retry) else None
        looked = Looked(declared=declared, time=world.now(), checkout=kept, failure=failure)
    world.migrations.looked[cell] = looked
    return looked


def _of(looked: Looked) -> Bundle:
    if looked.checkout is not None:
        return bundle(looked.checkout.texts)
    assert looked.failure is not None  # noqa: S101 - one of the two is there
    raise type(looked.failure)(looked.failure.reason, looked.failure.message)


async def _repository(world: World, declared: GitSource) -> Repository:
    """Where to ask, with the login that its Secret holds; raises Invalid (``SecretMissing``)."""
    login: dict[str, str] = {}
    if declared.credentials is not None:
        key = Key("Secret", world.settings.namespace, declared.credentials.secret_ref.name)
        found = texts(await world.cluster.get(key))
        for field_name in ("username", "password"):
            if field_name not in found:
                raise Invalid("SecretMissing", f"{key}, the login of {declared.url}, lacks {field_name}")
            login[field_name] = found[field_name].strip()
    return Repository(url=declared.url, ref=declared.ref, path=declared.path or "", **login)


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
