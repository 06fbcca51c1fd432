"""What a dump holds of agents, and stays out of every restore: their row policies and the triggers that charge them.

These are of the server and not of the tenant's data: they name roles and a schema that a scratch database, or another
place, does not have. The policy's own reconcile puts them where they belong. What an archive holds is in its table of
contents, right at its beginning, so the archive is read twice: that far, and whole.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import Final

from paybill.backups import programs
from paybill.backups.tools import Tools

_POLICY: Final = re.compile(r" POLICY (\S+) (.+) pba_(?:pass|[-a-z0-9]+_(?:open|fence|create|update)) \S+$")
_TRIGGER: Final = re.compile(r" TRIGGER \S+ .+ pba_write_(?:insert|update|delete) \S+$")
_ROWS: Final = re.compile(r" ROW SECURITY (\S+) (.+) \S+$")


async def contents(
    client: Tools, environment: Mapping[str, str], seconds: float, archive: AsyncIterator[bytes]
) -> list[str]:
    """The table of contents of an archive of pg_dump's, a line for each entry; raises as ``programs.output`` does."""
    argv = [client.program("pg_restore"), "--list"]
    said = b""
    async with aclosing(programs.output(argv, environment, seconds, archive)) as pieces:
        async for piece in pieces:
            said += piece
    return said.decode().splitlines()


def without(lines: Iterable[str]) -> list[str] | None:
    """The entries without those of agents; None when there is none of these, and everything is to be restored.

    Row security of a table goes with the agents' policies, unless the tenant has a policy of its own there.
    """
    listed = list(lines)
    agents = [found for line in listed if (found := _POLICY.search(line)) is not None]
    if not agents and not any(_TRIGGER.search(line) for line in listed):
        return None
    kept = [line for line in listed if _POLICY.search(line) is None and _TRIGGER.search(line) is None]
    closed = {(found[1], found[2]) for found in agents}
    own = {one for one in closed if any(f" POLICY {one[0]} {one[1]} " in line for line in kept)}
    return [line for line in kept if _table(line) not in closed - own]


def _table(line: str) -> tuple[str, str] | None:
    found = _ROWS.search(line)
    return (found[1], found[2]) if found is not None else None
