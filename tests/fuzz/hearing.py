"""Hears everything that the operator and Kopf log while something is thrown at them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


class Lines(logging.Handler):
    """Every line that the operator and Kopf log, with its trace."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[int, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.levelno, record.name, self.format(record)))


@contextlib.contextmanager
def listening() -> Iterator[Lines]:
    """Hear everything that is logged meanwhile."""
    lines, levels = Lines(), {"paybill": logging.INFO, "kopf": logging.WARNING}
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).addHandler(lines)
        logging.getLogger(name).setLevel(level)
    try:
        yield lines
    finally:
        for name, level in before.items():
            logging.getLogger(name).removeHandler(lines)
            logging.getLogger(name).setLevel(level)
