"""Each rule of shared tables finds what breaks it, and says nothing of what does not."""

import pytest

from paybill.isolation.findings import findings
from paybill.isolation.rules import RULES

GOOD = """
CREATE TABLE app.invoices (
  tenant_id varchar(8) NOT NULL DEFAULT paybill.tenant(), id bigint, number text, customer_id bigint,
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, number),
  CONSTRAINT paid_by FOREIGN KEY (tenant_id, customer_id) REFERENCES app.customers (tenant_id, id));
ALTER TABLE app.invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.invoices FORCE ROW LEVEL SECURITY;
CREATE POLICY pb_allow ON app.invoices TO pb_tenants USING (tenant_id = (SELECT paybill.tenant()));
CREATE POLICY pb_fence ON app.invoices AS RESTRICTIVE USING (tenant_id = (SELECT paybill.tenant()));
CREATE TABLE app.currencies (code text PRIMARY KEY);
REVOKE INSERT, UPDATE, DELETE ON app.currencies FROM pb_rows_rw;
CREATE VIEW app.open_invoices WITH (security_invoker = true) AS SELECT * FROM app.invoices;
CREATE VIEW app.codes AS SELECT code FROM app.currencies;
CREATE TABLE app.ledger (version int PRIMARY KEY);
REVOKE ALL ON app.ledger FROM pb_rows_rw, pb_rows_r;
CREATE FUNCTION app.total() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'SELECT 1';
"""
GONE = """
DROP TABLE IF EXISTS app.invoices, app.currencies, app.ledger, app.more CASCADE;
DROP FUNCTION IF EXISTS app.total(), app.other();
"""
ONE = "ALTER TABLE app.invoices ADD CONSTRAINT one UNIQUE (id)"
BROKEN = {
    "RowSecurityOff": ("ALTER TABLE app.invoices DISABLE ROW LEVEL SECURITY", {"table app.invoices"}),
    "RowSecurityNotForced": ("ALTER TABLE app.invoices NO FORCE ROW LEVEL SECURITY", {"table app.invoices"}),
    "FenceMissing": (
        "ALTER POLICY pb_fence ON app.invoices USING (tenant_id = (SELECT paybill.tenant()) OR number = 'x')",
        {"table app.invoices"},
    ),
    "TenantColumnMissing": ("GRANT INSERT (code) ON app.currencies TO pb_rows_rw", {"table app.currencies"}),
    "UniqueNotPerTenant": (
        "CREATE UNIQUE INDEX only_number ON app.invoices (number) INCLUDE (tenant_id)",
        {"index app.only_number of table app.invoices"},
    ),
    "ForeignKeyNotPerTenant": (
        f"{ONE}; ALTER TABLE app.invoices ADD CONSTRAINT alone FOREIGN KEY (customer_id) REFERENCES app.invoices (id)",
        {"constraint alone of table app.invoices"},
    ),
    "ViewNotInvoker": ("ALTER VIEW app.open_invoices RESET (security_invoker)", {"view app.open_invoices"}),
    "MaterializedView": (
        "CREATE MATERIALIZED VIEW app.more AS SELECT * FROM app.invoices",
        {"materialized view app.more"},
    ),
    "DefinerPathOpen": ("ALTER FUNCTION app.total() RESET search_path", {"function app.total()"}),
    "PublicGrant": ("GRANT SELECT ON app.currencies TO PUBLIC", {"SELECT on app.currencies"}),
}


@pytest.fixture
def provider(at, rows):
    """Speaks as the role that owns the shared tables, in a pool whose tables are as they should be."""

    def run(script):
        at.run(f"SET ROLE {rows.name}_mig; {script}", rows.name)

    run(GOOD)
    yield run
    run("DROP MATERIALIZED VIEW IF EXISTS app.more;" + GONE)


def test_each_rule_is_tried():
    assert BROKEN.keys() == {rule.name for rule in RULES}


async def test_each_rule_finds_what_breaks_it_and_nothing_else(server, rows, provider):
    async def found():
        async with server.session(rows.name) as session:
            return {(one.rule, one.subject) for one in await findings(session, rows)}

    assert await found() == set()
    for rule, (script, subjects) in BROKEN.items():
        provider(script)
        new = await found()
        assert {subject for one, subject in new if one == rule} == subjects
        provider("DROP MATERIALIZED VIEW IF EXISTS app.more;" + GONE + GOOD)
        assert await found() == set()


@pytest.mark.parametrize("what", ["CONNECT ON DATABASE {db}", "USAGE ON SCHEMA public", "USAGE ON SCHEMA ext"])
async def test_a_grant_to_public_is_found_in_a_pool_of_schemas(at, server, schemas, what):
    what = what.format(db=schemas.name)
    at.run(f"GRANT {what} TO PUBLIC", schemas.name)
    try:
        async with server.session(schemas.name) as session:
            found = await findings(session, schemas)
    finally:
        at.run(f"REVOKE {what} FROM PUBLIC", schemas.name)
    assert [(one.rule, one.subject.split()[0]) for one in found] == [("PublicGrant", what.split()[0])]
