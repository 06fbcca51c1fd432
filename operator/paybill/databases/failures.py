"""Turns what psycopg raises into Paybill's three failures, at the edge where a session is used.

Only the server's primary message is passed on: details and statements may hold values, and a connection string may
hold a password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from paybill.api.failures import Blocked, Failure, Retry

EPOCH_LOST: Final = "PB001"
"""The SQLSTATE with which a server refuses SQL of an operator that was replaced (databases/leader.py)."""
_UNREACHABLE_CLASSES: Final = ("08", "57P", "53", "58")
_BUSY: Final = {
    "55P03",  # lock_not_available
    "57014",  # query_canceled: our own time-out
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55006",  # object_in_use
    "42710",  # duplicate_object: another process made the role since we looked
    "42P06",  # duplicate_schema
    "42P04",  # duplicate_database
    "23505",  # unique_violation: the same, seen by a catalog's index
    "42704",  # undefined_object: gone since we looked
    "53200",  # out_of_memory, locks included
    "53300",  # too_many_connections
}
FULL: Final = "DatabaseFull"
"""The reason of what failed because a server's disk is full."""
_DENIED: Final = {"28000", "28P01"}
# libpq gives no code when the connection itself fails, only the server's words.
_DENIED_WORDS: Final = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "is not permitted to log in",
    "permission denied for database",
)
_BUSY_WORDS: Final = ("too many connections", "too many clients", "remaining connection slots")
_MISSING_WORDS: Final = ("database", "does not exist")
_CONCURRENT: Final = ("tuple concurrently updated", "tuple concurrently deleted")


@contextmanager
def as_failure(server: str) -> Iterator[None]:
    """Raise database errors of the block as ``Retry`` or ``Blocked``, naming ``server``."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(server, error) from error


def translated(server: str, error: psycopg.Error) -> Failure:
    """The failure that stands for ``error``; what is no state of the world is a bug and says so."""
    code = error.sqlstate or ""
    said = error.diag.message_primary or (str(error).strip().splitlines() or [type(error).__name__])[0]
    if code == EPOCH_LOST:
        return Blocked("EpochLost", f"server {server}: {said}: this process no longer leads and must stop")
    if code in _DENIED or (not code and any(words in said for words in _DENIED_WORDS)):
        return Blocked("DatabaseAccessDenied", f"server {server} refuses the login: {said}")
    if code == "3D000" or (not code and all(words in said for words in _MISSING_WORDS)):
        return Retry("DatabaseMissing", f"server {server}: {said}")
    if code in _BUSY or said in _CONCURRENT or (not code and any(words in said for words in _BUSY_WORDS)):
        return Retry("DatabaseBusy", f"server {server}: {said}")
    if code == "53100":
        return Retry("DatabaseFull", f"server {server}: {said}: its disk is full")
    if code == "25006":
        return Retry("DatabaseReadOnly", f"server {server}: {said}: it is a standby, or was set to read-only")
    if code == "2BP01":
        return Blocked("RoleInUse", f"server {server}: {said}")
    if code == "42501":
        return Blocked("DatabasePermissionDenied", f"server {server}: {said}")
    if code.startswith(_UNREACHABLE_CLASSES) or (not code and isinstance(error, psycopg.OperationalError)):
        return Retry("DatabaseUnreachable", f"server {server}: {said}")
    return Blocked("DatabaseError", f"server {server}: {said} ({code or type(error).__name__})")
