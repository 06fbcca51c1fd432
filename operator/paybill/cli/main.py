"""The ``paybill`` command (also ``kubectl paybill``). A subcommand is imported when it is called: help is fast."""

from __future__ import annotations

import importlib

import click

from paybill import __version__

COMMANDS = {
    "run": "paybill.cli.run:run",
    "webhook": "paybill.cli.webhook:webhook",
    "up": "paybill.cli.up:up",
    "down": "paybill.cli.local:down",
    "kubeconfig": "paybill.cli.local:kubeconfig",
    "doctor": "paybill.cli.local:doctor",
    "binaries": "paybill.cli.binaries:binaries",
    "tenants": "paybill.cli.tenants:tenants",
    "describe": "paybill.cli.describe:describe",
    "forecast": "paybill.cli.forecast:forecast",
    "simulate": "paybill.cli.simulate:simulate",
    "render": "paybill.cli.render:render",
    "operations": "paybill.cli.operations:operations",
    "preview": "paybill.cli.operations:preview",
    "approve": "paybill.cli.operations:approve",
    "cancel": "paybill.cli.operations:cancel",
    "move": "paybill.cli.move:move",
    "leftovers": "paybill.cli.operations:leftovers",
    "plan": "paybill.cli.plan:plan",
    "usage": "paybill.cli.metering:usage",
    "cell": "paybill.cli.cells:cell",
    "halt": "paybill.cli.halt:halt",
    "resume": "paybill.cli.halt:resume",
    "onboard": "paybill.cli.onboard:onboard",
    "signups": "paybill.cli.signups:signups",
    "outbox": "paybill.cli.outbox:outbox",
    "entitlements": "paybill.cli.entitlements:entitlements",
    "migrations": "paybill.cli.migrations:migrations",
    "backup": "paybill.cli.backups:backup",
    "backups": "paybill.cli.backups:backups",
    "export": "paybill.cli.export:export",
    "erase": "paybill.cli.erase:erase",
    "restore": "paybill.cli.restore:restore",
    "undelete": "paybill.cli.undelete:undelete",
    "psql": "paybill.cli.psql:psql",
    "rotate": "paybill.cli.rotate:rotate",
    "crds": "paybill.cli.crds:crds",
    "rbac": "paybill.cli.rbac:rbac",
    "admission": "paybill.cli.admission:admission",
    "audit": "paybill.cli.audit:audit",
    "isolation": "paybill.cli.isolation:isolation",
    "adopt": "paybill.cli.adopt:adopt",
    "agents": "paybill.cli.agents:agents",
}


class Lazy(click.Group):
    """A group that imports a subcommand only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, as help lists them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=Lazy)
@click.version_option(__version__, prog_name="paybill")
def main() -> None:
    """Paybill: plans, tenants and subscriptions become isolated, paid-for, auditable infrastructure."""
