"""The attacks of one tenant on its neighbour that are one piece of SQL, as data: what is tried, what it must end with.

Numbers are those of docs/concepts/isolation.md. Between braces: ``a`` and ``b`` are the ids of the attacker and of the
victim, ``db`` is the attacker's database, ``mine`` a table that the attacker may write to and ``text`` a
column of it. Every attack is rolled back. What does not fit into one statement is in ``ways.py``; that each attack
succeeds once its protection is gone is shown in tests/databases/test_attacks.py.
"""

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["Rows", "Schema", "Database", "Server"]
"""What the tenant has: rows in shared tables, a schema, a database, or a server of its own."""

NOTHING: Final = "nothing"
"""An attack that is let through and reaches no row."""
THROUGH: Final = "through"
"""An attack that is let through and tells nothing by that."""
FORBIDDEN: Final = "42501"


@dataclass(frozen=True)
class Attack:
    """``denied`` is what it must end with: an SQLSTATE, ``NOTHING`` or ``THROUGH``; ``login`` is a login's suffix.

    ``succeeds`` is the SQLSTATE that gives the secret away, where that is how the attack succeeds.
    """

    number: int
    name: str
    statement: str
    denied: str = FORBIDDEN
    login: str = "app_a"
    succeeds: str = THROUGH

    def __str__(self) -> str:
        return f"{self.number}-{self.name}"


ON_ROLES: Final = (
    Attack(4, "set-role-of-neighbour", "SET ROLE pb_{b}_rw"),
    Attack(4, "set-session-authorization", "SET SESSION AUTHORIZATION pb_{b}_app_a"),
    Attack(4, "set-role-of-paybill", "SET ROLE pb_admin"),
    Attack(5, "grant-neighbours-role-to-self", "GRANT pb_{b}_rw TO pb_{a}_ro_a"),
    Attack(6, "forge-a-login", "CREATE ROLE pb_zzzzzzzz_app_a"),
    Attack(7, "rename-into-another", "ALTER ROLE pb_{a}_ro_a RENAME TO pb_zzzzzzzz_app_a"),
    Attack(8, "bypass-row-security", "ALTER ROLE pb_{a}_app_a BYPASSRLS"),
    Attack(8, "lift-connection-limit", "ALTER ROLE pb_{a}_app_a CONNECTION LIMIT -1"),
    Attack(9, "create-in-public", "CREATE TABLE public.x ()"),
    Attack(9, "create-schema", "CREATE SCHEMA x"),
    Attack(9, "create-temporary-table", "CREATE TEMP TABLE x ()"),
    Attack(12, "copy-to-program", "COPY {mine} TO PROGRAM 'true'"),
    Attack(12, "copy-to-file", "COPY {mine} TO '/stolen'"),
    # Under row security nothing can be copied in, but that is only said to who may read the file.
    Attack(12, "copy-from-file", "COPY {mine} ({text}) FROM '/etc/hostname' WHERE false", succeeds="0A000"),
    Attack(12, "read-file", "SELECT pg_read_file('/etc/passwd')"),
    Attack(12, "list-folder", "SELECT pg_ls_dir('.')"),
    Attack(12, "import-large-object", "SELECT lo_import('/etc/passwd')"),
    Attack(13, "read-password-hashes", "SELECT rolpassword FROM pg_authid"),
    Attack(26, "alter-database", "ALTER DATABASE {db} SET search_path = x"),
    Attack(
        26,
        "open-database",
        "GRANT CONNECT ON DATABASE {db} TO PUBLIC;"
        " SELECT 1 FROM pg_database, aclexplode(datacl) a WHERE datname = '{db}' AND a.grantee = 0",
        NOTHING,
    ),
    Attack(27, "make-replication-slot", "SELECT pg_create_physical_replication_slot('x', true, true)"),
    Attack(28, "lift-temp-files", "SET temp_file_limit = -1"),
    Attack(28, "silence-the-log", "SET log_statement = 'none'"),
    Attack(28, "replication-role", "SET session_replication_role = 'replica'"),
    Attack(
        29,
        "reader-writes",
        "SET default_transaction_read_only = off; COMMIT; BEGIN; DELETE FROM {mine} WHERE false",
        login="ro_a",
    ),
)
"""For every level."""

ON_SCHEMAS: Final = (
    Attack(1, "read-by-qualified-name", "SELECT * FROM t_{b}.notes"),
    Attack(2, "read-by-search-path", "SET search_path = t_{b}; SELECT * FROM notes", "42P01"),
    Attack(4, "set-role-of-neighbours-owner", "SET ROLE pb_{b}_owner"),
    Attack(4, "set-role-of-own-owner", "SET ROLE pb_{a}_owner"),
    Attack(9, "create-in-own-schema", "CREATE TABLE t_{a}.x ()"),
    Attack(10, "make-trusted-extension", "CREATE EXTENSION hstore SCHEMA t_{a}", login="mig_a"),
    Attack(10, "make-untrusted-extension", "CREATE EXTENSION dblink SCHEMA t_{a}", login="mig_a"),
    Attack(11, "make-c-function", "CREATE FUNCTION x() RETURNS int LANGUAGE c AS '/x', 'y'", login="mig_a"),
    Attack(27, "publish-everything", "CREATE PUBLICATION x FOR ALL TABLES", login="mig_a"),
    Attack(27, "publish-own", "CREATE PUBLICATION x FOR TABLE notes", login="mig_a"),
    Attack(
        27,
        "subscribe",
        "CREATE SUBSCRIPTION x CONNECTION 'host=localhost' PUBLICATION y WITH (connect = false)",
        login="mig_a",
    ),
    Attack(27, "make-event-trigger", "CREATE EVENT TRIGGER x ON sql_drop EXECUTE FUNCTION f()", login="mig_a"),
)
"""Where a tenant has a schema: its own login for migrations is the attacker's as well."""

