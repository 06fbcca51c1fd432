"""Fixtures that tests of the registry, the facts and the audit log share; each test has a database of its own."""

import atexit
import functools
import itertools

import pytest

from paybill.control import ControlDatabase, take_epoch
from tests.control.postgres import ThrowAwayPostgres

_numbers = itertools.count()


@functools.cache
def shared_server() -> ThrowAwayPostgres:
    server = ThrowAwayPostgres()
    atexit.register(server.remove)
    return server


@pytest.fixture
def control_dsn() -> str:
    """A fresh, empty database."""
    return shared_server().create_database(f"control_{next(_numbers)}")


@pytest.fixture
async def db(control_dsn):
    """A migrated control database."""
    database = await ControlDatabase.open(control_dsn, application_name="test")
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def epoch(db) -> int:
    return await take_epoch(db)
