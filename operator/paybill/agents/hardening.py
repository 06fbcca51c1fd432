"""What a Postgres server leaves open to everybody who is let in, and is closed before an agent is.

Each of these is open to PUBLIC in a new database. It is taken from PUBLIC and given back to whoever could connect
before, so that their programs, and pg_dump, go on as they did. What stays open is in docs/concepts/agents.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg.sql import SQL, Composable, Identifier

from paybill.agents.facts import Facts
from paybill.databases.statement import Statement, listed

FUNCTIONS: Final = (
    "pg_sleep.*", "lo_.*", "lowrite", "loread", "pg_(try_)?advisory_.*", "pg_notify", "pg_logical_emit_message",
    "pg_export_snapshot", "pg_get_userbyid",
    "pg_stat_get_(activity|backend_.*|progress_info|wal_senders|replication.*)",
    "pg_show_all_settings", "pg_show_all_file_settings", "pg_hba_file_rules", "pg_cancel_backend",
    "pg_terminate_backend", "query_to_xml.*", "cursor_to_xml.*", "database_to_xml.*", "schema_to_xml.*",
    "table_to_xml.*", "ts_stat",
)  # fmt: skip
"""Patterns of functions' names: waiting, locks and messages that hold others up, large objects that fill the disk,
what tells of other roles and sessions, and what runs a text as a statement."""
CATALOGS: Final = (
    "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_group", "pg_hba_file_rules", "pg_locks",
    "pg_prepared_xacts", "pg_roles", "pg_seclabel", "pg_settings", "pg_shdepend", "pg_shdescription", "pg_shseclabel",
    "pg_stat_activity", "pg_stat_database", "pg_stat_database_conflicts", "pg_stat_replication", "pg_stat_ssl",
    "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_tablespace", "pg_user", "pg_user_mappings",
)  # fmt: skip
"""Catalogs that tell of other databases, roles and sessions, or show values out of tables."""
LANGUAGES: Final = ("plpgsql", "sql")
"""Without them there is no DO, and no function of one's own."""


def hardening(facts: Facts) -> Iterator[Statement]:
    """Close what is open, and keep it open to the insiders."""
    around = facts.surroundings
    to = listed(around.insiders) if around.insiders else None
    yield from _close(SQL("CREATE, TEMPORARY, CONNECT ON DATABASE {}").format(Identifier(facts.database)), "database")
    for schema in around.open_schemas:
        yield from _close(SQL("ALL ON SCHEMA {}").format(Identifier(schema)), f"schema {schema}", to)
    for language in LANGUAGES:
        yield from _close(SQL("USAGE ON LANGUAGE {}").format(Identifier(language)), f"language {language}", to)
    for function in around.open_functions:
        # The server spells it: a signature cannot be put together out of identifiers.
        yield from _close(SQL("EXECUTE ON FUNCTION pg_catalog.{}").format(SQL(function)), function, to)
    for catalog in around.open_catalogs:
        yield from _close(SQL("SELECT ON {}").format(Identifier("pg_catalog", catalog)), catalog, to)


def _close(what: Composable, says: str, keep: Composable | None = None) -> Iterator[Statement]:
    yield Statement(f"close {says} to PUBLIC", SQL("REVOKE {} FROM PUBLIC").format(what))
    if keep is not None:
        yield Statement(f"keep {says} for insiders", SQL("GRANT {} TO {}").format(what, keep))
