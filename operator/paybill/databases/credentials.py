"""Passwords of tenants' logins, which leave this process only towards a Secret.

The server is given a SCRAM-SHA-256 verifier (RFC 5802) computed here, so no clear-text password can be found in a
server log, in ``pg_stat_statements`` or on the wire (CVE-2026-55765 in a peer).
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from paybill.api.failures import Blocked
from paybill.databases.failures import translated

ITERATIONS: Final = 4096
WRONG_PASSWORD: Final = "password authentication failed"  # noqa: S105 - a server's words
"""How a server says that it knows the login, and that the password is not its."""
_VERIFIER: Final = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


def new_password() -> str:
    """A password of 192 random bits that needs no quoting in a URI, a shell or SQL."""
    return secrets.token_urlsafe(24)


def is_verifier(value: str) -> bool:
    """Whether ``value`` is a SCRAM-SHA-256 verifier as Postgres stores it."""
    return _VERIFIER.fullmatch(value) is not None


def scram_verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The verifier Postgres stores for ``password``, with a fresh random salt unless one is given.

    Takes printable ASCII only (what ``new_password`` makes), for which SASLprep changes nothing.
    """
    if not (password.isascii() and password.isprintable() and password):
        raise ValueError("a generated password is printable ASCII")
    salt = secrets.token_bytes(16) if salt is None else salt
    stored, server = _keys(password, salt, iterations)
    return f"SCRAM-SHA-256${iterations}:{_b64(salt)}${_b64(stored)}:{_b64(server)}"


def verifies(password: str, verifier: str) -> bool:
    """Whether ``password`` is the one that ``verifier`` was made from."""
    match = _VERIFIER.fullmatch(verifier)
    if match is None:
        return False
    iterations, salt, stored, server = match.groups()
    expected = _keys(password, base64.b64decode(salt), int(iterations))
    given = (base64.b64decode(stored), base64.b64decode(server))
    return all(hmac.compare_digest(one, other) for one, other in zip(expected, given, strict=True))


async def login_works(address: Mapping[str, str], database: str, user: str, password: str) -> bool:
    """Whether ``user`` can log in to ``database`` with ``password``; raises as ``refusal`` does."""
    return await refusal(address, database, user, password) is None


async def refusal(address: Mapping[str, str], database: str, user: str, password: str) -> str | None:
    """Why ``user`` cannot log in to ``database`` with ``password``, in the server's words; None when it can.

    ``address`` is ``Server.address()``. Raises ``Retry("DatabaseUnreachable")`` when there is no answer.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo(**address, dbname=database, user=user, password=password, connect_timeout=5)
        )
    except psycopg.OperationalError as error:
        failure = translated(address.get("host", "?"), error)
        if isinstance(failure, Blocked):
            return failure.message
        raise failure from error
    await connection.close()
    return None


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