ON_DATABASES: Final = (
    Attack(1, "read-by-qualified-name", "SELECT * FROM t_{b}.notes", "42P01"),
    *ON_SCHEMAS[1:],
)
"""Where a tenant has a database: the neighbour's schema is not even there."""

ON_ROWS: Final = (
    Attack(9, "create-in-shared-schema", "CREATE TABLE app.x ()"),
    Attack(11, "make-function", "CREATE FUNCTION app.x() RETURNS int LANGUAGE c AS '/x', 'y'"),
    Attack(14, "read", "SELECT * FROM pb_canary.customers WHERE tenant_id = '{b}'", NOTHING),
    Attack(14, "insert-as-neighbour", "INSERT INTO pb_canary.customers (tenant_id, id) VALUES ('{b}', 66)"),
    Attack(14, "hand-over", "UPDATE pb_canary.customers SET tenant_id = '{b}' WHERE id = 3"),
    Attack(14, "update", "UPDATE pb_canary.customers SET email = 'x' WHERE tenant_id = '{b}' RETURNING id", NOTHING),
    Attack(14, "delete", "DELETE FROM pb_canary.orders WHERE tenant_id = '{b}' RETURNING id", NOTHING),
    Attack(
        15,
        "on-conflict-update",
        "INSERT INTO pb_canary.customers (tenant_id, id, email) VALUES ('{b}', 1001, 'x')"
        " ON CONFLICT (tenant_id, id) DO UPDATE SET email = 'x'",
    ),
    Attack(
        15,
        "merge",
        "MERGE INTO pb_canary.customers c USING (SELECT '{b}' AS t, 1001 AS i) s ON c.tenant_id = s.t AND c.id = s.i"
        " WHEN MATCHED THEN UPDATE SET email = 'x' WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (s.t, s.i)",
    ),
    Attack(16, "row-security-off", "SET row_security = off; SELECT * FROM pb_canary.customers WHERE tenant_id = '{b}'"),
    Attack(
        17,
        "spoof-the-setting",
        "SET pb.tenant = '{b}'; SELECT * FROM pb_canary.customers WHERE tenant_id = '{b}'",
        NOTHING,
    ),
    Attack(18, "disable-row-security", "ALTER TABLE pb_canary.customers DISABLE ROW LEVEL SECURITY"),
    Attack(18, "drop-policy", "DROP POLICY pb_fence ON pb_canary.customers"),
    Attack(18, "add-policy", "CREATE POLICY mine ON pb_canary.customers USING (true)"),
    Attack(19, "leaky-function", "CREATE FUNCTION pg_temp.leak() RETURNS bool LANGUAGE sql AS 'SELECT true'"),
    Attack(
        19,
        "error-oracle",
        "SELECT 1 FROM pb_canary.customers WHERE tenant_id = '{b}' AND 1 / (id - 1001) = 0",
        NOTHING,
        succeeds="22012",
    ),
    Attack(
        20,
        "unique-key-oracle",
        "INSERT INTO pb_canary.customers (id, email) VALUES (77, 'victim@example.org')"
        " ON CONFLICT (tenant_id, email) DO NOTHING",
        THROUGH,
        succeeds="23505",
    ),
    Attack(21, "foreign-key-oracle", "INSERT INTO pb_canary.orders (id, customer_id) VALUES (88, 1001)", "23503"),
    Attack(22, "read-by-view", "SELECT * FROM pb_canary.directory WHERE tenant_id = '{b}'", NOTHING),
    Attack(23, "truncate", "TRUNCATE pb_canary.orders"),
    Attack(
        23,
        "refer-to-shared-table",
        "CREATE TABLE app.x (t text, i bigint, FOREIGN KEY (t, i) REFERENCES pb_canary.customers)",
    ),
    Attack(23, "read-sequence", "SELECT last_value FROM pb_canary.customers_id_seq"),
)
"""Where tenants share tables. The tables are the canaries' own, protected as every shared table has to be."""


def attacks_on(level: Level) -> tuple[Attack, ...]:
    """The attacks of one level, in the order of their numbers."""
    own = {"Rows": ON_ROWS, "Database": ON_DATABASES}.get(level, ON_SCHEMAS)
    return tuple(sorted((*ON_ROLES, *own), key=lambda attack: attack.number))
