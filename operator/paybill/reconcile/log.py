"""Structured logs: one JSON object a line, each with the object it is about and the cause of the reconcile.

The context travels with the task, so no call of the logger needs to repeat it.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from paybill.reconcile.queue import Work

_CONTEXT: contextvars.ContextVar[tuple[Work, str] | None] = contextvars.ContextVar("work", default=None)


@contextlib.contextmanager
def about(work: Work, cause: str) -> Iterator[None]:
    """Everything logged inside is about this key, for this cause."""
    token = _CONTEXT.set((work, cause))
    try:
        yield
    finally:
        _CONTEXT.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = _CONTEXT.get()
        if context is not None:
            work, cause = context
            line |= {work.kind.lower(): work.name, "cause": cause}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        context = _CONTEXT.get()
        who = f" [{context[0].kind}/{context[0].name}]" if context is not None else ""
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        return f"{moment} {record.levelname:7}{who} {record.getMessage()}{trace}"


def configure(form: str, level: str) -> None:
    """Send every log line to standard error in the chosen form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Kopf describes each event at INFO and psycopg each reconnect; what matters of both we say ourselves.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
