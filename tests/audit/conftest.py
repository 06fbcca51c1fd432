"""The audit log's fixtures: its table lives in the control database."""

from tests.control.fixtures import control_dsn, db, epoch

__all__ = ["control_dsn", "db", "epoch"]
