"""``paybill restore``: put a backup in its tenant's place, or make another tenant of it, and watch that.

It writes a TenantRestore (and, for a tenant that is to be made, the Tenant and its contract) and shows its status:
whoever uses GitOps writes the same by hand, and the operator does the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from paybill.api.base import API_VERSION
from paybill.api.conditions import READY, STALLED, find_condition, is_true
from paybill.api.failures import Blocked, Invalid, Retry
from paybill.api.tenant_backup import TenantBackup
from paybill.api.tenant_restore import MOST_SQL, TenantRestore
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import utcnow
from paybill.cli.output import JSON, document, moment, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key

POLL = 1.0
"""Seconds between two looks at how far it is."""
NOTICE = 15.0
"""Seconds that an operator has to see it; one that starts later sees all of it at once."""
MANAGER = "paybill-cli"


@click.command()
@click.argument("backup")
@click.option("--to", metavar="TENANT", help="The Tenant that gets the data; without it, the one that it was taken of.")
@click.option("--plan", metavar="NAME", help="Make that Tenant, on this Plan: it opens when its data is there.")
@click.option("--paid-until", metavar="TIME", help="What its contract says (RFC 3339); without it, the Plan's trial.")
@click.option("--confirm", metavar="TENANT", help="The name of the Tenant whose data is replaced, once more.")
@click.option(
    "--scrub", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="SQL that is run on the data before anybody sees it.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Have the backup read to its end, say what would be done, and no more.")
@click.option("--wait", default=0.0, show_default=True, metavar="SECONDS", help="Watch it for so long.")
@text_output
@kubeconfig_option
def restore(
    *, backup: str, to: str | None, plan: str | None, paid_until: str | None, confirm: str | None, scrub: Path | None,
    dry_run: bool, wait: float, output: str, kubeconfig: Path | None,
) -> None:  # fmt: skip
    """Restore BACKUP, the name of a TenantBackup: all of it in one moment, or nothing."""
    if plan is not None and to is None:
        raise click.UsageError("--plan makes a Tenant: name it with --to")
    if paid_until is not None and plan is None:
        raise click.UsageError("--paid-until goes with --plan")
    if plan is not None and dry_run:
        raise click.UsageError("--dry-run looks at a Tenant that is there: leave out --plan, or --to as well")
    with reported(output):
        spec: dict[str, Any] = {"backupRef": {"name": backup}, "dryRun": dry_run}
        spec |= {"tenantRef": {"name": to}} if to is not None else {}
        spec |= {"confirm": confirm} if confirm is not None else {}
        spec |= {"scrub": {"sql": _script(scrub)}} if scrub is not None else {}
        made = ask(kubeconfig, lambda cluster: _request(cluster, spec, plan, paid_until, utcnow()))
        if wait > 0:
            made = _watched(kubeconfig, made, wait, output)
        _show(made, output)


def _script(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if len(text) > MOST_SQL:
        raise Invalid("ScrubRefused", f"{file} has more than {MOST_SQL} characters: put it into a ConfigMap, and name"
                      " that in a TenantRestore (spec.scrub.configMapRef)")  # fmt: skip
    return text


async def _request(
    cluster: Cluster, spec: dict[str, Any], plan: str | None, paid_until: str | None, now: datetime
) -> TenantRestore:
    """Write the TenantRestore first: a Tenant that is made after it waits for it."""
    name = spec["backupRef"]["name"]
    found = await cluster.get(Key("TenantBackup", "", name))
    if found is None:
        raise Blocked("NoBackup", f"there is no TenantBackup {name}: `paybill backups` lists them")
    backup = TenantBackup.read(found)
    tenant = spec.get("tenantRef", {"name": backup.spec.tenant_ref.name})["name"]
    in_place = "tenantRef" not in spec
    if in_place and not spec["dryRun"] and spec.get("confirm") != tenant:
        raise Invalid(
            "RestoreNotConfirmed", f"this replaces all that Tenant {tenant} has: say so with --confirm {tenant}"
        )
    made = _object("TenantRestore", f"{tenant[:45]}-r{now:%Y%m%d%H%M%S}", spec)
    if plan is not None and await cluster.get(Key("Tenant", "", tenant)) is not None:
        raise Invalid("TenantExists", f"Tenant {tenant} is there already: leave out --plan to restore into it")
    written = TenantRestore.read(await cluster.apply(made, manager=MANAGER))
    if plan is not None:
        await _noticed(cluster, written.metadata.name)
        for obj in _contract(tenant, plan, paid_until, backup):
            await cluster.apply(obj, manager=MANAGER)
    return written


async def _noticed(cluster: Cluster, name: str) -> None:
    """Wait until an operator has seen the TenantRestore: a Tenant that it sees first might open before."""
    ends = time.monotonic() + NOTICE
    while time.monotonic() < ends:
        found = await cluster.get(Key("TenantRestore", "", name))
        if found is None or TenantRestore.read(found).status.observed_generation is not None:
            return
        await asyncio.sleep(POLL / 5)


def _contract(tenant: str, plan: str, paid_until: str | None, backup: TenantBackup) -> Iterator[dict[str, Any]]:
    payment = {"provider": "Manual"} | ({"paidUntilTime": paid_until} if paid_until is not None else {})
    cell = {"cellRef": {"name": backup.status.cell}} if backup.status.cell is not None else {}
    yield _object("Tenant", tenant, {"displayName": f"Restored from {backup.metadata.name}", **cell})
    references = {"tenantRef": {"name": tenant}, "planRef": {"name": plan}}
    yield _object("Subscription", tenant, {**references, "payment": payment})


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _watched(kubeconfig: Path | None, made: TenantRestore, wait: float, output: str) -> TenantRestore:
    """The TenantRestore once it is done; prints each new line of it to stderr meanwhile, raises when it is stuck."""
    ends, last, name = time.monotonic() + wait, "", made.metadata.name
    while True:
        obj = ask(kubeconfig, lambda cluster: cluster.get(Key("TenantRestore", "", name)))
        if obj is None:
            raise Blocked("NotFound", f"TenantRestore {name} was deleted")
        found = TenantRestore.read(obj)
        line = " · ".join(lines(found))
        if line != last and output != JSON:
            click.echo(line, err=True)
        last = line
        trouble = find_condition(found.status.conditions, STALLED)
        if trouble is not None and trouble.status == "True":
            raise Blocked(trouble.reason, f"TenantRestore {name}: {trouble.message}")
        if is_true(found.status.conditions, READY):
            return found
        if time.monotonic() > ends:
            raise Retry("TimedOut", f"TenantRestore {name} is not done after {wait:.0f} s, and goes on: {line}")
        asyncio.run(asyncio.sleep(POLL))


def _show(made: TenantRestore, output: str) -> None:
    if output == JSON:
        click.echo(document(as_json(made)))
        return
    for line in lines(made):
        click.echo(line)


def lines(made: TenantRestore) -> Iterator[str]:
    """How far it is, for people."""
    status, ready = made.status, find_condition(made.status.conditions, READY)
    said = (ready.message or ready.reason) if ready is not None else "no operator has seen it yet"
    yield f"TenantRestore {made.metadata.name}: {said}"
    if status.step is not None and status.done:
        whole = f" of about {status.content / 1e6:.1f}" if status.content else ""
        yield f"{status.step} {status.done / 1e6:.1f}{whole} MB"


def as_json(made: TenantRestore) -> dict[str, Any]:
    """The restore as programs read it."""
    status, ready = made.status, find_condition(made.status.conditions, READY)
    return {
        "name": made.metadata.name,
        "backup": made.spec.backup_ref.name if made.spec.backup_ref is not None else status.backup,
        "tenant": status.tenant,
        "id": status.tenant_id,
        "stage": status.stage,
        "step": status.step,
        "done": status.done,
        "rows": status.rows,
        "tables": status.tables,
        "checksum": status.checksum,
        "restoredTime": moment(status.restored_time),
        "ready": {"status": ready.status, "reason": ready.reason, "message": ready.message} if ready else None,
    }
