"""What whoever stole an agent's login tries with free SQL, what denies it, and what that is worth when it is gone.

``{t}`` is the tenant's schema, ``{l}`` the agent's login, ``{g}`` the role of its gates, ``{k}`` the keeper, ``{db}``
the database. Numbers are those of the list of attacks in docs/reference/attacks.md.
"""

from dataclasses import dataclass

NOTHING = "nothing"
THROUGH = "through"
UNTRIGGERED = "ALTER TABLE {t}.orders DISABLE TRIGGER pba_write_update"
UNFENCED = "ALTER TABLE {t}.orders DISABLE ROW LEVEL SECURITY"
WRITE = "UPDATE {t}.orders SET notes = 'x' WHERE id = 2"


@dataclass(frozen=True)
class Attack:
    """``denied`` is an SQLSTATE or NOTHING (no row); ``without`` removes the one protection, by the superuser.

    ``given`` is the situation in which it is tried, taken back by ``ungiven``; ``run`` and ``step`` are what the
    session claims: open, other, closed, expired, none.
    """

    number: int
    name: str
    statement: str
    without: str
    denied: str = "42501"
    given: str = ""
    ungiven: str = ""
    run: str = "open"
    step: str = "work"

    def __str__(self) -> str:
        return f"{self.number}-{self.name}"


def to_public(what: str) -> str:
    return f"GRANT {what} TO PUBLIC"


def member(role: str) -> str:
    return f"GRANT {role} TO {{l}}"


ANYWHERE = (
    Attack(9, "set-role-of-the-owner", "SET ROLE {o}", member("{o}")),
    Attack(9, "set-role-of-the-keeper", "SET ROLE {k}", member("{k}")),
    Attack(9, "set-role-of-the-gates", "SET ROLE {g}", member("{g}")),
    Attack(9, "become-another", "SET SESSION AUTHORIZATION {o}", "ALTER ROLE {l} SUPERUSER"),
    Attack(9, "make-a-role", "CREATE ROLE pba_mine", "ALTER ROLE {l} CREATEROLE"),
    Attack(9, "replicate", "SELECT pg_create_physical_replication_slot('mine', false, true)",
           "ALTER ROLE {l} REPLICATION"),
    Attack(12, "do-block", "DO $$ BEGIN NULL; END $$", to_public("USAGE ON LANGUAGE plpgsql")),
    Attack(12, "temporary-table", "CREATE TEMP TABLE x (i int)", to_public("TEMPORARY ON DATABASE {db}")),
    Attack(12, "schema-of-its-own", "CREATE SCHEMA mine", "GRANT CREATE ON DATABASE {db} TO {l}"),
    Attack(12, "large-object", "SELECT lo_create(0)", to_public("EXECUTE ON FUNCTION pg_catalog.lo_create(oid)")),
    Attack(12, "program",
           "SET ROLE pg_execute_server_program; COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'",
           member("pg_execute_server_program")),
    Attack(12, "file-of-the-server",
           "SET ROLE pg_monitor; SELECT 1 FROM pg_catalog.pg_ls_waldir()", member("pg_monitor")),
    Attack(12, "read-a-file", "SELECT pg_read_file('PG_VERSION')",
           "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO {l}",
           ungiven="REVOKE ALL ON FUNCTION pg_catalog.pg_read_file(text) FROM {l}"),
    Attack(12, "list-a-folder", "SELECT pg_ls_dir('.')", "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO {l}",
           ungiven="REVOKE ALL ON FUNCTION pg_catalog.pg_ls_dir(text) FROM {l}"),
    Attack(12, "load-configuration", "SELECT pg_reload_conf()",
           "GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {l}",
           ungiven="REVOKE ALL ON FUNCTION pg_catalog.pg_reload_conf() FROM {l}"),
    Attack(12, "advisory-lock", "SELECT pg_advisory_lock(1)",
           to_public("EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock(bigint)")),
    Attack(12, "notify-by-function", "SELECT pg_notify('a', 'b')",
           to_public("EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text)")),
    Attack(12, "fill-the-wal", "SELECT pg_logical_emit_message(false, 'a', 'b')",
           to_public("EXECUTE ON FUNCTION pg_catalog.{emit}")),
    Attack(10, "sleep", "SELECT pg_sleep(0)", to_public("EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision)")),
    Attack(10, "lift-temporary-files", "SET temp_file_limit = -1", "GRANT SET ON PARAMETER temp_file_limit TO {l}",
           ungiven="REVOKE SET ON PARAMETER temp_file_limit FROM {l}"),
    Attack(14, "roles", "SELECT rolname FROM pg_roles", to_public("SELECT ON pg_catalog.pg_roles")),
    Attack(14, "databases", "SELECT datname FROM pg_database", to_public("SELECT ON pg_catalog.pg_database")),
    Attack(14, "sessions", "SELECT usename FROM pg_stat_activity", to_public("SELECT ON pg_catalog.pg_stat_activity")
           + "; " + to_public("EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(integer)")),
    Attack(14, "sessions-by-function", "SELECT usesysid FROM pg_stat_get_activity(NULL)",
           to_public("EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(integer)")),
    Attack(14, "names-by-number", "SELECT pg_get_userbyid(10)",
           to_public("EXECUTE ON FUNCTION pg_catalog.pg_get_userbyid(oid)")),
    Attack(14, "settings-by-function", "SELECT name FROM pg_show_all_settings()",
           to_public("EXECUTE ON FUNCTION pg_catalog.pg_show_all_settings()")),
    Attack(21, "edit-the-budget", "UPDATE pb.run SET rows_written = 0",
           "GRANT USAGE ON SCHEMA pb TO {l}; GRANT SELECT, UPDATE ON pb.run TO {l}"),
    Attack(21, "move-the-ceiling", "UPDATE pb.agent SET read_ceiling = 1000000",
           "GRANT USAGE ON SCHEMA pb TO {l}; GRANT SELECT, UPDATE ON pb.agent TO {l}"),
    Attack(19, "grant-itself-a-step",
           "INSERT INTO pb.step_grant SELECT id, 'mine', 'orders', 'delete', 1, 1 FROM pb.run",
           "GRANT USAGE ON SCHEMA pb TO {l}; GRANT SELECT ON pb.run TO {l}; GRANT INSERT ON pb.step_grant TO {l}"),
    Attack(35, "delete-the-journal", "DELETE FROM pb.journal",
           "GRANT USAGE ON SCHEMA pb TO {l}; GRANT DELETE ON pb.journal TO {l}"),
    Attack(35, "write-the-journal",
           "INSERT INTO pb.journal SELECT run, seq + 1000, time, role, kind, step, collection, operation, rows, digest,"
           " key, workflow_hash, policy_hash, schema_hash, prev_hash, hash FROM pb.journal",
           "GRANT USAGE ON SCHEMA pb TO {l}; GRANT SELECT, INSERT ON pb.journal TO {l}"),
)  # fmt: skip
"""Whatever the policy is."""

