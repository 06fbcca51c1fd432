"""What the control database knows of tenants' own infrastructure: what was applied last, and every operation.

Both are written before and after an engine works, so whoever leads next knows what may exist and whether an operation
may still be running. One operation per tenant at a time: a unique index is the lock of its stack, and the epoch of the
statement keeps a leader that was replaced from taking it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from paybill.api.failures import Retry
from paybill.control.database import ControlDatabase
from paybill.control.epoch import FENCED, assert_epoch
from paybill.lifecycle import operation as decided
from paybill.lifecycle.changes import Change


@dataclass(frozen=True, kw_only=True)
class StackFacts:
    """One tenant's stack. ``handed`` is the digest of what it handed over, which a Secret holds."""

    tenant_id: str
    engine: str
    stack: str
    place: str | None = None
    """Whose machines it is on and where its state is: in another place there is nothing of it."""
    applied_digest: str | None = None
    applied_time: datetime | None = None
    handed: str | None = None
    retained: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    unsearched: str | None = None
    """Where nobody looked for orphans: why, and how a person does."""
    drift_checked_time: datetime | None = None
    drift: tuple[Change, ...] = ()
    recovery_due: bool = False
    destroyed_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class OperationRow:
    """One operation, from being asked for to its end."""

    id: str
    tenant_id: str
    tenant_name: str
    cell: str
    tier: str = ""
    engine: str
    runner: str = "Subprocess"
    """Where it runs: Subprocess or Job."""
    kind: decided.Kind
    cause: str = ""
    inputs_digest: str
    expected: str | None = None
    destructive: bool = False
    """Whether what was approved takes something away: a halt of all that destroys holds it back."""
    approved_by: str | None = None
    state: decided.State = "Waiting"
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None
    changes: tuple[Change, ...] = ()
    changes_digest: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    retained: tuple[str, ...] = ()
    """Ids of what stays in the cloud though it leaves the stack, or would."""
    attempt: int = 1
    queued_time: datetime
    started_time: datetime | None = None
    ended_time: datetime | None = None
    holder: str | None = None
    """Who carries it out, as a lock that it takes names its holder."""
    pod: str | None = None
    """The pod that this is in, where it is one."""

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.ended_time is None

    @property
    def decided(self) -> decided.Operation:
        """As the decision needs it."""
        names = {one.name for one in fields(decided.Operation)}
        return decided.Operation(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who carried operations of a tenant out."""

    holder: str
    pod: str | None
    lost: bool
    """Whether nobody saw the end of any of them."""


_STACK = tuple(one.name for one in fields(StackFacts))
_ROW = tuple(one.name for one in fields(OperationRow))
_TIMES = {name for name in (*_STACK, *_ROW) if name.endswith("_time")}
_JSON = {"changes", "counts", "drift", "orphans", "retained"}
_NUMBERS = {"exit_code", "attempt"}


def _type(column: str) -> sql.SQL:
    if column in _TIMES:
        return sql.SQL("timestamptz")
    if column in _JSON:
        return sql.SQL("jsonb")
    if column in _NUMBERS:
        return sql.SQL("integer")
    return sql.SQL("boolean") if column in ("recovery_due", "destructive") else sql.SQL("text")


def _put(table: str, key: str, columns: tuple[str, ...], also: str = "") -> sql.Composed:
    return sql.SQL(
        "INSERT INTO {} (installation, {}) SELECT %s, {} FROM fence ON CONFLICT ({}) DO UPDATE SET {}{} RETURNING {}"
    ).format(
        sql.Identifier("paybill", table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.SQL("%s::{}").format(_type(name)) for name in columns),
        sql.Identifier(key),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns[1:]),
        sql.SQL(also),
        sql.Identifier(key),
    )


_PUT_STACK = _put("stacks", "tenant_id", _STACK, ", updated_time = now()")
_PUT_ROW = _put("operations", "id", _ROW)
_STACKS = sql.SQL("SELECT {} FROM paybill.stacks WHERE installation = %s").format(
    sql.SQL(", ").join(map(sql.Identifier, _STACK))
)
_NEWEST = sql.SQL(
    "SELECT DISTINCT ON (tenant_id) {} FROM paybill.operations WHERE installation = %s"
    " AND kind NOT IN ('drift', 'outputs', 'preview_destroy')"
    " ORDER BY tenant_id, ended_time IS NULL DESC, queued_time DESC, id DESC"
).format(sql.SQL(", ").join(map(sql.Identifier, _ROW)))
_READ = sql.SQL(
    "SELECT DISTINCT ON (tenant_id) {} FROM paybill.operations WHERE installation = %s AND kind = 'outputs'"
    " ORDER BY tenant_id, queued_time DESC, id DESC"
).format(sql.SQL(", ").join(map(sql.Identifier, _ROW)))
_OPEN = sql.SQL("SELECT {} FROM paybill.operations WHERE installation = %s AND ended_time IS NULL").format(
    sql.SQL(", ").join(map(sql.Identifier, _ROW))
)
_OPEN_OF = _OPEN + sql.SQL(" AND tenant_id = %s")


_PRUNE = sql.SQL(
    "DELETE FROM paybill.operations o USING fence WHERE o.tenant_id = %s AND ("
    "o.kind IN ('drift', 'outputs', 'preview_destroy') AND o.ended_time < now() - interval '7 days'"
    " OR o.state = 'Failed' AND o.ended_time < now() - interval '30 days' AND EXISTS (SELECT FROM paybill.operations n"
    " WHERE n.tenant_id = o.tenant_id AND n.kind NOT IN ('drift', 'outputs', 'preview_destroy')"
    " AND n.queued_time > o.queued_time))"
)
_HOLDERS = (
    "SELECT holder, pod, bool_or(state = 'Lost') AS lost FROM paybill.operations"
    " WHERE tenant_id = %s AND holder IS NOT NULL AND ended_time IS NOT NULL GROUP BY holder, pod ORDER BY holder, pod"
)
_KNOWN = "SELECT 1 FROM paybill.operations WHERE id = %s"


class OperationStore:
    """The stacks and operations of one installation; reads come from memory, writes go to the database first."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self._stacks: dict[str, StackFacts] = {}
        self._newest: dict[str, OperationRow] = {}
        self._read: dict[str, OperationRow] = {}
        self._open: dict[str, OperationRow] = {}
        self._seen: set[str] = set()
        self._queued: dict[str, datetime] = {}

    async def load(self) -> None:
        """Read what is known, in place of what was in memory."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            stacks = await (await cursor.execute(_STACKS, (self._installation,))).fetchall()
            newest = await (await cursor.execute(_NEWEST, (self._installation,))).fetchall()
            read = await (await cursor.execute(_READ, (self._installation,))).fetchall()
            opened = await (await cursor.execute(_OPEN, (self._installation,))).fetchall()
        self._stacks = {row["tenant_id"]: StackFacts(**_read(row)) for row in stacks}
        self._newest = {row["tenant_id"]: OperationRow(**_read(row)) for row in newest}
        self._read = {row["tenant_id"]: OperationRow(**_read(row)) for row in read}
        self._open = {row["tenant_id"]: OperationRow(**_read(row)) for row in opened}

    def stack(self, tenant_id: str) -> StackFacts | None:
        """What is known of a tenant's stack; None when there never was one."""
        return self._stacks.get(tenant_id)

    def stacks(self) -> tuple[StackFacts, ...]:
        """Every stack."""
        return tuple(self._stacks.values())

    def newest(self, tenant_id: str) -> OperationRow | None:
        """The tenant's newest operation that did, or was to do, more than to look at what is there or would go."""
        return self._newest.get(tenant_id)

    def newest_read(self, tenant_id: str) -> OperationRow | None:
        """The tenant's newest operation that only read what its stack hands over."""
        return self._read.get(tenant_id)

    async def holders(self, tenant_id: str) -> tuple[Holder, ...]:
        """Who carried out the operations of a tenant that have ended."""
        async with self._db.session() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            found = await (await cursor.execute(_HOLDERS, (tenant_id,))).fetchall()
        return tuple(Holder(**row) for row in found)

    def last_queued(self, tenant_id: str) -> datetime | None:
        """When the tenant's latest operation was queued, as far as memory knows, drift checks among them."""
        newest = (self._newest.get(tenant_id), self._read.get(tenant_id))
        known = (self._queued.get(tenant_id), *(row.queued_time for row in newest if row is not None))
        return max(filter(None, known), default=None)

    def open_of(self, tenant_id: str) -> OperationRow | None:
        """The tenant's operation that has not ended, drift checks among them."""
        return self._open.get(tenant_id)

    def opened(self) -> tuple[OperationRow, ...]:
        """All operations that have not ended, the oldest first."""
        return tuple(sorted(self._open.values(), key=lambda row: (row.queued_time, row.id)))

    async def known(self, operation_id: str) -> bool:
        """Whether there was ever an operation of this id."""
        if operation_id not in self._seen:
            async with self._db.session() as connection:
                found = await (await connection.execute(_KNOWN, (operation_id,))).fetchone()
            if found is None:
                return False
            self._seen.add(operation_id)
        return True

    async def put_stack(self, facts: StackFacts, *, epoch: int) -> StackFacts:
        """Keep what is known of a stack; writes nothing when it stands already."""
        if self._stacks.get(facts.tenant_id) == facts:
            return facts
        await self._write(_PUT_STACK, facts, _STACK, epoch)
        self._stacks[facts.tenant_id] = facts
        return facts

    async def put(self, row: OperationRow, *, epoch: int) -> OperationRow:
        """Keep an operation. Raises Retry('OperationRunning') when the tenant has another one that has not ended."""
        other = self._open.get(row.tenant_id)
        if row.open and other is not None and other.id != row.id:
            raise Retry("OperationRunning", f"operation {other.id} ({other.kind}) of {row.tenant_name} has not ended")
        try:
            await self._write(_PUT_ROW, row, _ROW, epoch)
        except errors.UniqueViolation as error:
            await self._learn(row.tenant_id)
            raise Retry("OperationRunning", f"another operation of {row.tenant_name} was begun elsewhere") from error
        self._queued[row.tenant_id] = max(row.queued_time, self._queued.get(row.tenant_id, row.queued_time))
        if row.open:
            self._open[row.tenant_id] = row
        elif other is not None and other.id == row.id:
            del self._open[row.tenant_id]
        self._remember(row)
        return row

    def _remember(self, row: OperationRow) -> None:
        if row.kind == "outputs":
            self._read[row.tenant_id] = row
        elif row.kind not in decided.ASIDE:
            self._newest[row.tenant_id] = row

    async def _learn(self, tenant_id: str) -> None:
        """Take up a tenant's operation that memory does not know: our own, whose writing got through unanswered."""
        async with self._db.session() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            found = await (await cursor.execute(_OPEN_OF, (self._installation, tenant_id))).fetchone()
        if found is not None:
            row = self._open[tenant_id] = OperationRow(**_read(found))
            self._remember(row)

    async def forget_old(self, tenant_id: str, *, epoch: int) -> None:
        """Leave out looks and failures of long ago: what fails is tried four times an hour, for ever.

        What was done stays, and so does the newest operation, which the next one is decided by.
        """
        async with self._db.session() as connection:
            await connection.execute(FENCED + _PRUNE, (self._shard, epoch, tenant_id))

    async def change(self, row: OperationRow, *, epoch: int, **changes: Any) -> OperationRow:
        """The same operation with other values."""
        return await self.put(replace(row, **changes), epoch=epoch)

    async def _write(
        self, statement: sql.Composed, value: StackFacts | OperationRow, columns: Iterable[str], epoch: int
    ) -> None:
        values = [_written(name, getattr(value, name)) for name in columns]
        async with self._db.session() as connection:
            cursor = await connection.execute(FENCED + statement, (self._shard, epoch, self._installation, *values))
            if await cursor.fetchone() is None:
                await assert_epoch(connection, epoch, self._shard)
                raise Retry("RegistryConflict", "the epoch was taken, and given back, while an operation was written")


def _written(column: str, value: Any) -> Any:
    if column in ("changes", "drift"):
        return Jsonb(_storable([one.model_dump(mode="json") for one in value]))
    if column in ("retained", "orphans"):
        return Jsonb(_storable(list(value)))
    return Jsonb(dict(value)) if column == "counts" else _storable(value)


def _storable(value: Any) -> Any:
    """Without the one character that Postgres takes neither as text nor in JSON: what a tool said is not ours."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case list():
            return [_storable(one) for one in value]
        case dict():
            return {name: _storable(one) for name, one in value.items()}
        case _:
            return value


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(row)
    for column in ("changes", "drift"):
        if column in found:
            found[column] = tuple(Change.model_validate(one) for one in found[column])
    for column in ("retained", "orphans"):
        if column in found:
            found[column] = tuple(found[column])
    return found
