"""Makes one tenant's place in a pool database as declared, whatever state it is found in.

All changes of a call are one transaction sent in one round trip, so a crash leaves either nothing or everything, and
the next call finds out which by looking. A tenant that is nowhere yet costs one look and one script.
"""

from collections.abc import Mapping

from psycopg import errors

from paybill.api.failures import Blocked, Invalid
from paybill.databases.borrowed import borrowed
from paybill.databases.credentials import is_verifier
from paybill.databases.leader import asserting
from paybill.databases.observation import look, observe
from paybill.databases.outcome import Outcome
from paybill.databases.repairs import repairs
from paybill.databases.server import Server, Session
from paybill.databases.sessions import end_sessions
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired.database import conflicts, degraded, judged
from paybill.desired.database_facts import ObservedDatabase
from paybill.desired.database_tenant import PoolDatabase, TenantDatabase

__all__ = ["Outcome", "ensure", "observe", "plan"]


async def ensure(
    server: Server,
    pool: PoolDatabase,
    desired: TenantDatabase,
    *,
    passwords: Mapping[str, str] | None = None,
    expect_absent: bool = False,
) -> Outcome:
    """Make ``desired`` so, in one transaction; then end the sessions of logins that it closes.

    ``expect_absent``: the id was claimed a moment ago, so nothing of it should exist: create without looking first.
    What exists all the same makes the creation fail as a whole, and is then looked at.

    ``passwords`` maps login names to SCRAM verifiers (``credentials.scram_verifier``); logins it does not name keep
    theirs. Raises ``Blocked("NameConflict")`` before anything is changed when a role or schema of the tenant's names
    is not marked as the tenant's, ``Retry("SessionsStillOpen")`` when a session does not end, and what
    ``Server.session`` raises.
    """
    _check(pool, desired, passwords or {})
    async with server.session(pool.name) as session:
        if expect_absent and (created := await _created(session, server, desired, passwords or {})):
            return Outcome(created, degraded(desired, server.traits), created=True)
        observed = (await look(session, server.traits, pool, [desired.id]))[desired.id]
        statements = plan(desired, observed, passwords or {})
        changed = await run(session, (*asserting(server.epoch), *statements)) if statements else ()
        if not observed.absent and (statements or desired.closed_logins & observed.sessions.keys()):
            changed += await end_sessions(session, server.traits, desired.closed_logins)
    return Outcome(changed, degraded(desired, server.traits))


async def _created(
    session: Session, server: Server, desired: TenantDatabase, passwords: Mapping[str, str]
) -> tuple[str, ...]:
    """Create everything at once; empty, and nothing done, when something of these names exists already."""
    statements = plan(desired, ObservedDatabase(desired.id, server.traits), passwords)
    try:
        return await run(session, (*asserting(server.epoch), *statements))
    except (errors.DuplicateObject, errors.DuplicateSchema):
        await session.execute("ROLLBACK")
        return ()


def plan(desired: TenantDatabase, observed: ObservedDatabase, passwords: Mapping[str, str]) -> tuple[Statement, ...]:
    """The statements that ``ensure`` sends, in order; empty when nothing is to be done."""
    found = conflicts(desired, observed)
    if found:
        raise Blocked("NameConflict", f"tenant {desired.id}: {'; '.join(found)}. Nothing was changed.")
    seen, _ = judged(desired, observed)
    return borrowed(repairs(desired, seen, passwords), observed.traits)


def _check(pool: PoolDatabase, desired: TenantDatabase, passwords: Mapping[str, str]) -> None:
    # A server of the tenant's own holds one schema like any other; what has a database of its own comes later.
    if desired.level not in ("Rows", "Schema"):
        raise Blocked("NotSupportedYet", f"tenant {desired.id}: database level {desired.level} is not supported yet")
    if pool.name != desired.database or pool.installation != desired.installation:
        raise Invalid("WrongPool", f"tenant {desired.id} belongs in database {desired.database}, not {pool.name}")
    if pool.holds != ("Rows" if desired.level == "Rows" else "Schemas"):
        raise Blocked("WrongPool", f"tenant {desired.id}: pool database {pool.name} holds {pool.holds.lower()} only")
    unknown = passwords.keys() - set(desired.login_names)
    if unknown:
        raise Invalid("BadRoleName", f"tenant {desired.id} has no login {', '.join(sorted(unknown))}")
    if not all(is_verifier(value) for value in passwords.values()):
        raise Invalid("BadVerifier", f"tenant {desired.id}: passwords are handed over as SCRAM verifiers only")