GRANTED = (
    Attack(8, "ungranted-column", "SELECT internal_margin FROM {t}.orders",
           "GRANT SELECT (internal_margin) ON {t}.orders TO {l}"),
    Attack(8, "ungranted-filter", "SELECT id FROM {t}.orders WHERE internal_margin > 1",
           "GRANT SELECT (internal_margin) ON {t}.orders TO {l}"),
    Attack(8, "ungranted-order", "SELECT id FROM {t}.orders ORDER BY internal_margin",
           "GRANT SELECT (internal_margin) ON {t}.orders TO {l}"),
    Attack(8, "ungranted-group", "SELECT count(*) FROM {t}.orders GROUP BY internal_margin",
           "GRANT SELECT (internal_margin) ON {t}.orders TO {l}"),
    Attack(8, "whole-row", "SELECT to_jsonb(o) FROM {t}.orders o", "GRANT SELECT ON {t}.orders TO {l}"),
    Attack(8, "returning", "UPDATE {t}.orders SET notes = 'x' WHERE id = 2 RETURNING internal_margin",
           "GRANT SELECT (internal_margin) ON {t}.orders TO {l}"),
    Attack(8, "ungranted-write", "UPDATE {t}.orders SET amount = 0 WHERE id = 2",
           "GRANT UPDATE (amount) ON {t}.orders TO {l}"),
    Attack(8, "another-table", "SELECT card FROM {t}.customers", "GRANT SELECT ON {t}.customers TO {l}"),
    Attack(8, "delete-not-granted", "DELETE FROM {t}.orders WHERE id = 60",
           "GRANT DELETE ON {t}.orders TO {l}; ALTER TABLE {t}.orders DISABLE TRIGGER pba_write_delete;"
           " ALTER TABLE {t}.comments DISABLE TRIGGER pba_write_delete"),
    Attack(11, "rows-of-others", "SELECT id FROM {t}.orders WHERE id = 1", UNFENCED, NOTHING),
    Attack(11, "rows-of-others-past-an-open-policy", "SELECT id FROM {t}.orders WHERE id = 1",
           "DROP POLICY pba_support_fence ON {t}.orders", NOTHING,
           given="CREATE POLICY slip ON {t}.orders USING (true)", ungiven="DROP POLICY slip ON {t}.orders"),
    Attack(11, "write-rows-of-others", "UPDATE {t}.orders SET notes = 'x' WHERE id = 1 RETURNING id", UNFENCED,
           NOTHING),
    Attack(11, "make-a-row-of-others", "INSERT INTO {t}.orders (customer_id, region, amount) VALUES (1, 'us', 1)",
           UNFENCED),
    Attack(11, "past-the-check-of-new-rows",
           "INSERT INTO {t}.orders (customer_id, region, amount) VALUES (1, 'eu', 501)",
           "DROP POLICY pba_support_create ON {t}.orders"),
    Attack(11, "past-the-check-of-changes", "UPDATE {t}.orders SET status = 'refunded' WHERE id = 2",
           "DROP POLICY pba_support_update ON {t}.orders"),
    Attack(11, "plain-view", "SELECT * FROM {t}.totals", "GRANT SELECT ON {t}.totals TO {l}"),
    Attack(11, "definer-function", "SELECT {t}.leak()", "GRANT EXECUTE ON FUNCTION {t}.leak TO {l}",
           given="CREATE FUNCTION {t}.leak() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
                 " $$ SELECT string_agg(card, ',') FROM {t}.customers $$;"
                 " REVOKE ALL ON FUNCTION {t}.leak FROM PUBLIC",
           ungiven="DROP FUNCTION {t}.leak"),
    Attack(11, "materialized-view", "SELECT * FROM {t}.frozen", "GRANT SELECT ON {t}.frozen TO {l}",
           given="CREATE MATERIALIZED VIEW {t}.frozen AS SELECT card FROM {t}.customers",
           ungiven="DROP MATERIALIZED VIEW {t}.frozen"),
    Attack(11, "inheriting-child", "SELECT id FROM {t}.old_orders", "GRANT SELECT ON {t}.old_orders TO {l}",
           given="CREATE TABLE {t}.old_orders () INHERITS ({t}.orders);"
                 " INSERT INTO {t}.old_orders (id, customer_id, region, amount) VALUES (5001, 1, 'us', 1)",
           ungiven="DROP TABLE {t}.old_orders"),
    Attack(9, "row-security-off", "SET row_security = off; SELECT id FROM {t}.orders", "ALTER ROLE {l} BYPASSRLS"),
    Attack(9, "replication-role", "SET session_replication_role = replica; " + WRITE,
           "ALTER TABLE {t}.orders ENABLE TRIGGER pba_write_update", "PA001", run="none",
           given="GRANT SET ON PARAMETER session_replication_role TO {l}",
           ungiven="REVOKE SET ON PARAMETER session_replication_role FROM {l}"),
    Attack(9, "disable-the-trigger", "SET ROLE {o}; ALTER TABLE {t}.orders DISABLE TRIGGER USER", member("{o}")),
    Attack(12, "truncate", "TRUNCATE {t}.orders CASCADE", "GRANT TRUNCATE ON {t}.orders, {t}.comments TO {l}"),
    Attack(12, "lock-table", "LOCK TABLE {t}.orders IN EXCLUSIVE MODE", "GRANT UPDATE ON {t}.orders TO {l}"),
    Attack(12, "make-a-table", "CREATE TABLE {t}.x (i int)", "GRANT CREATE ON SCHEMA {t} TO {l}"),
    Attack(20, "no-run", WRITE, UNTRIGGERED, "PA001", run="none"),
    Attack(20, "run-that-is-none", WRITE, UNTRIGGERED, "PA001", run="forged"),
    Attack(20, "run-of-another-agent", WRITE, UNTRIGGERED, "PA001", run="other"),
    Attack(20, "closed-run", WRITE, UNTRIGGERED, "PA001", run="closed"),
    Attack(20, "no-run-by-merge",
           "MERGE INTO {t}.orders USING (VALUES (2)) v (i) ON id = i WHEN MATCHED THEN UPDATE SET notes = 'x'",
           UNTRIGGERED, "PA001", run="none"),
    Attack(20, "no-run-inside-a-query",
           "WITH x AS (UPDATE {t}.orders SET notes = 'x' WHERE id = 2 RETURNING id) SELECT id FROM x",
           UNTRIGGERED, "PA001", run="none"),
    Attack(40, "run-past-its-deadline", WRITE, UNTRIGGERED, "PA001", run="expired"),
    Attack(31, "run-of-an-older-policy", WRITE, UNTRIGGERED, "PA001", run="older"),
    Attack(19, "step-of-another-time", WRITE, UNTRIGGERED, "PA002", step="later"),
    Attack(19, "step-that-may-not", "INSERT INTO {t}.orders (customer_id, region, amount) VALUES (1, 'eu', 1)",
           "ALTER TABLE {t}.orders DISABLE TRIGGER pba_write_insert", "PA002", step="writing"),
    Attack(21, "more-rows-than-the-step-may", "UPDATE {t}.orders SET notes = 'x' WHERE id IN (2, 4, 6, 8)",
           UNTRIGGERED, "PA003", step="writing"),
    Attack(21, "more-rows-than-the-policy-says", "UPDATE {t}.orders SET notes = 'x'", UNTRIGGERED, "PA003"),
    Attack(21, "many-new-rows",
           "INSERT INTO {t}.orders (customer_id, region, amount) SELECT 1, 'eu', n FROM generate_series(1, 3) n",
           "ALTER TABLE {t}.orders DISABLE TRIGGER pba_write_insert", "PA003"),
    Attack(21, "on-conflict",
           "INSERT INTO {t}.orders (customer_id, region, amount) SELECT 1, 'eu', n FROM generate_series(1, 3) n"
           " ON CONFLICT DO NOTHING", "ALTER TABLE {t}.orders DISABLE TRIGGER pba_write_insert", "PA003"),
    Attack(21, "savepoints",
           "SAVEPOINT a; UPDATE {t}.orders SET notes = 'x'; ROLLBACK TO a; UPDATE {t}.orders SET notes = 'x'",
           UNTRIGGERED, "PA003"),
)  # fmt: skip
"""Where the login holds the columns itself (``enforcement.reads: Grant``)."""

