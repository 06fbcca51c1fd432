"""The control database's fixtures."""

from tests.control.fixtures import control_dsn, db, epoch

__all__ = ["control_dsn", "db", "epoch"]
