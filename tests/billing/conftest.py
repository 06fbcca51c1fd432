"""The control database, the receiver's role in it, and the receiver as a process of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from paybill.control.inbox import let_in
from tests.billing.receiving import Receiver
from tests.control.fixtures import control_dsn, db, epoch

__all__ = ["control_dsn", "db", "epoch"]


@pytest.fixture
def role() -> str:
    """A role of the test's own: roles are a server's."""
    return f"webhook_{secrets.token_hex(4)}"


@pytest.fixture
async def receiver_dsn(db, control_dsn: str, role: str) -> str:
    """The control database as the receiver reaches it."""
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    await let_in(db, role)
    return make_conninfo(control_dsn, user=role)


@pytest.fixture
async def receiver(receiver_dsn: str, tmp_path: Path) -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    one = Receiver(receiver_dsn, tmp_path)
    await one.start()
    yield one
    await one.stop()
