"""How the samples are shown while they come up: a live table in a terminal, else a line for each turn.

Both are drawn from the same rows (local/board.py), on standard error; the result on standard output comes after.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from paybill.cli.output import JSON, columns

if TYPE_CHECKING:
    from rich.table import Table

    from paybill.cli.usage import Use
    from paybill.local.board import Row
    from paybill.local.demo import Show

_TITLES = ("TENANT", "PLAN", "COMPUTE", "DATABASE", "SUBSCRIPTION", "STATE", "READY AFTER")


@contextlib.contextmanager
def presenter(output: str) -> Iterator[Show]:
    """Something that shows rows while the samples come up, fit for where standard error goes."""
    if sys.stderr.isatty() and output != JSON:
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), transient=True, refresh_per_second=8) as live:
            yield lambda rows: live.update(_live_table(rows))
    else:
        yield _Turns().show


class _Turns:
    """A line whenever a tenant's state or phase is another than before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[object, ...]] = {}

    def show(self, rows: tuple[Row, ...]) -> None:
        """Print the rows that turned."""
        for row in rows:
            now = (row.ready, row.phase, row.reason)
            if row.phase is not None and self._before.get(row.tenant) != now:
                self._before[row.tenant] = now
                after = f" after {row.seconds:.1f} s" if row.seconds is not None else ""
                about = "" if row.ready else f": {row.message}"
                click.echo(f"{row.tenant}: {row.phase}, {_state(row)}{after}{about}", err=True)


def plain_table(rows: Iterable[Row]) -> Iterator[str]:
    """The rows for standard output."""
    return columns(_TITLES, (_cells(row) for row in rows))


def lines(uses: Iterable[Use]) -> Iterator[str]:
    """What can be done, each with the line to paste below it."""
    for use in uses:
        yield f"# {use.what}"
        yield f"{use.line}\n"


def _live_table(rows: Iterable[Row]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, no_wrap=title == "TENANT", overflow="fold")
    for row in rows:
        table.add_row(*(cell or "-" for cell in _cells(row)), style="green" if row.ready else "yellow")
    return table


def _cells(row: Row) -> tuple[str | None, ...]:
    time = f"{row.seconds:.1f} s" if row.seconds is not None else None
    return row.tenant, row.plan, row.compute, row.database, row.phase, _state(row), time


def _state(row: Row) -> str:
    """Ready, or the reason why not."""
    return "Ready" if row.ready else row.reason