NAIVE = """
CREATE OR REPLACE FUNCTION pb.clauses(p_conditions jsonb, p_types jsonb, p_required text[]) RETURNS text
LANGUAGE sql AS $$ SELECT string_agg(format('%s = ''%s''', c ->> 'field', c ->> 'value'), ' AND ')
                     FROM jsonb_array_elements(p_conditions) c $$
"""
LIST = 'SELECT pba_support.orders_list(\'[{{"field": "{field}", "op": "{op}", "value": "{value}"}}]\')'


def listing(field="id", op="eq", value="2") -> str:
    return LIST.format(field=field, op=op, value=value).replace("{", "{{").replace("}", "}}")


GATED = (
    Attack(8, "past-the-gate", "SELECT id FROM {t}.orders",
           "GRANT USAGE ON SCHEMA {t} TO {l}; GRANT SELECT ON {t}.orders TO {l};"
           " ALTER TABLE {t}.orders DISABLE ROW LEVEL SECURITY"),
    Attack(8, "write-past-the-gate", "DELETE FROM {t}.comments",
           "GRANT USAGE ON SCHEMA {t} TO {l}; GRANT DELETE ON {t}.comments TO {l};"
           " ALTER TABLE {t}.comments DISABLE TRIGGER pba_write_delete, DISABLE ROW LEVEL SECURITY"),
    Attack(8, "charge-nothing", "SELECT pb.charge('orders', 'list', 0, '')",
           "GRANT USAGE ON SCHEMA pb TO {l}; GRANT EXECUTE ON FUNCTION pb.charge TO {l}"),
    Attack(6, "name-with-sql", listing(field="id = 2 OR id"), NAIVE, "PA006"),
    Attack(6, "name-that-is-not-granted", listing(field="internal_margin", value="7"),
           "GRANT SELECT (internal_margin) ON {t}.orders TO {g};" + NAIVE, "PA006"),
    Attack(8, "see-nothing", "SELECT pb.saw('orders', 'list', 0, '{{}}', NULL, '{{}}')",
           "GRANT EXECUTE ON FUNCTION pb.saw TO {l}"),
    Attack(20, "read-without-a-run", listing(), "CREATE OR REPLACE FUNCTION pb.saw(p_collection text,"
           " p_operation text, p_rows bigint, p_said jsonb, p_first jsonb, p_types jsonb) RETURNS void LANGUAGE sql"
           " SECURITY DEFINER AS $$ $$", "PA001", run="none"),
    Attack(11, "rows-of-others-by-the-gate", listing(value="1"), UNFENCED, NOTHING),
)  # fmt: skip
"""Where the login may call its gates and nothing else."""
