"""The attacks of the research that apply to a shared Postgres, as data: what is tried, and what alone prevents it.

Numbers are the research's. ``{a}`` and ``{b}`` are the attacker's and the victim's ids, ``{db}`` their database. Each
is tried as written, must be denied, is tried again with its protection removed by ``without`` and must then succeed,
and once more after ``restored``. All are rolled back.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Attack:
    """``denied`` is an SQLSTATE, or ``nothing`` where the attack is let through and reaches no row; ``succeeds`` is the
    SQLSTATE that gives the secret away where that is how it succeeds."""

    name: str
    statement: str
    denied: str
    without: str = ""
    restored: str = ""
    login: str = "app_a"
    drift: Literal["tenant", "pool", ""] = "tenant"
    succeeds: str = ""

    def __str__(self) -> str:
        return self.name


FORBIDDEN = "42501"
GIVE_B = "GRANT pb_{b}_r TO pb_{a}_app_a"
TAKE_B = "REVOKE pb_{b}_r FROM pb_{a}_app_a"
SUPER = "ALTER ROLE pb_{a}_app_a SUPERUSER"
PLAIN = "ALTER ROLE pb_{a}_app_a NOSUPERUSER"
CREATOR = "ALTER ROLE pb_{a}_app_a CREATEROLE"
NO_CREATOR = "ALTER ROLE pb_{a}_app_a NOCREATEROLE"


def _member(role: str) -> dict[str, str]:
    return {"without": f"GRANT {role} TO pb_{{a}}_app_a", "restored": f"REVOKE {role} FROM pb_{{a}}_app_a"}


def _setting(name: str) -> dict[str, str]:
    return {
        "without": f"GRANT SET ON PARAMETER {name} TO pb_{{a}}_app_a",
        "restored": f"REVOKE SET ON PARAMETER {name} FROM pb_{{a}}_app_a",
    }


def _on_database(privilege: str, role: str) -> dict[str, str]:
    return {
        "without": f"GRANT {privilege} ON DATABASE {{db}} TO pb_{{a}}_{role}",
        "restored": f"REVOKE {privilege} ON DATABASE {{db}} FROM pb_{{a}}_{role}",
    }


SCHEMA_ATTACKS = (
    Attack("1-qualified-read", "SELECT * FROM t_{b}.notes", FORBIDDEN, GIVE_B, TAKE_B),
    Attack("2-search-path", "SET search_path = t_{b}; SELECT * FROM notes", "42P01", GIVE_B, TAKE_B),
    Attack("4-set-role-of-neighbour", "SET ROLE pb_{b}_owner", FORBIDDEN, **_member("pb_{b}_owner")),
    Attack("4-set-own-owner", "SET ROLE pb_{a}_owner", FORBIDDEN, **_member("pb_{a}_owner")),
    Attack("4-session-authorization", "SET SESSION AUTHORIZATION pb_{b}_app_a", FORBIDDEN),
    Attack("4-set-admin", "SET ROLE pb_admin", FORBIDDEN, **_member("pb_admin")),
    Attack(
        "5-grant-to-self",
        "GRANT pb_{b}_rw TO pb_{a}_ro_a",
        FORBIDDEN,
        "GRANT pb_{b}_rw TO pb_{a}_app_a WITH ADMIN OPTION",
        "REVOKE pb_{b}_rw FROM pb_{a}_app_a",
    ),
    Attack("6-forge-a-login", "CREATE ROLE pb_zzzzzzzz_app_a", FORBIDDEN, CREATOR, NO_CREATOR),
    Attack("7-rename", "ALTER ROLE pb_{a}_ro_a RENAME TO pb_zzzzzzzz_app_a", FORBIDDEN, SUPER, PLAIN),
    Attack("8-bypass-row-security", "ALTER ROLE pb_{a}_app_a BYPASSRLS", FORBIDDEN, SUPER, PLAIN),
    Attack("8-connection-limit", "ALTER ROLE pb_{a}_app_a CONNECTION LIMIT -1", FORBIDDEN, SUPER, PLAIN),
    Attack(
        "9-create-in-own-schema",
        "CREATE TABLE t_{a}.x ()",
        FORBIDDEN,
        "GRANT CREATE ON SCHEMA t_{a} TO pb_{a}_rw",
        "REVOKE CREATE ON SCHEMA t_{a} FROM pb_{a}_rw",
    ),
    Attack(
        "9-create-in-public",
        "CREATE TABLE public.x ()",
        FORBIDDEN,
        "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        drift="pool",
    ),
    Attack("9-create-schema", "CREATE SCHEMA x", FORBIDDEN, **_on_database("CREATE", "rw")),
    Attack("9-temporary-table", "CREATE TEMP TABLE x ()", FORBIDDEN, **_on_database("TEMPORARY", "rw")),
    Attack(
        "10-trusted-extension",
        "CREATE EXTENSION hstore SCHEMA t_{a}",
        FORBIDDEN,
        login="mig_a",
        **_on_database("CREATE", "owner"),
    ),
    Attack("10-untrusted-extension", "CREATE EXTENSION dblink SCHEMA t_{a}", FORBIDDEN, login="mig_a"),
    Attack("11-c-function", "CREATE FUNCTION x() RETURNS int LANGUAGE c AS '/x', 'y'", FORBIDDEN, login="mig_a"),
    Attack("12-copy-to-program", "COPY notes TO PROGRAM 'true'", FORBIDDEN, **_member("pg_execute_server_program")),
    Attack("12-copy-to-file", "COPY notes TO '/stolen'", FORBIDDEN),
    Attack(
        "12-copy-from-file",
        "COPY notes (body) FROM '/etc/hostname' WHERE false",
        FORBIDDEN,
        **_member("pg_read_server_files"),
    ),
    Attack(
        "12-read-file",
        "SELECT pg_read_file('/etc/passwd')",
        FORBIDDEN,
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO pb_{a}_app_a; GRANT pg_read_server_files TO pb_{a}_app_a",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM pb_{a}_app_a;"
        " REVOKE pg_read_server_files FROM pb_{a}_app_a",
    ),
    Attack("12-list-folder", "SELECT pg_ls_dir('.')", FORBIDDEN),
    Attack("12-import-large-object", "SELECT lo_import('/etc/passwd')", FORBIDDEN),
    Attack(
        "13-password-hashes",
        "SELECT rolpassword FROM pg_authid",
        FORBIDDEN,
        "GRANT SELECT ON pg_authid TO pb_{a}_app_a",
        "REVOKE SELECT ON pg_authid FROM pb_{a}_app_a",
    ),
    Attack("26-alter-database", "ALTER DATABASE {db} SET search_path = x", FORBIDDEN, **_member("pb_admin")),
    Attack("27-publish-everything", "CREATE PUBLICATION x FOR ALL TABLES", FORBIDDEN, login="mig_a"),
    Attack(
        "27-publish-own",
        "CREATE PUBLICATION x FOR TABLE notes",
        FORBIDDEN,
        login="mig_a",
        **_on_database("CREATE", "owner"),
    ),
    Attack(
        "27-subscribe",
        "CREATE SUBSCRIPTION x CONNECTION 'host=localhost' PUBLICATION y WITH (connect = false)",
        FORBIDDEN,
        login="mig_a",
    ),
    Attack("27-replication-slot", "SELECT pg_create_physical_replication_slot('x', true, true)", FORBIDDEN),
    Attack("27-event-trigger", "CREATE EVENT TRIGGER x ON sql_drop EXECUTE FUNCTION f()", FORBIDDEN, login="mig_a"),
    Attack("28-temp-files", "SET temp_file_limit = -1", FORBIDDEN, **_setting("temp_file_limit")),
    Attack("28-log-statement", "SET log_statement = 'none'", FORBIDDEN, **_setting("log_statement")),
    Attack(
        "28-replication-role",
        "SET session_replication_role = 'replica'",
        FORBIDDEN,
        **_setting("session_replication_role"),
    ),
    Attack(
        "29-reader-writes",
        "SET default_transaction_read_only = off; COMMIT; INSERT INTO notes VALUES (9, 'x')",
        FORBIDDEN,
        "GRANT pb_{a}_rw TO pb_{a}_ro_a",
        "REVOKE pb_{a}_rw FROM pb_{a}_ro_a",
        login="ro_a",
    ),
)

OPEN = "ALTER TABLE app.{t} DISABLE ROW LEVEL SECURITY"
SHUT = "ALTER TABLE app.{t} ENABLE ROW LEVEL SECURITY"


def _unfenced(table: str) -> dict[str, str]:
    return {"without": OPEN.replace("{t}", table), "restored": SHUT.replace("{t}", table), "drift": ""}


ROWS_ATTACKS = (
    Attack("14-read", "SELECT * FROM customers WHERE tenant_id = '{b}'", "nothing", **_unfenced("customers")),
    Attack(
        "14-insert", "INSERT INTO customers (tenant_id, id) VALUES ('{b}', 66)", FORBIDDEN, **_unfenced("customers")
    ),
    Attack("14-hand-over", "UPDATE customers SET tenant_id = '{b}' WHERE id = 3", FORBIDDEN, **_unfenced("customers")),
    Attack(
        "14-update",
        "UPDATE customers SET email = 'x' WHERE tenant_id = '{b}' RETURNING id",
        "nothing",
        **_unfenced("customers"),
    ),
    Attack("14-delete", "DELETE FROM orders WHERE tenant_id = '{b}' RETURNING id", "nothing", **_unfenced("orders")),
    Attack(
        "15-on-conflict",
        "INSERT INTO customers (tenant_id, id, email) VALUES ('{b}', 1001, 'x')"
        " ON CONFLICT (tenant_id, id) DO UPDATE SET email = 'x'",
        FORBIDDEN,
        **_unfenced("customers"),
    ),
    Attack(
        "15-merge",
        "MERGE INTO customers c USING (SELECT '{b}' AS t, 1001 AS i) s ON c.tenant_id = s.t AND c.id = s.i"
        " WHEN MATCHED THEN UPDATE SET email = 'x' WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (s.t, s.i)",
        FORBIDDEN,
        **_unfenced("customers"),
    ),
    Attack(
        "16-row-security-off",
        "SET row_security = off; SELECT * FROM customers WHERE tenant_id = '{b}'",
        FORBIDDEN,
        "ALTER ROLE pb_{a}_app_a BYPASSRLS",
        "ALTER ROLE pb_{a}_app_a NOBYPASSRLS",
    ),
    Attack(
        "17-spoofed-setting",
        "SET pb.tenant = '{b}'; SELECT * FROM customers WHERE tenant_id = '{b}'",
        "nothing",
        "CREATE OR REPLACE FUNCTION paybill.tenant() RETURNS text LANGUAGE sql STABLE AS"
        " $$SELECT current_setting('pb.tenant', true)$$",
        "",
        drift="pool",
    ),
    Attack("17-set-role", "SET ROLE pb_{b}_rw", FORBIDDEN, **_member("pb_{b}_rw")),
    Attack("18-disable", "ALTER TABLE customers DISABLE ROW LEVEL SECURITY", FORBIDDEN, **_member("{db}_mig")),
    Attack("18-drop-policy", "DROP POLICY pb_fence ON customers", FORBIDDEN, **_member("{db}_mig")),
    Attack("18-add-policy", "CREATE POLICY mine ON customers USING (true)", FORBIDDEN, **_member("{db}_mig")),
    Attack(
        "19-temporary-function",
        "CREATE FUNCTION pg_temp.leak() RETURNS bool LANGUAGE sql AS 'SELECT true'",
        FORBIDDEN,
        **_on_database("TEMPORARY", "rw"),
    ),
    Attack(
        "20-unique-oracle",
        "INSERT INTO customers (id, email) VALUES (77, 'blue@example.org') ON CONFLICT (tenant_id, email) DO NOTHING",
        "",
        "CREATE UNIQUE INDEX leaky ON app.customers (email) WHERE tenant_id IN ('{a}', '{b}')",
        "DROP INDEX app.leaky",
        drift="",
        succeeds="23505",
    ),
    Attack(
        "21-foreign-key",
        "INSERT INTO orders (id, customer_id) VALUES (88, 1001)",
        "23503",
        "ALTER TABLE app.orders DROP CONSTRAINT orders_tenant_id_customer_id_fkey",
        "ALTER TABLE app.orders ADD FOREIGN KEY (tenant_id, customer_id) REFERENCES app.customers (tenant_id, id)",
        drift="",
    ),
    Attack(
        "23-truncate",
        "TRUNCATE orders",
        FORBIDDEN,
        "GRANT TRUNCATE ON app.orders TO pb_rows_rw",
        "REVOKE TRUNCATE ON app.orders FROM pb_rows_rw",
        drift="",
    ),
    Attack(
        "23-sequence",
        "SELECT last_value FROM customers_id_seq",
        FORBIDDEN,
        "GRANT SELECT ON app.customers_id_seq TO pb_rows_rw",
        "REVOKE SELECT ON app.customers_id_seq FROM pb_rows_rw",
        drift="",
    ),
    Attack(
        "9-create-in-shared-schema",
        "CREATE TABLE app.x ()",
        FORBIDDEN,
        "GRANT CREATE ON SCHEMA app TO pb_tenants",
        "REVOKE CREATE ON SCHEMA app FROM pb_tenants",
        drift="pool",
    ),
    Attack(
        "29-reader-writes",
        "SET default_transaction_read_only = off; COMMIT; DELETE FROM orders",
        FORBIDDEN,
        "GRANT pb_{a}_rw TO pb_{a}_ro_a",
        "REVOKE pb_{a}_rw FROM pb_{a}_ro_a",
        login="ro_a",
    ),
)
