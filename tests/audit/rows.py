"""What the audit tests share: sample steps, and a look at the table that does not go through our code."""

from collections.abc import Sequence

import psycopg
from psycopg.rows import class_row

from paybill.audit import Intent, Row, StepToken
from paybill.audit.chain import COLUMNS


def intent(number: int = 0, **changes) -> Intent:
    values = {
        "action": "namespace.apply",
        "object": f"Namespace/t-{number:08d}",
        "cause": "Tenant/acme generation 3",
        "tenant_id": f"{number:08d}",
        "cell": "eu",
        "inputs_digest": "sha256:00ff",
    }
    return Intent(**{**values, **changes})


def stored(dsn: str) -> list[Row]:
    """The rows as they stand in the table, by seq."""
    with psycopg.connect(dsn) as connection:
        cursor = connection.cursor(row_factory=class_row(Row))
        return cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM paybill.audit_log ORDER BY seq").fetchall()


def tampered(dsn: str, statement: str, values: Sequence[object] = ()) -> None:
    """Change the table as its owner can: past the append-only trigger and the constraints."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE paybill.audit_log DISABLE TRIGGER audit_log_append_only")
        connection.execute(statement, values)
        connection.execute("ALTER TABLE paybill.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only")


def kinds(rows: Sequence[Row]) -> list[tuple[str, str, str | None]]:
    return [(row.kind, row.object, row.result) for row in rows]


def steps(tokens: Sequence[StepToken]) -> list:
    return [token.step for token in tokens]
