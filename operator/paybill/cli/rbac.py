"""``paybill rbac``: write what the operator and tenants' owners may do as YAML, each rule with its reason, or check it.

The chart puts these rules into its roles as they are, comments included, so whoever reads the chart, or what it
rendered, sees why each right is there. ``--check`` is what keeps chart and operator together in CI.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from paybill.cli.generated import bring, check_option
from paybill.desired import names, permissions
from paybill.desired.permissions import Rule

FOLDER = "helm/paybill/files/rbac"
HEADER = "# Generated from operator/paybill/desired/permissions.py by `paybill rbac`; do not edit.\n"


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role of the chart: where it applies, and its rules."""

    kind: str
    name: str
    where: str
    rules: Sequence[Rule]

    @property
    def file(self) -> str:
        """The file of its rules; the chart takes the role's kind and name from it."""
        return f"{self.name}.{self.kind.lower()}.yaml"


ROLES = (
    Role(
        kind="ClusterRole",
        name=permissions.OPERATOR_ROLE,
        where="The operator, cluster-wide.",
        rules=permissions.OPERATOR,
    ),
    Role(
        kind="ClusterRole",
        name=permissions.SIGNUP_ROLE,
        where="The operator, cluster-wide, where a template of those who sign up by paying is set.",
        rules=permissions.OPERATOR_SIGNUP,
    ),
    Role(
        kind="Role",
        name=permissions.OPERATOR_ROLE,
        where="The operator, in its own namespace.",
        rules=permissions.OPERATOR_OWN_NAMESPACE,
    ),
    Role(
        kind="Role",
        name=permissions.GATEWAYS_ROLE,
        where="The operator, in its own namespace, where it runs the gateways of agents.",
        rules=permissions.OPERATOR_GATEWAYS,
    ),
    Role(
        kind="ClusterRole",
        name=names.GATEWAY_ROLE,
        where="The gateways of agents, cluster-wide.",
        rules=permissions.GATEWAY,
    ),
    Role(
        kind="ClusterRole",
        name=names.OPERATOR_TENANT_ROLE,
        where="The operator, in each tenant's namespace, by the RoleBinding that it makes for itself there.",
        rules=permissions.OPERATOR_TENANT_NAMESPACE,
    ),
    Role(
        kind="ClusterRole",
        name=names.OWNER_ROLE,
        where="A tenant's owners, in its namespace.",
        rules=permissions.OWNER,
    ),
    Role(
        kind="ClusterRole",
        name=permissions.APPROVER_ROLE,
        where="Who approves what agents wait with, such as tenants' owners; bound to nobody until you do.",
        rules=permissions.APPROVER,
    ),
)


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(FOLDER),
    show_default=True,
    help="Folder the rules are written to.",
)
@check_option
def rbac(output: Path, check: bool) -> None:
    """Write the rules of the chart's roles."""
    files = {output / name: text for name, text in rules().items()}
    bring(files, "paybill rbac", check=check)


def rules() -> dict[str, str]:
    """The YAML of each role's rules by the name of its file."""
    return {role.file: f"{HEADER}# {role.where}\n{''.join(_lines(role.rules))}" for role in ROLES}


def _lines(wanted: Sequence[Rule]) -> Iterable[str]:
    for rule in sorted(wanted, key=lambda rule: (rule.group, sorted(rule.resources), sorted(rule.verbs))):
        yield f"# {rule.reason}\n"
        # One field per line, each list on its line: a change of a right is a change of one line.
        for number, (field, values) in enumerate(rule.wire().items()):
            shown = yaml.safe_dump(sorted(values), default_flow_style=True, width=1000).strip()
            yield f"{'  ' if number else '- '}{field}: {shown}\n"
