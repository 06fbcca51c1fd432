"""What a tenant's schema looks like, in lines that are the same on both sides, and what of it stands in a move's way.

Read from catalogs alone. The lines are compared twice: the source's before it was copied with the source's behind the
fence (logical replication carries no DDL, so a table that was altered meanwhile sends the copy back to its beginning),
and the source's with the target's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.moves import into_shared, shared
from paybill.moves.job import Job, Place

_SHAPE: Final = """
WITH space AS (SELECT to_regnamespace(%s)::oid AS oid),
rel AS (SELECT c.* FROM pg_class c, space WHERE c.relnamespace = space.oid)
SELECT format('relation %%s %%s %%s rls %%s %%s', relkind, relname, relpersistence, relrowsecurity, relforcerowsecurity)
  FROM rel WHERE relkind NOT IN ('i', 'I')
UNION ALL
SELECT format('column %%s.%%s %%s %%s default %%s identity %%s generated %%s', rel.relname, a.attname,
              format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
              a.attidentity, a.attgenerated)
  FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
 WHERE rel.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
UNION ALL
SELECT format('constraint %%s of %%s %%s', c.conname, rel.relname, pg_get_constraintdef(c.oid))
  FROM pg_constraint c JOIN rel ON rel.oid = c.conrelid WHERE c.contype NOT IN ('n', 't')
UNION ALL
SELECT 'index ' || pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN rel ON rel.oid = i.indrelid
UNION ALL
SELECT format('trigger %%s %%s', t.tgenabled, pg_get_triggerdef(t.oid))
  FROM pg_trigger t JOIN rel ON rel.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('rule %%s %%s', r.ev_enabled, pg_get_ruledef(r.oid)) FROM pg_rewrite r JOIN rel ON rel.oid = r.ev_class
UNION ALL
SELECT format('policy %%s of %%s %%s %%s %%s %%s', p.polname, rel.relname, p.polcmd, p.polpermissive,
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy p JOIN rel ON rel.oid = p.polrelid
UNION ALL
SELECT format('function %%s %%s', p.proname, CASE WHEN p.prokind = 'a' THEN p.pronargs::text
              ELSE md5(pg_get_functiondef(p.oid)) END)
  FROM pg_proc p, space WHERE p.pronamespace = space.oid
UNION ALL
SELECT format('type %%s %%s', t.typtype, t.typname) FROM pg_type t, space
 WHERE t.typnamespace = space.oid AND t.typtype IN ('d', 'e', 'r')
UNION ALL
SELECT format('privilege %%s on %%s for %%s', a.privilege_type, rel.relname,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END)
  FROM rel, aclexplode(COALESCE(rel.relacl, acldefault(CASE rel.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
                                                       rel.relowner))) a
 WHERE rel.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
ORDER BY 1
"""
_TABLES: Final = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' ORDER BY 1
"""
_UNIDENTIFIED: Final = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND c.relpersistence = 'p'
   AND CASE c.relreplident WHEN 'f' THEN false WHEN 'n' THEN true
         WHEN 'd' THEN NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
         ELSE NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) END ORDER BY 1
"""
_KINDS: Final = """
SELECT count(*) FILTER (WHERE relkind = 'r' AND relpersistence = 'u')::int,
       count(*) FILTER (WHERE relkind = 'm')::int, count(*) FILTER (WHERE relkind = 'f')::int
  FROM pg_class WHERE relnamespace = to_regnamespace(%s)
"""
# What a replicated row would make the target's server run, on a server that applies rows as a superuser.
_RUNS: Final = """
WITH space AS (SELECT to_regnamespace(%s)::oid AS oid)
SELECT (SELECT count(*) FROM pg_proc p, space WHERE p.pronamespace = space.oid)
     + (SELECT count(*) FROM pg_constraint c, space WHERE c.connamespace = space.oid AND c.contype = 'c')
     + (SELECT count(*) FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid, space
         WHERE r.relnamespace = space.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
     + (SELECT count(*) FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid, space
         WHERE r.relnamespace = space.oid AND a.attgenerated <> '')
     + (SELECT count(*) FROM pg_type t, space WHERE t.typnamespace = space.oid AND t.typtype IN ('d', 'r'))
"""
_LARGE_OBJECTS: Final = """
SELECT count(*)::int FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner WHERE r.rolname = ANY(%s)
"""
_REPLICATION: Final = """
SELECT current_setting('wal_level'),
       current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)::int,
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)::int
"""
_WORKERS: Final = """
SELECT current_setting('max_logical_replication_workers')::int - count(pid)::int FROM pg_stat_subscription
"""
_EXTENSIONS: Final = "SELECT extname::text, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
# Whoever makes them all in one transaction holds a lock on each until its end, and so does who dumps the tables.
_RELATIONS: Final = """
SELECT count(*)::int FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s)
    OR c.oid IN (SELECT t.reltoastrelid FROM pg_class t WHERE t.relnamespace = to_regnamespace(%s))
    OR c.oid IN (SELECT i.indexrelid FROM pg_index i JOIN pg_class t ON t.reltoastrelid = i.indrelid
                  WHERE t.relnamespace = to_regnamespace(%s))
"""
_LOCKS: Final = """
SELECT current_setting('max_locks_per_transaction')::int
     * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)
"""
_SIZE: Final = """
SELECT COALESCE(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
 WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'm')
