"""What alone prevents each attack: taken away, the attack must succeed. All of it is done by a superuser of the test's.

``drift`` says who must notice that the protection is gone: a look at the tenant, or at the pool. Attacks without an
entry are prevented by what cannot be taken away from a login, such as not being a superuser.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Protection:
    without: str
    restored: str
    drift: Literal["tenant", "pool", ""] = "tenant"


SUPER = Protection("ALTER ROLE pb_{a}_app_a SUPERUSER", "ALTER ROLE pb_{a}_app_a NOSUPERUSER")
CREATOR = Protection("ALTER ROLE pb_{a}_app_a CREATEROLE", "ALTER ROLE pb_{a}_app_a NOCREATEROLE")


def member(role: str, login: str = "app_a") -> Protection:
    return Protection(f"GRANT {role} TO pb_{{a}}_{login}", f"REVOKE {role} FROM pb_{{a}}_{login}")


def setting(name: str) -> Protection:
    return Protection(
        f"GRANT SET ON PARAMETER {name} TO pb_{{a}}_app_a", f"REVOKE SET ON PARAMETER {name} FROM pb_{{a}}_app_a"
    )


def on_database(privilege: str, role: str) -> Protection:
    return Protection(
        f"GRANT {privilege} ON DATABASE {{db}} TO pb_{{a}}_{role}",
        f"REVOKE {privilege} ON DATABASE {{db}} FROM pb_{{a}}_{role}",
    )


def fence_of(table: str) -> Protection:
    return Protection(
        f"ALTER TABLE pb_canary.{table} DISABLE ROW LEVEL SECURITY",
        f"ALTER TABLE pb_canary.{table} ENABLE ROW LEVEL SECURITY",
        "",
    )


ON_ROLES = {
    "4-set-role-of-neighbour": member("pb_{b}_rw"),
    "4-set-role-of-paybill": member("pb_admin"),
    "5-grant-neighbours-role-to-self": Protection(
        "GRANT pb_{b}_rw TO pb_{a}_app_a WITH ADMIN OPTION", "REVOKE pb_{b}_rw FROM pb_{a}_app_a"
    ),
    "6-forge-a-login": CREATOR,
    "7-rename-into-another": SUPER,
    "8-bypass-row-security": SUPER,
    "8-lift-connection-limit": SUPER,
    "9-create-in-public": Protection(
        "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC", "pool"
    ),
    "9-create-schema": on_database("CREATE", "rw"),
    "9-create-temporary-table": on_database("TEMPORARY", "rw"),
    "12-copy-to-program": member("pg_execute_server_program"),
    "12-copy-from-file": member("pg_read_server_files"),
    "12-read-file": Protection(
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO pb_{a}_app_a; GRANT pg_read_server_files TO pb_{a}_app_a",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM pb_{a}_app_a;"
        " REVOKE pg_read_server_files FROM pb_{a}_app_a",
    ),
    "13-read-password-hashes": Protection(
        "GRANT SELECT ON pg_authid TO pb_{a}_app_a", "REVOKE SELECT ON pg_authid FROM pb_{a}_app_a"
    ),
    "26-alter-database": member("pb_admin"),
    "26-open-database": member("pb_admin"),
    "28-lift-temp-files": setting("temp_file_limit"),
    "28-silence-the-log": setting("log_statement"),
    "28-replication-role": setting("session_replication_role"),
    "29-reader-writes": member("pb_{a}_rw", "ro_a"),
}

ON_SCHEMAS = ON_ROLES | {
    "1-read-by-qualified-name": member("pb_{b}_r"),
    "2-read-by-search-path": member("pb_{b}_r"),
    "4-set-role-of-neighbours-owner": member("pb_{b}_owner"),
    "4-set-role-of-own-owner": member("pb_{a}_owner"),
    "9-create-in-own-schema": Protection(
        "GRANT CREATE ON SCHEMA t_{a} TO pb_{a}_rw", "REVOKE CREATE ON SCHEMA t_{a} FROM pb_{a}_rw"
    ),
    "10-make-trusted-extension": on_database("CREATE", "owner"),
    "27-publish-own": on_database("CREATE", "owner"),
}

ON_ROWS = {
    "9-create-in-shared-schema": Protection(
        "GRANT CREATE ON SCHEMA app TO pb_tenants", "REVOKE CREATE ON SCHEMA app FROM pb_tenants", "pool"
    ),
    "14-read": fence_of("customers"),
    "14-insert-as-neighbour": fence_of("customers"),
    "14-hand-over": fence_of("customers"),
    "14-update": fence_of("customers"),
    "14-delete": fence_of("orders"),
    "15-on-conflict-update": fence_of("customers"),
    "15-merge": fence_of("customers"),
    "16-row-security-off": Protection("ALTER ROLE pb_{a}_app_a BYPASSRLS", "ALTER ROLE pb_{a}_app_a NOBYPASSRLS"),
    "17-spoof-the-setting": Protection(
        "CREATE OR REPLACE FUNCTION paybill.tenant() RETURNS text LANGUAGE sql STABLE AS"
        " $$SELECT current_setting('pb.tenant', true)$$",
        "",
        "pool",
    ),
    "18-disable-row-security": member("{db}_mig"),
    "18-drop-policy": member("{db}_mig"),
    "18-add-policy": member("{db}_mig"),
    "19-leaky-function": on_database("TEMPORARY", "rw"),
    "19-error-oracle": fence_of("customers"),
    "20-unique-key-oracle": Protection(
        "CREATE UNIQUE INDEX leaky ON pb_canary.customers (email)", "DROP INDEX pb_canary.leaky", ""
    ),
    "21-foreign-key-oracle": Protection(
        "ALTER TABLE pb_canary.orders DROP CONSTRAINT of_customer",
        "ALTER TABLE pb_canary.orders ADD CONSTRAINT of_customer FOREIGN KEY (tenant_id, customer_id)"
        " REFERENCES pb_canary.customers (tenant_id, id)",
        "",
    ),
    "22-read-by-view": Protection(
        "ALTER VIEW pb_canary.directory OWNER TO postgres;"
        " ALTER VIEW pb_canary.directory SET (security_invoker = false)",
        "ALTER VIEW pb_canary.directory SET (security_invoker = true);"
        " ALTER VIEW pb_canary.directory OWNER TO {db}_mig",
        "",
    ),
    "23-truncate": Protection(
        "GRANT TRUNCATE ON pb_canary.orders TO pb_rows_rw", "REVOKE TRUNCATE ON pb_canary.orders FROM pb_rows_rw", ""
    ),
    "23-refer-to-shared-table": Protection(
        "GRANT CREATE ON SCHEMA app TO pb_{a}_rw; GRANT REFERENCES ON pb_canary.customers TO pb_{a}_rw",
        "REVOKE REFERENCES ON pb_canary.customers FROM pb_{a}_rw; REVOKE CREATE ON SCHEMA app FROM pb_{a}_rw",
    ),
    "23-read-sequence": Protection(
        "GRANT SELECT ON pb_canary.customers_id_seq TO pb_rows_rw",
        "REVOKE SELECT ON pb_canary.customers_id_seq FROM pb_rows_rw",
        "",
    ),
}
