"""Adoptions: a row of the registry and the facts of its contract get a new owner, in one transaction or not at all.

What the registry kept of a tenant outlives the objects of Kubernetes. When those come back with other UIDs (a Tenant
that was deleted and is wanted again, manifests applied to an empty cluster), the row is handed to the new Tenant, and
the facts of its Subscription to the new Subscription: ids, data, credentials and deadlines stay what they were.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import errors, sql
from psycopg.rows import class_row

from paybill.api.failures import Blocked, Retry
from paybill.control.claims import COLUMNS, Claim
from paybill.control.database import Connection, ControlDatabase
from paybill.control.epoch import assert_epoch
from paybill.control.facts import FactStore
from paybill.control.registry import Registry

_ROW = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_ADOPT = sql.SQL(
    "UPDATE paybill.tenants SET state = 'claimed', tenant_name = %(name)s, tenant_uid = %(uid)s,"
    " delete_requested_time = NULL, drop_after = NULL, deletion_policy = NULL,"
    # The Secrets may have gone with the cluster: they are looked for, and made again where they are missing.
    " binding_uid = NULL, binding_version = NULL,"
    " adopted_time = %(now)s, adopted_by = %(approval)s, continues_uid = %(continues)s"
    " WHERE id = %(id)s AND version = %(version)s AND state <> 'dropped' AND drop_started_time IS NULL RETURNING {}"
).format(_ROW)
_OWN = (
    "UPDATE paybill.subscription_facts SET tenant_uid = %s, updated_time = now()"
    " WHERE tenant_uid = %s AND installation = %s RETURNING subscription_uid"
)
_CONTINUE = sql.SQL(
    "UPDATE paybill.tenants SET subscription_uid = %(uid)s, subscription_name = %(name)s, continues_uid = NULL"
    " WHERE id = %(id)s AND version = %(version)s RETURNING {}"
).format(_ROW)
_MOVE = (
    "UPDATE paybill.subscription_facts SET subscription_uid = %s, updated_time = now()"
    " WHERE subscription_uid = %s AND installation = %s"
)
_STATE = "SELECT state, installation FROM paybill.tenants WHERE id = %s"


class Adoptions:
    """What the registry and the facts change together."""

    def __init__(self, db: ControlDatabase, registry: Registry, facts: FactStore, *, shard: str = "") -> None:
        self._db = db
        self._registry = registry
        self._facts = facts
        self._shard = shard

    async def adopt(
        self, claim: Claim, *, name: str, uid: str, approval: str, continues: str | None, now: datetime, epoch: int
    ) -> Claim:
        """Hand ``claim`` to the Tenant ``name`` with ``uid``, by the Approval with the UID ``approval``.

        ``continues`` is the Subscription's UID whose contract a new object of the same name will continue. Raises
        ``Retry("RegistryConflict")`` when the row has changed, or ``uid`` holds another one, and
        ``Blocked("RegistryStateForbids")`` when it is dropped or its drop has begun.
        """
        values = {"name": name, "uid": uid, "approval": approval, "continues": continues, "now": now}
        owned: list[str] = []
        async with self._db.transaction() as connection:
            await assert_epoch(connection, epoch, self._shard)
            adopted = await _changed(connection, _ADOPT, claim, values)
            if adopted is not None:
                cursor = await connection.execute(_OWN, (uid, claim.tenant_uid, claim.installation))
                owned = [row[0] for row in await cursor.fetchall()]
        if adopted is None:
            now_is = await self._registry.refresh(claim.id)
            if now_is is None or now_is.drop_started_time is not None:
                gone = f"tenant {claim.id} is dropped, or its drop has begun: it cannot be adopted any more"
                raise Blocked("RegistryStateForbids", gone)
            raise _conflict(claim)
        for facts in map(self._facts.get, owned):
            if facts is not None:
                self._facts.know(replace(facts, tenant_uid=uid))
        return self._registry.know(adopted)

    async def continue_contract(self, claim: Claim, *, name: str, uid: str, epoch: int) -> Claim:
        """The Subscription with ``uid`` goes on with the contract that came along with ``claim``."""
        before = claim.continues_uid
        async with self._db.transaction() as connection:
            await assert_epoch(connection, epoch, self._shard)
            changed = await _changed(connection, _CONTINUE, claim, {"name": name, "uid": uid})
            if changed is not None and before is not None:
                await connection.execute(_MOVE, (uid, before, claim.installation))
        if changed is None:
            await self._registry.refresh(claim.id)
            raise _conflict(claim)
        facts = self._facts.get(before) if before is not None else None
        if facts is not None:
            self._facts.forget(facts.subscription_uid)
            self._facts.know(replace(facts, subscription_uid=uid))
        return self._registry.know(changed)

    async def state_of(self, tenant_id: str) -> tuple[str, str] | None:
        """State and installation of any row, also one that the mirror leaves out; None when there never was one."""
        async with self._db.session() as connection:
            row = await (await connection.execute(_STATE, (tenant_id,))).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))


async def _changed(
    connection: Connection, statement: sql.Composed, claim: Claim, values: dict[str, Any]
) -> Claim | None:
    cursor = connection.cursor(row_factory=class_row(Claim))
    try:
        await cursor.execute(statement, {**values, "id": claim.id, "version": claim.version})
    except errors.UniqueViolation as error:
        raise _conflict(claim) from error
    return await cursor.fetchone()


def _conflict(claim: Claim) -> Retry:
    return Retry("RegistryConflict", f"the registry's row of tenant {claim.id} was changed by someone else")