"""
RATE: Final = 20_000_000.0
"""Bytes per second that are dumped, restored and compared (bench/README.md, on two shared processors)."""
FIXED: Final = 1.0
"""Seconds that it takes whatever the size."""
_SLOTS_NEEDED: Final = 3
"""One for the move and one for each of the two tables that are copied at a time."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a look before the move found: ``refusals`` forbid it, ``offline`` says why it cannot run while used."""

    shape: str
    tables: tuple[str, ...]
    extensions: tuple[tuple[str, str], ...]
    refusals: tuple[str, ...]
    offline: tuple[str, ...]
    size: int = 0
    """Bytes of its tables, with their indexes."""

    @property
    def pause(self) -> float:
        """Seconds that its logins are closed for where it goes offline, as estimated."""
        return FIXED + self.size / RATE


async def lines(place: Place, schema: str) -> tuple[str, ...]:
    """The schema in lines, sorted."""
    async with place.server.session(place.pool.name) as session:
        return tuple([text for (text,) in await _rows(session, _SHAPE, [schema])])


def digest(shape: tuple[str, ...]) -> str:
    """The lines in one word."""
    return hashlib.sha256("\n".join(shape).encode()).hexdigest()[:32]


async def look(job: Job) -> Findings:
    """What stands in the way of this move; changes nothing."""
    source, schema = job.source, job.schema
    shape = await lines(source, schema)
    async with source.server.session(source.pool.name) as session:
        tables = tuple([name for (name,) in await _rows(session, _TABLES, [schema])])
        unidentified = [name for (name,) in await _rows(session, _UNIDENTIFIED, [schema])]
        ((unlogged, materialized, foreign),) = await _rows(session, _KINDS, [schema])
        ((runs,),) = await _rows(session, _RUNS, [schema])
        ((relations,),) = await _rows(session, _RELATIONS, [schema, schema, schema])
        ((size,),) = await _rows(session, _SIZE, [schema])
        ((large_objects,),) = await _rows(session, _LARGE_OBJECTS, [sorted(names.role_names(job.tenant))])
        extensions = tuple(await _rows(session, _EXTENSIONS, []))
        refusals, offline = await shared.look(session) if job.rows else ([], [])
    if large_objects and not (source.own and job.target.own):
        refusals.append(
            f"{large_objects} large objects, which a tenant may have only in a database of its own, and this move ends"
            " in another one: store them as bytea, or remove them"
        )
    elif large_objects:
        offline.append(f"{large_objects} large objects, which are not replicated")
    if (most := await _locks(job)) < relations:
        refusals.append(
            f"{relations} tables, indexes and sequences, more than the {most} locks that its servers hold at a time:"
            " raise max_locks_per_transaction"
        )
    if job.into_rows:
        ours = await lines(job.target, names.ROWS_SCHEMA)
        refusals += into_shared.refusals(job, shape, ours, size)
        offline.append("its rows being inserted behind row security, which replication would pass by")
    if foreign:
        refusals.append(f"{foreign} foreign tables, whose servers the target does not know: remove them")
    if unidentified:
        offline.append(f"{_some(unidentified)} without a primary key, whose changes cannot be replicated")
    if unlogged:
        offline.append(f"{unlogged} unlogged tables, which are not replicated")
    if materialized:
        offline.append(f"{materialized} materialized views, which are not replicated")
    offline += await _servers(job, runs=runs > 0)
    return Findings(
        shape=digest(shape),
        tables=tables,
        extensions=extensions,
        refusals=tuple(refusals),
        offline=tuple(offline),
        size=size,
    )


async def _servers(job: Job, *, runs: bool) -> list[str]:
    """Why the servers cannot replicate the one to the other."""
    said = []
    for what, server in _distinct(job):
        if not server.traits.superuser:
            said.append(f"the administrator of the {what} server is no superuser, so it may not replicate for others")
    if said:
        return said
    async with job.source.server.session() as session:
        ((level, slots, senders),) = await _rows(session, _REPLICATION, [])
    if level != "logical":
        said.append(f"the source server's wal_level is {level}, not logical")
    elif min(slots, senders) < _SLOTS_NEEDED:
        said.append(f"the source server has {slots} replication slots and {senders} senders left, 3 are needed")
    async with job.target.server.session() as session:
        ((workers,),) = await _rows(session, _WORKERS, [])
    if workers < 1:
        said.append(
            "the target server has no worker for logical replication left: raise max_logical_replication_workers"
        )
    if runs and job.target.server.traits.version < 160000:
        said.append(
            "Postgres 15 applies replicated rows as a superuser, and this tenant's functions or conditions would run"
        )
    if not job.same_server and "sslrootcert" in job.source.server.address():
        said.append("the target server cannot verify the source server's certificate")
    return said


async def _locks(job: Job) -> int:
    """How many objects may be locked at a time, on the server that has the least room for it."""
    room: list[int] = []
    for _, server in _distinct(job):
        async with server.session() as session:
            room += [most for (most,) in await _rows(session, _LOCKS, [])]
    return min(room)


def _distinct(job: Job) -> list[tuple[str, Server]]:
    both = [("source", job.source.server), ("target", job.target.server)]
    return both[:1] if job.same_server else both


def _some(those: list[str]) -> str:
    more = f" and {len(those) - 3} more" if len(those) > 3 else ""
    return f"table{'s' if len(those) > 1 else ''} {', '.join(those[:3])}{more}"


async def _rows(session: Session, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode(), values or None)
    return await cursor.fetchall()
