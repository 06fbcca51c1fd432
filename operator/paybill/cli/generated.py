"""Files that are written from the code and committed: write them, or say which are not what the code says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

check_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--check", is_flag=True, help="Write nothing; name the files that differ and exit 1 if there are any."
)


def bring(files: Mapping[Path, str], command: str, *, check: bool) -> None:
    """Write ``files``, texts by path, and say so; ``command`` is how a user does that.

    With ``check`` nothing is written, and the exit code is 1 when a file is missing or differs, or when a YAML file
    beside them is none of them: a leftover would be installed with the others.
    """
    if not check:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            click.echo(f"wrote {path}")
        return
    beside = {found for path in files if path.suffix == ".yaml" for found in path.parent.glob("*.yaml")}
    said = [f"{path} differs from the code: run `{command}`" for path, text in files.items() if not _holds(path, text)]
    said += [f"{path} is not made by `{command}`: remove it" for path in sorted(beside - files.keys())]
    for line in said:
        click.echo(line, err=True)
    raise SystemExit(1 if said else 0)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
