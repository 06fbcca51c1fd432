"""``paybill admission``: write the admission policies as YAML, each with its reason, or check what is written.

The chart installs these files as they are and fills in three words (see desired/policy.py), so whoever reads the chart,
or what it rendered, sees what is refused and why. ``--check`` is what keeps chart and operator together in CI.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from paybill.cli.generated import bring, check_option
from paybill.desired.admission import POLICIES
from paybill.desired.policy import Policy

FOLDER = "helm/paybill/files/admission"
HEADER = "# Generated from operator/paybill/desired/admission.py by `paybill admission`; do not edit.\n"


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(FOLDER),
    show_default=True,
    help="Folder the policies are written to.",
)
@check_option
def admission(output: Path, check: bool) -> None:
    """Write the chart's ValidatingAdmissionPolicies and their bindings."""
    files = {output / name: text for name, text in policies().items()}
    bring(files, "paybill admission", check=check)


def policies() -> dict[str, str]:
    """The YAML of each policy with its binding by the name of its file; the words of an installation are signs."""
    return {f"{policy.name}.yaml": f"{HEADER}# {policy.reason}\n{_text(policy)}" for policy in POLICIES}


def _text(policy: Policy) -> str:
    documents = [policy.wire(None), policy.binding()]
    return "---\n".join(yaml.dump(one, Dumper=_Folded, sort_keys=False, width=110) for one in documents)


class _Folded(yaml.SafeDumper):
    """YAML in which a long expression is folded and not quoted: it is read by people."""


def _string(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > 60 else None)


_Folded.add_representer(str, _string)
