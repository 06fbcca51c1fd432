"""``paybill rotate``: give a tenant's logins new passwords, now; on suspicion, end whoever uses the old ones.

It writes one annotation, so it needs no more than that right, and whoever has no ``paybill`` at hand can do the same
with kubectl. What comes of it stands in the Tenant's status.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from paybill.api.failures import Blocked
from paybill.api.tenant import Tenant
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import tenant_named
from paybill.cli.output import JSON, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.rotation import KINDS, SUSPECTED, Kind, kinds


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for whom, or would be."""

    tenant: Tenant
    chosen: tuple[Kind, ...]
    suspected: bool
    value: str
    """The annotation's."""


@click.command()
@click.argument("tenant")
@click.option("--login", "logins", type=click.Choice(KINDS), multiple=True, help="Default: all. Can be repeated.")
@click.option("--now-suspected", is_flag=True, help="Somebody may know a password: end all sessions of the old logins.")
@click.option("--dry-run", is_flag=True, help="Say what it would do and write nothing.")
@text_output
@kubeconfig_option
def rotate(
    *, tenant: str, logins: tuple[Kind, ...], now_suspected: bool, dry_run: bool, output: str, kubeconfig: Path | None
) -> None:
    """Give TENANT's logins new passwords; the Secrets keep their names."""
    with reported(output):
        asked = ask(kubeconfig, lambda cluster: _ask(cluster, tenant, logins, suspected=now_suspected, dry_run=dry_run))
        if output == JSON:
            click.echo(document(_as_json(asked, dry_run=dry_run)))
            return
        for line in _lines(asked, dry_run=dry_run):
            click.echo(line)


async def _ask(cluster: Cluster, name: str, logins: tuple[Kind, ...], *, suspected: bool, dry_run: bool) -> Asked:
    tenant = await tenant_named(cluster, name)
    if tenant.status.isolation is None or tenant.status.credentials is None:
        raise Blocked("NotProvisioned", f"Tenant {name} has no logins yet: see `paybill describe {name}`")
    there = kinds(tenant.status.isolation.database)
    chosen = tuple(kind for kind in there if kind in logins or not logins)
    if missing := [kind for kind in logins if kind not in there]:
        raise Blocked("NoLogin", f"Tenant {name} shares its tables with others and has no login {', '.join(missing)}")
    words = [secrets.token_hex(4), *chosen, *([SUSPECTED] if suspected else [])]
    asked = Asked(tenant=tenant, chosen=chosen, suspected=suspected, value=" ".join(words))
    if not dry_run:
        await cluster.annotate(Key("Tenant", "", name), {names.ROTATE_ANNOTATION: asked.value})
    return asked


def _lines(asked: Asked, *, dry_run: bool) -> Iterator[str]:
    name = asked.tenant.metadata.name
    yield f"{'Would ask' if dry_run else 'Asked'} for new passwords of Tenant {name}: {', '.join(asked.chosen)}."
    if asked.suspected:
        yield "As soon as the Secrets name the new logins, the old ones are closed and their sessions ended."
    else:
        yield "The old logins stay open beside the new ones while they are used, as long as the Cell says."
    if not dry_run:
        path = "{.status.credentials.acknowledged}"
        yield f"Taken up: kubectl wait tenant/{name} --for=jsonpath='{path}'='{asked.value}'"


def _as_json(asked: Asked, *, dry_run: bool) -> dict[str, Any]:
    status = asked.tenant.status.credentials
    return {
        "tenant": asked.tenant.metadata.name,
        "logins": list(asked.chosen),
        "suspected": asked.suspected,
        "request": asked.value,
        "before": status.wire() if status is not None else None,
        "dryRun": dry_run,
    }
