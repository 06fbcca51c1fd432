"""``paybill backup`` and ``paybill backups``: ask for a backup of a tenant, and see which there are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import READY, STALLED, find_condition, is_true
from paybill.api.failures import Blocked
from paybill.api.tenant_backup import BackupFormat, TenantBackup
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of, utcnow
from paybill.cli.output import JSON, age, columns, document, moment, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key

POLL_SECONDS = 1.0
MANAGER = "paybill-cli"


@click.command()
@click.argument("tenant")
@click.option("--export", is_flag=True, help="With files that the customer can read: `paybill export` fetches them.")
@click.option("--wait", type=int, default=0, metavar="SECONDS", help="Wait so long for it to be verified.")
@text_output
@kubeconfig_option
def backup(*, tenant: str, export: bool, wait: int, output: str, kubeconfig: Path | None) -> None:
    """Ask for a backup of TENANT; it is one when it was restored to a scratch database and nothing was missing."""
    with reported(output):
        form: BackupFormat = "Export" if export else "Dump"
        made = ask(kubeconfig, lambda cluster: _ask(cluster, tenant, form, utcnow(), wait))
        _show(output, [made])


@click.command()
@click.argument("tenant", required=False)
@text_output
@kubeconfig_option
def backups(*, tenant: str | None, output: str, kubeconfig: Path | None) -> None:
    """List the backups of TENANT, or of all, the newest first."""
    with reported(output):
        found = ask(kubeconfig, lambda cluster: all_of(cluster, TenantBackup))
        listed = [one for one in found if tenant in (None, one.spec.tenant_ref.name)]
        _show(output, sorted(listed, key=lambda one: str(one.metadata.creation_timestamp), reverse=True))


async def _ask(cluster: Cluster, tenant: str, form: BackupFormat, now: datetime, wait: int) -> TenantBackup:
    if await cluster.get(Key("Tenant", "", tenant)) is None:
        raise Blocked("NotFound", f"there is no Tenant {tenant}")
    name = f"{tenant[:48]}-{now:%Y%m%d%H%M%S}"
    obj = {
        "apiVersion": TenantBackup.api_version,
        "kind": "TenantBackup",
        "metadata": {"name": name},
        "spec": {"tenantRef": {"name": tenant}, "format": form},
    }
    made = TenantBackup.read(await cluster.apply(obj, manager=MANAGER))
    ends = asyncio.get_running_loop().time() + wait
    while wait and not is_true(made.status.conditions, READY) and made.status.failed_time is None:
        if asyncio.get_running_loop().time() > ends:
            raise Blocked("TimedOut", f"TenantBackup {name} is not verified after {wait} s; it goes on")
        await asyncio.sleep(POLL_SECONDS)
        made = TenantBackup.read(await cluster.get(Key("TenantBackup", "", name)) or obj)
    return made


def _show(output: str, found: list[TenantBackup]) -> None:
    if output == JSON:
        click.echo(document({"backups": [_wire(one) for one in found]}))
        return
    for line in lines(found, utcnow()):
        click.echo(line)


def lines(found: list[TenantBackup], now: datetime) -> Iterator[str]:
    """The backups as aligned columns."""
    titles = ("NAME", "TENANT", "FOR", "STATE", "ROWS", "BYTES", "AGE")
    rows = (
        (one.metadata.name, one.spec.tenant_ref.name, one.spec.reason, _state(one), one.status.rows, one.status.size,
         age(one.metadata.creation_timestamp, now))
        for one in found
    )  # fmt: skip
    return columns(titles, rows)


def _state(one: TenantBackup) -> str:
    """Verified, why it failed, or how far it is."""
    ready, stalled = (find_condition(one.status.conditions, kind) for kind in (READY, STALLED))
    if is_true(one.status.conditions, READY) and ready is not None:
        return ready.reason
    if stalled is not None and is_true(one.status.conditions, STALLED):
        return stalled.reason
    return one.status.step or "Pending"


def _wire(one: TenantBackup) -> dict[str, Any]:
    status = one.status
    return {
        "name": one.metadata.name,
        "tenant": one.spec.tenant_ref.name,
        "id": status.tenant_id,
        "reason": one.spec.reason,
        "format": one.spec.format,
        "state": _state(one),
        "rows": status.rows,
        "tables": status.tables,
        "size": status.size,
        "startedTime": moment(status.started_time),
        "verifiedTime": moment(status.verified_time),
        "expireTime": moment(one.spec.expire_time),
    }
