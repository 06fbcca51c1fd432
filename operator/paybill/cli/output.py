"""How every command answers: ``--output``, tables without a terminal's width, and failures as words or as JSON.

Results go to standard output and nothing else does, so that ``--output json`` can be piped; what is going on, and what
went wrong, goes to standard error for people and into the JSON document for programs.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from paybill.api.failures import Failure

JSON = "json"
WIDE = "wide"
NOTHING = "-"

text_output = click.option("--output", "-o", type=click.Choice(["text", JSON]), default="text", show_default=True)
table_output = click.option(
    "--output", "-o", type=click.Choice(["table", JSON, WIDE]), default="table", show_default=True
)


@contextlib.contextmanager
def reported(output: str) -> Iterator[None]:
    """Turn a failure into a message for people, or a JSON object for programs, and exit code 1."""
    try:
        yield
    except Failure as failure:
        if output == JSON:
            click.echo(document({"error": {"reason": failure.reason, "message": failure.message}}))
        else:
            click.echo(f"Error: {failure.message}", err=True)
        sys.exit(1)


def document(content: Any) -> str:
    """One JSON document; moments as RFC 3339."""
    return json.dumps(content, indent=2, default=_plain, ensure_ascii=False)


def columns(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The rows as aligned columns under their titles, as kubectl prints them; None is a dash."""
    table = [tuple(titles), *(tuple(NOTHING if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(titles))]
    for row in table:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def fields(pairs: Iterable[tuple[str, object]], indent: str = "  ") -> Iterator[str]:
    """Names and values below each other, what is None left out."""
    shown = [(name, str(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0) + 1
    for name, value in shown:
        yield f"{indent}{(name + ':').ljust(width)}  {value}"


def moment(time: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, whole seconds."""
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(length: timedelta) -> str:
    """A span in at most two units, as kubectl writes ages: 45s, 12m, 3h5m, 2d4h, 73d."""
    seconds = max(0, int(length.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 60:
        return f"{minutes}m"
    if hours < 24:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if days < 10 and hours % 24:
        return f"{days}d{hours % 24}h"
    return f"{days}d"


def age(since: datetime | None, now: datetime) -> str | None:
    """How long ago, for people."""
    return None if since is None else span(now - since)


def coming(time: datetime, now: datetime) -> str:
    """A moment with its distance from now: 2027-01-01T00:00:00Z (in 5d, or 3h ago)."""
    distance = f"in {span(time - now)}" if time >= now else f"{span(now - time)} ago"
    return f"{moment(time)} ({distance})"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return str(moment(value))
    raise TypeError(f"{value!r} is nothing that JSON can hold")
