"""``paybill migrations``: check the provider's SQL before it reaches anybody, and see how far the fleet is."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from paybill.cli.migrations_fleet import plan, retry, status
from paybill.cli.output import JSON, document, reported, text_output
from paybill.migrations import files
from paybill.migrations.lint import Finding, kind, lint


@click.group()
def migrations() -> None:
    """Check the numbered SQL files that make the tenants' tables, and see how far the fleet is."""


for _command in (status, plan, retry):
    migrations.add_command(_command)


@migrations.command(name="lint")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@text_output
def lint_(*, directory: Path, output: str) -> None:
    """Say what in DIRECTORY would break isolation, or differ between levels; exit code 1 when there is anything.

    Needs neither a cluster nor a database: for a pipeline, before the files are published.
    """
    with reported(output):
        read = files.read(directory)
        found = lint(read)
        if output == JSON:
            listed = [
                {"file": file.file_name, "version": file.version, "checksum": file.checksum} for file in read.files
            ]
            click.echo(document({"files": listed, "findings": [_finding(one) for one in found]}))
        elif found:
            for one in found:
                click.echo(str(one))
        else:
            for file in read.files:
                click.echo(f"{file.file_name}: {kind(file).lower()}, may run")
    if found:
        sys.exit(1)


def _finding(one: Finding) -> dict[str, object]:
    return {
        "file": one.file,
        "line": one.line,
        "rule": one.rule.name,
        "wrong": one.rule.wrong,
        "about": one.what,
        "instead": one.rule.instead,
        "statement": one.statement,
    }
