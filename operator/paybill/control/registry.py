"""The registry: which tenants exist, whose they are, where they sit; mirrored in memory as every reconcile asks.

An id is claimed here before anything is created, so that a crash leaves a row that says what may exist. Claims of one
installation are taken one after the other (a lock per installation), so the pure ``place`` function always decides on
counts that nobody else is changing, and a server is never filled beyond its capacity.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg import errors, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from paybill.api.failures import Blocked, Retry
from paybill.control import placements
from paybill.control.claims import CHANGEABLE, COLUMNS, Claim, Placement, State, random_id
from paybill.control.database import Connection, ControlDatabase
from paybill.control.epoch import FENCED, assert_epoch
from paybill.control.mirror import Mirror
from paybill.desired import names
from paybill.desired.sql_names import pool_database_name, tenant_database

Place = Callable[[Mapping[tuple[str, str], int]], Placement]
"""Chooses a place from the number of tenants per (cell, server); raises ``Blocked`` when none has room."""

ATTEMPTS = 20

_ROW = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_LIVE = sql.SQL(
    "SELECT {} FROM paybill.tenants WHERE installation = %s AND state <> 'dropped' ORDER BY created_time, id"
).format(_ROW)
_BY_UID = sql.SQL("SELECT {} FROM paybill.tenants WHERE tenant_uid = %s AND state <> 'dropped'").format(_ROW)
_BY_ID = sql.SQL("SELECT {} FROM paybill.tenants WHERE id = %s AND installation = %s").format(_ROW)
_TOMBSTONE = sql.SQL(
    "SELECT {} FROM paybill.tenants WHERE tenant_uid = %s AND installation = %s AND state = 'dropped'"
).format(_ROW)
_INSERT = sql.SQL("INSERT INTO paybill.tenants ({}) VALUES ({}) RETURNING {}")


class Registry:
    """The tenants of one installation; reads come from memory, writes go to the database first."""

    def __init__(
        self, db: ControlDatabase, installation: str, *, shard: str = "", new_id: Callable[[], str] = random_id
    ) -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self._new_id = new_id
        self._mirror = Mirror()
        self.guard: Callable[[], None] = lambda: None
        """Raises when nothing may be written now; asked where something would be."""
        # One session at a time waits for the installation's lock; the others stay free for the audit log.
        self._one_claim = asyncio.Lock()

    async def load(self) -> None:
        """Read every row that is not dropped, in one query, in place of what was in memory."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Claim))
            claims = await (await cursor.execute(_LIVE, (self._installation,))).fetchall()
        self._mirror.clear()
        for claim in claims:
            self._mirror.put(claim)

    def by_uid(self, uid: str) -> Claim | None:
        """The claim of the Tenant with this UID, in whatever state but dropped."""
        return self._mirror.by_uid(uid)

    def by_id(self, tenant_id: str) -> Claim | None:
        """The claim with this id, in whatever state but dropped."""
        return self._mirror.by_id(tenant_id)

    def by_subscription(self, uid: str) -> Claim | None:
        """The claim that is bound to the Subscription with this UID."""
        return self._mirror.by_subscription(uid)

    def named(self, tenant_name: str) -> tuple[Claim, ...]:
        """The claims, in whatever state but dropped, whose Tenant has or had this name, oldest first."""
        return self._mirror.named(tenant_name)

    async def tombstone(self, uid: str) -> Claim | None:
        """What is left of a tenant that was dropped, by the UID of its last Tenant; asked of the database."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Claim))
            return await (await cursor.execute(_TOMBSTONE, (uid, self._installation))).fetchone()

    def count(self, cell: str) -> int:
        """How many claims, in whatever state but dropped, are placed in this cell."""
        return self._mirror.count(cell)

    def all(self) -> tuple[Claim, ...]:
        """Every claim but the dropped ones, oldest first."""
        return self._mirror.all()

    def due_drops(self, now: datetime) -> tuple[Claim, ...]:
        """The deleted claims whose ``drop_after`` has come, the longest due first."""
        due = [c for c in self._mirror.all() if c.state == "deleted" and c.drop_after and c.drop_after <= now]
        return tuple(sorted(due, key=lambda claim: (claim.drop_after, claim.id)))

    async def claim(self, tenant_name: str, tenant_uid: str, place: Place, epoch: int, **initial: Any) -> Claim:
        """The claim of this Tenant, made now with a fresh id and the place that ``place`` chooses, if there is none.

        ``initial`` are columns of ``CHANGEABLE`` that a new row starts with. What ``place`` raises goes to the caller
        and leaves nothing behind; an existing claim is returned in whatever state it is, without asking ``place``.
        """
        _refuse_unknown(initial)
        if existing := self.by_uid(tenant_uid):
            return existing
        self.guard()
        async with self._one_claim:
            if existing := self.by_uid(tenant_uid):
                return existing
            for _ in range(ATTEMPTS):
                try:
                    claim = await self._claim_once(tenant_name, tenant_uid, place, epoch, initial)
                except errors.UniqueViolation as error:
                    if error.diag.constraint_name != "tenants_pkey":
                        raise Retry("RegistryConflict", f"Tenant {tenant_name} is being claimed elsewhere") from error
                    continue
                return self._mirror.put(claim)
        raise Blocked("NoFreeId", f"no free id was found for Tenant {tenant_name} in {ATTEMPTS} attempts")

    async def _claim_once(
        self, tenant_name: str, tenant_uid: str, place: Place, epoch: int, initial: Mapping[str, Any]
    ) -> Claim:
        async with self._db.transaction() as connection:
            await assert_epoch(connection, epoch, self._shard)
            counts = await placements.locked_counts(connection, self._installation)
            cursor = connection.cursor(row_factory=class_row(Claim))
            if existing := await (await cursor.execute(_BY_UID, (tenant_uid,))).fetchone():
                return self._own(existing)
            chosen, tenant_id = place(counts), self._new_id()
            if chosen.level == "Server":
                # A server of the tenant's own is called after the tenant.
                server = names.own_server(tenant_id)
                chosen = replace(chosen, server=server, pool_database=pool_database_name(chosen.cell, server))
            elif chosen.level == "Database":
                chosen = replace(chosen, pool_database=tenant_database(tenant_id))
            row = {
                "id": tenant_id, "installation": self._installation,
                "tenant_name": tenant_name, "tenant_uid": tenant_uid,
                "cell": chosen.cell, "server": chosen.server, "compute": chosen.compute,
                "level": chosen.level, "pool_database": chosen.pool_database, **initial,
            }  # fmt: skip
            columns = sql.SQL(", ").join(map(sql.Identifier, row))
            values = sql.SQL(", ").join(sql.Placeholder() * len(row))
            await cursor.execute(_INSERT.format(columns, values, _ROW), tuple(row.values()))
            claim = await cursor.fetchone()
        assert claim is not None  # noqa: S101 - INSERT … RETURNING
        return claim

    async def update(self, tenant_id: str, *, epoch: int, **changes: Any) -> Claim:
        """Change columns of ``CHANGEABLE``; writes nothing when all have their values already.

        Raises ``Retry("RegistryConflict")`` when the row is not the one in memory any more (memory is then renewed).
        """
        _refuse_unknown(changes)
        claim = self._known(tenant_id)
        return await self._write(claim, changes, epoch)

    async def release(self, tenant_id: str, *, epoch: int) -> Claim:
        """Leave everything of the tenant as it is, for a later adoption (deletion policy Retain)."""
        return await self._to_state(tenant_id, "released", {"claimed"}, {}, epoch)

    async def mark_deleted(
        self, tenant_id: str, drop_after: datetime, *, epoch: int, requested: datetime | None = None
    ) -> Claim:
        """Note the request (made now, unless ``requested``) and when the drop may run; the first one's times stand."""
        asked = self._known(tenant_id).delete_requested_time or requested or datetime.now(UTC)
        times = {"drop_after": drop_after, "delete_requested_time": asked}
        return await self._to_state(tenant_id, "deleted", {"claimed"}, times, epoch)

    async def expedite(self, tenant_id: str, now: datetime, *, epoch: int) -> Claim:
        """Let the drop of a deleted or released tenant run at once, without the proof of a final backup."""
        claim = self._known(tenant_id)
        if claim.state not in {"deleted", "released"}:
            raise Blocked(
                "RegistryStateForbids", f"tenant {tenant_id} is {claim.state} in the registry: its Tenant stands"
            )
        times = {"drop_after": now, "delete_requested_time": claim.delete_requested_time or now}
        return await self._write(claim, {**times, "state": "deleted", "deletion_policy": "Delete"}, epoch)

    async def begin_drop(self, tenant_id: str, now: datetime, *, epoch: int) -> Claim:
        """Note that the drop begins: from now on nobody can adopt what is left. To be called before the first SQL."""
        claim = self._known(tenant_id)
        if claim.state != "deleted":
            raise Blocked(
                "RegistryStateForbids", f"tenant {tenant_id} is {claim.state}, not deleted: nothing is dropped"
            )
        return await self._write(claim, {"drop_started_time": claim.drop_started_time or now}, epoch)

    async def mark_dropped(self, tenant_id: str, *, epoch: int) -> Claim:
        """Turn a deleted claim into a tombstone and free its place; the id is never used again."""
        return await self._to_state(tenant_id, "dropped", {"deleted"}, {}, epoch)

    async def _to_state(
        self, tenant_id: str, state: State, before: set[State], changes: dict[str, Any], epoch: int
    ) -> Claim:
        claim = self._known(tenant_id)
        if claim.state == state:
            return claim
        if claim.state not in before:
            raise Blocked(
                "RegistryStateForbids", f"tenant {tenant_id} is {claim.state} in the registry and cannot become {state}"
            )
        return await self._write(claim, {**changes, "state": state}, epoch)

    async def _write(self, claim: Claim, changes: dict[str, Any], epoch: int) -> Claim:
        changes = {name: value for name, value in changes.items() if getattr(claim, name) != value}
        if not changes:
            return claim
        self.guard()
        async with self._db.session() as connection:
            written = await self._write_row(connection, claim, changes, epoch)
            if written is None:
                await assert_epoch(connection, epoch, self._shard)
        if written is None:
            await self.refresh(claim.id)
            raise Retry("RegistryConflict", f"the registry's row of tenant {claim.id} was changed by someone else")
        return self._mirror.put(written)

    async def _write_row(
        self, connection: Connection, claim: Claim, changes: dict[str, Any], epoch: int
    ) -> Claim | None:
        columns = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in changes)
        statement = sql.SQL("UPDATE paybill.tenants SET {} FROM fence WHERE id = %s AND version = %s RETURNING {}")
        cursor = connection.cursor(row_factory=class_row(Claim))
        given = (Jsonb(value) if isinstance(value, dict) else value for value in changes.values())
        values = (self._shard, epoch, *given, claim.id, claim.version)
        await cursor.execute(FENCED + statement.format(columns, _ROW), values)
        return await cursor.fetchone()

    def know(self, claim: Claim) -> Claim:
        """Take up a row that was written elsewhere in this package, in a transaction with more than the registry."""
        return self._mirror.put(claim)

    async def refresh(self, tenant_id: str) -> Claim | None:
        """Read one row anew; None when it is dropped or not there."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Claim))
            row = await (await cursor.execute(_BY_ID, (tenant_id, self._installation))).fetchone()
        if row is None:
            self._mirror.forget(tenant_id)
        else:
            self._mirror.put(row)
        return self._mirror.by_id(tenant_id)

    def _known(self, tenant_id: str) -> Claim:
        if claim := self._mirror.by_id(tenant_id):
            return claim
        raise Blocked("NotInRegistry", f"tenant id {tenant_id} is not in the registry of '{self._installation}'")

    def _own(self, claim: Claim) -> Claim:
        if claim.installation != self._installation:
            raise Blocked(
                "ForeignInstallation",
                f"Tenant {claim.tenant_name} is claimed as {claim.id} by installation '{claim.installation}'",
            )
        return claim


def _refuse_unknown(changes: Mapping[str, Any]) -> None:
    if unknown := changes.keys() - CHANGEABLE:
        raise ValueError(f"the registry does not let these be set: {', '.join(sorted(unknown))}")
