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
from paybill.cli.generated import bring, check_option

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
@check_option
@click.pass_context
def crds(context: click.Context, output: Path, docs: Path | None, check: bool) -> None:
    """Write the CustomResourceDefinitions of Paybill's kinds; with `apply`, install or upgrade them in a cluster."""
    if context.invoked_subcommand is not None:
        return
    files = {output / name: text for name, text in definitions().items()}
    if docs is not None:
        files[docs] = reference.page(KINDS)
    bring(files, "paybill crds" if docs is None else "paybill crds --docs", check=check)


crds.add_command(apply)


def definitions() -> dict[str, str]:
    """The YAML of every CRD by the name of its file."""
    return {f"{kind.group}_{kind.plural}.yaml": HEADER + _yaml(crd.build(kind)) for kind in KINDS}


def _yaml(document: dict[str, object]) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """YAML without anchors: a generated file is read by people, and kubectl explains no aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        return True
