"""``paybill crds``: write the CustomResourceDefinitions and their reference from the models, or check them.

The files in crds/ are made here and never edited; ``--check`` is what keeps them so in CI. ``paybill crds apply``
brings a cluster to the kinds of this version.
"""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from paybill.api import crd, reference
from paybill.api.kinds import KINDS
from paybill.cli.crds_apply import apply

HEADER = "# Generated from operator/paybill/api by `paybill crds`; do not edit.\n"
DOCS = "docs/reference/api.md"


@click.group(invoke_without_command=True)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("crds"),
    show_default=True,
    help="Folder the CRDs are written to.",
)
@click.option(
    "--docs",
    type=click.Path(dir_okay=False, path_type=Path),
    is_flag=False,
    flag_value=DOCS,
    default=None,
    help=f"Also the reference page; without a value: {DOCS}.",
)
@click.option("--check", is_flag=True, help="Write nothing; name the files that differ and exit 1 if there are any.")
@click.pass_context
def crds(context: click.Context, output: Path, docs: Path | None, check: bool) -> None:
    """Write the CustomResourceDefinitions of Paybill's kinds; with `apply`, install or upgrade them in a cluster."""
    if context.invoked_subcommand is not None:
        return
    files = {output / name: text for name, text in definitions().items()}
    if docs is not None:
        files[docs] = reference.page(KINDS)
    if check:
        differing = [path for path, text in files.items() if not _holds(path, text)]
        for path in differing:
            remedy = "paybill crds --docs" if path == docs else "paybill crds"
            click.echo(f"{path} differs from the models: run `{remedy}`", err=True)
        raise SystemExit(1 if differing else 0)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}")


crds.add_command(apply)


def definitions() -> dict[str, str]:
    """The YAML of every CRD by the name of its file."""
    return {f"{kind.group}_{kind.plural}.yaml": HEADER + _yaml(crd.build(kind)) for kind in KINDS}


def _yaml(document: dict[str, object]) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


class _Plain(yaml.SafeDumper):
    """YAML without anchors: a generated file is read by people, and kubectl explains no aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        return True
