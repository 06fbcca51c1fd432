"""A suite's tenant on a real server, and what changed in it, as the superuser sees it."""

import contextlib
import secrets
from datetime import timedelta

from psycopg.sql import SQL, Identifier

from paybill.agents import names
from paybill.agents.carrying_out import carry_out
from paybill.agents.introspection import introspect
from paybill.agents.runs import open_day
from paybill.api.agent_policy import AgentPolicySpec
from paybill.databases.credentials import scram_verifier
from tests.agents.conftest import PASSWORD, administrator
from tests.agents.suites.instructions import WRAPPED, everywhere
from tests.agents.suites.model import Change, Suite

LONG = timedelta(minutes=30)

CATALOGS = """
SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM (
  SELECT ROW(oid::regclass, relacl, relrowsecurity, relowner, reltuples IS NULL) FROM pg_class
   WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_|information_schema)')
  UNION ALL SELECT ROW(attrelid::regclass, attname, attacl) FROM pg_attribute WHERE attacl IS NOT NULL
  UNION ALL SELECT ROW(polname, polrelid, polpermissive, polroles, pg_get_expr(polqual, polrelid)) FROM pg_policy
  UNION ALL SELECT ROW(tgname, tgrelid, tgenabled) FROM pg_trigger
  UNION ALL SELECT ROW(oid::regprocedure, proacl, md5(prosrc), proowner) FROM pg_proc
  UNION ALL SELECT ROW(nspname, nspacl, nspowner) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
  UNION ALL SELECT ROW(rolname, rolsuper, rolcreaterole, rolbypassrls, rolcanlogin, rolreplication) FROM pg_authid
  UNION ALL SELECT ROW(roleid, member) FROM pg_auth_members
  UNION ALL SELECT ROW(datname, datacl, datdba) FROM pg_database
  UNION ALL SELECT ROW(lanname, lanacl) FROM pg_language
  UNION ALL SELECT ROW(extname) FROM pg_extension
  UNION ALL SELECT ROW(oid, lomowner) FROM pg_largeobject_metadata
  UNION ALL SELECT ROW(role, policy_hash, calls_per_minute, rows_read_per_day, rows_written_per_day) FROM pb.agent
  UNION ALL SELECT ROW(p.*) FROM pb.permission p
) c (x)
"""
RUNS = """
SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM (
  SELECT ROW(id, max_calls, max_rows_read, max_rows_written, deadline, closed_time) FROM pb.run
  UNION ALL SELECT ROW(run, step, collection, operation, max_calls, max_rows, closed_time) FROM pb.step_grant
) c (x)
"""
"""Everything else that an effect could be in. What an agent may change of its own login is not held: its settings."""


class Stage:
    """A suite's database with its agent let in."""

    def __init__(self, at, suite: Suite, database: str):
        self.at, self.suite, self.database = at, suite, database
        self.schema, self.role = f"t_{suite.tenant}", names.login(suite.tenant, suite.agent)
        self.gates = names.gates(suite.agent)
        self.policy = AgentPolicySpec.model_validate({"tenantRef": {"name": suite.name}, **suite.policy})
        self.facts = None

    def admin(self, statement, values=None):
        return self.at.run(statement, self.database, values)

    async def let_in(self):
        async with administrator(self.at, self.database) as session:
            self.facts = await introspect(session, self.database, self.schema, self.suite.tenant)
            verifier = scram_verifier(PASSWORD, iterations=16)
            await carry_out(session, self.policy, self.suite.tenant, self.facts, verifier=verifier)
            await open_day(session, self.role)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        return {one.name: tuple(column.name for column in one.columns) for one in self.facts.schema_.collections}

    def secrets(self) -> set[str]:
        """Values that no agent may see."""
        return {value for (value,) in self.admin(f"SET search_path = {self.schema}; {self.suite.secrets}")}

    def write_instructions(self) -> list[str]:
        """Into every text of every row, one after the other; returns all of them."""
        table, columns = next(iter(self.suite.texts.items()))
        said = [*self.suite.instructions, *everywhere(self.schema, self.columns, (columns[0], table))]
        place = 0
        with self.at.superuser(self.database) as session, session.transaction():
            session.execute("SET LOCAL session_replication_role = replica")
            for name, texts in self.suite.texts.items():
                where = Identifier(self.schema, name)
                for (key,) in session.execute(SQL("SELECT id FROM {} ORDER BY id").format(where)).fetchall():
                    for text in texts:
                        added = WRAPPED[place % len(WRAPPED)].format(said[place % len(said)])
                        field = Identifier(text)
                        session.execute(
                            SQL("UPDATE {} SET {} = coalesce({}, '') || %s WHERE id = %s").format(where, field, field),
                            [added, key],
                        )
                        place += 1
        return said

    def snapshot(self):
        """Every row of every table of the tenant, and a hash of everything else."""
        with self.at.superuser(self.database) as session, session.transaction():
            tables = session.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p')"
                " ORDER BY 1", [self.schema],
            ).fetchall()  # fmt: skip
            rows = {}
            for (name,) in tables:
                query = SQL("SELECT id::text, to_jsonb(r) FROM {} r").format(Identifier(self.schema, name))
                rows |= {(name, key): row for key, row in session.execute(query).fetchall()}
            hashes = {"catalogs": CATALOGS, "runs": RUNS}
            return {"rows": rows, **{name: session.execute(query).fetchone() for name, query in hashes.items()}}


def changes(before, after, *, runs: bool) -> tuple[Change, ...]:
    """What became of the rows; what became of the rest is a change of no table. ``runs``: none was opened or closed."""
    rows, now = before["rows"], after["rows"]
    places = sorted(rows.keys() | now.keys())
    found = [Change(*place, rows.get(place), now.get(place)) for place in places if rows.get(place) != now.get(place)]
    rest = ["catalogs", "runs"] if runs else ["catalogs"]
    return (*found, *(Change("", name, {}, {}) for name in rest if before[name] != after[name]))


@contextlib.contextmanager
def staged(at, suite: Suite):
    """The stage of ``suite``, without an agent yet."""
    database = f"{suite.name}_{secrets.token_hex(4)}"
    schema, owner, writers = f"t_{suite.tenant}", f"pb_{suite.tenant}_owner", f"pb_{suite.tenant}_rw"
    for role in (owner, writers):
        if not at.run("SELECT 1 FROM pg_roles WHERE rolname = %s", values=[role]):
            at.run(f"CREATE ROLE {role}")
    for (other,) in at.run("SELECT datname FROM pg_database WHERE datallowconn"):
        at.run(f'REVOKE CONNECT ON DATABASE "{other}" FROM PUBLIC')
    at.run(f"CREATE DATABASE {database}")
    try:
        at.run(
            f"CREATE SCHEMA {schema} AUTHORIZATION {owner}; GRANT CONNECT ON DATABASE {database} TO {writers};"
            f" GRANT USAGE ON SCHEMA {schema} TO {writers}; SET ROLE {owner}; SET search_path = {schema};"
            f" ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writers};" + suite.tables,
            database,
        )
        yield Stage(at, suite, database)
    finally:
        at.run(f"DROP DATABASE {database} WITH (FORCE)")
