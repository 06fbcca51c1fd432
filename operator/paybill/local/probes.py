"""How a started server is asked whether it answers: one HTTPS request, or one SQL statement.

Probes talk to servers of our own on the loopback interface with our own certificates, so a plain request over
asyncio streams is all that is needed, and any failure to answer simply means "not yet".
"""

import asyncio
import ssl
from pathlib import Path

import psycopg

from paybill.local.certificates import Pair
from paybill.local.children import Probe

_SECONDS = 3.0


def client_context(*, authority: Path, login: Pair) -> ssl.SSLContext:
    """TLS with a client certificate, trusting one authority only."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(login.certificate, login.key)
    return context


def https_ok(port: int, path: str, context: ssl.SSLContext) -> Probe:
    """A probe that is content when ``https://127.0.0.1:port`` answers ``path`` with 200."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(_SECONDS):
                return await _status(port, path, context) == 200
        except (OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError):
            return False

    return probe


async def _status(port: int, path: str, context: ssl.SSLContext) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    finally:
        writer.transport.abort()


def postgres_ok(dsn: str) -> Probe:
    """A probe that is content when a login by ``dsn`` can run a statement."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(_SECONDS):
                connection = await psycopg.AsyncConnection.connect(dsn, connect_timeout=3, autocommit=True)
                async with connection:
                    await connection.execute("SELECT 1")
        except (psycopg.OperationalError, TimeoutError):
            return False
        return True

    return probe
