"""``paybill crds apply``: bring a cluster to the kinds of this version, or say what that would change.

For clusters where the chart does not install the kinds (``crds.install: false``), and for whoever wants to see an
upgrade before it happens. The rules are those of ``paybill up``: see docs/how-to/upgrade.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from paybill import __version__
from paybill.api.failures import Blocked
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.output import JSON, NOTHING, columns, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.cluster.definitions import Upgrade, carry_out, look

SIGNS = {"added": "+", "removed": "-", "required": "!", "narrowed": "!"}


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change, and exit 1 if it is refused.")
@text_output
@kubeconfig_option
def apply(*, dry_run: bool, output: str, kubeconfig: Path | None) -> None:
    """Install or upgrade the kinds of this version in a cluster; refused when something stored would be lost."""
    refusal: Blocked | None = None

    async def go(cluster: Cluster) -> list[Upgrade]:
        nonlocal refusal
        upgrades = await look(cluster)
        try:
            if not dry_run or any(one.refused for one in upgrades):
                await carry_out(cluster, upgrades)
        except Blocked as failure:
            if failure.reason != "UpgradeRefused":
                raise
            refusal = failure
        return upgrades

    with reported(output):
        upgrades = ask(kubeconfig, go)
    if output == JSON:
        click.echo(document(_as_json(upgrades, refusal, dry_run=dry_run)))
    else:
        for line in _lines(upgrades):
            click.echo(line)
        if refusal is not None:
            click.echo(f"Error: {refusal.message}", err=True)
        elif dry_run:
            click.echo("This was a dry run: nothing was changed.", err=True)
    sys.exit(0 if refusal is None else 1)


def _lines(upgrades: Sequence[Upgrade]) -> Iterator[str]:
    rows = [(one.name, one.installed_version or NOTHING, __version__, one.outcome) for one in upgrades]
    table = list(columns(("KIND", "INSTALLED", "THIS", "RESULT"), rows))
    yield table[0]
    for line, one in zip(table[1:], upgrades, strict=True):
        yield line
        yield from (f"  {SIGNS[change.kind]} {change.path}: {change.detail}" for change in one.changes)
        if one.outcome == "Changed" and not one.changes:
            yield "  ~ descriptions, columns or the version's mark"
        yield from (f"  refused: {words}" for words in one.refused)


def _as_json(upgrades: Sequence[Upgrade], refusal: Blocked | None, *, dry_run: bool) -> dict[str, Any]:
    kinds = [
        {
            "name": one.name,
            "installedVersion": one.installed_version,
            "result": one.outcome,
            "changes": [{"path": change.path, "kind": change.kind, "detail": change.detail} for change in one.changes],
            "refused": list(one.refused),
        }
        for one in upgrades
    ]
    error = {} if refusal is None else {"error": {"reason": refusal.reason, "message": refusal.message}}
    return {"version": __version__, "dryRun": dry_run, "kinds": kinds, **error}
