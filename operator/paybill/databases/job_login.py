"""A tenant's login for one job of ours: opened with a password that nobody else ever sees, closed when the job is done.

What touches a tenant's rows is never the administrator, so that nothing a tenant left in its tables runs with more
rights than the tenant has.
"""

from typing import Final

from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.databases.credentials import scram_verifier
from paybill.databases.server import Session
from paybill.desired import sql_names as names

SUFFIX: Final = "job_a"
"""The login: none of the backups', which may look past row security while it counts."""


async def open_login(admin: Session, login: str, group: str, mark: str, password: str) -> None:
    """Make ``login`` if it is missing, put it into ``group`` and let it in, in the open transaction of ``admin``."""
    cursor = await admin.execute(
        "SELECT COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s", [login]
    )
    name, found = Identifier(login), await cursor.fetchone()
    if found is not None and found[0] != mark:
        raise Blocked("NameConflict", f"role {login} is marked {found[0]!r}, not {mark!r}. Nothing was changed.")
    if found is None:
        await admin.execute(SQL("CREATE ROLE {} CONNECTION LIMIT 1").format(name))
        await admin.execute(SQL("COMMENT ON ROLE {} IS {}").format(name, Literal(mark)))
    await admin.execute(SQL("GRANT {} TO {}").format(Identifier(group), name))
    verifier = Literal(scram_verifier(password))
    await admin.execute(SQL("ALTER ROLE {} LOGIN INHERIT PASSWORD {}").format(name, verifier))


async def close_login(admin: Session, login: str, group: str) -> None:
    """Undo what ``open_login`` did but for the role itself, in the open transaction of ``admin``."""
    name = Identifier(login)
    await admin.execute(SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(name))
    await admin.execute(SQL("REVOKE {} FROM {}").format(Identifier(group), name))


def of_tenant(tenant: str) -> tuple[str, str]:
    """The login of a tenant's job that writes, and the group that it is put into."""
    return names.role(tenant, SUFFIX), names.role(tenant, "rw")
