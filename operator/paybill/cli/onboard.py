"""``paybill onboard``: a Tenant and its Subscription in one command, and the wait until it can work.

It makes what is missing and touches nothing that is there, so it may be repeated: after an interruption, or by a script
that does not know how far the last run came.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import READY, RECONCILING, STALLED, find_condition
from paybill.api.failures import Invalid, Retry
from paybill.api.plan import Plan
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired import onboarding
from paybill.desired.resource import Key

MANAGER = "paybill-onboard"
LOOK_SECONDS = 0.5

Object = dict[str, Any]


@click.command()
@click.option("--plan", required=True, help="The Plan, of type Base.")
@click.option("--tenant", required=True, help="The Tenant's name; the Subscription gets the same.")
@click.option(
    "--owner",
    "owners",
    multiple=True,
    metavar="KIND:NAME",
    help="Who may act in its namespace, as User:ann@x.org.",
)
@click.option("--cell", help="Where it is put; else the default Cell.")
@click.option("--paid-until", metavar="TIME", help="Until when it is paid (provider Manual).")
@click.option("--stripe-customer", metavar="ID", help="Who pays at Stripe (provider Stripe).")
@click.option("--dry-run", is_flag=True, help="Have the API server check it, and make nothing.")
@click.option("--wait", default=0.0, show_default=True, metavar="SECONDS", help="Wait until it is Ready, for so long.")
@text_output
@kubeconfig_option
def onboard(
    *, plan: str, tenant: str, owners: tuple[str, ...], cell: str | None, paid_until: str | None,
    stripe_customer: str | None, dry_run: bool, wait: float, output: str, kubeconfig: Path | None,
) -> None:  # fmt: skip
    """Make a Tenant and its Subscription to a Plan; what is there already stays as it is."""
    if paid_until is not None and stripe_customer is not None:
        raise click.UsageError("--paid-until and --stripe-customer exclude each other: who says that it is paid?")
    wanted = [
        onboarding.tenant(tenant, owners=[_owner(one) for one in owners], cell=cell),
        onboarding.subscription(tenant, plan, _payment(paid_until, stripe_customer)),
    ]
    with reported(output):
        made = ask(kubeconfig, lambda cluster: make(cluster, plan, wanted, dry_run=dry_run))
        verb = "would be made" if dry_run else "made"
        for obj in wanted:
            kind = obj["kind"]
            click.echo(f"{kind} {tenant}: {verb if kind in made else 'is there already'}", err=output == JSON)
        found = None
        if wait > 0 and not dry_run:
            found = ask(kubeconfig, lambda cluster: ready(cluster, tenant, wait))
        if output == JSON:
            click.echo(document({"made": made, "dryRun": dry_run, "tenant": found.status.wire() if found else None}))


async def make(cluster: Cluster, plan: str, wanted: list[Object], *, dry_run: bool) -> list[str]:
    """Make what is not there; returns the kinds. Raises Invalid where what is there says something else."""
    name = wanted[0]["metadata"]["name"]
    found = await cluster.get(Key("Plan", "", plan))
    if found is None or Plan.read(found).spec.type != "Base":
        known = ", ".join(one.metadata.name for one in await all_of(cluster, Plan) if one.spec.type == "Base")
        raise Invalid("UnknownPlan", f"there is no base Plan {plan}; there are: {known or 'none'}")
    others = [one for one in await all_of(cluster, Subscription) if one.spec.tenant_ref.name == name]
    for one in others:
        if one.spec.plan_ref.name != plan:
            raise Invalid(
                "AlreadyOnboarded",
                f"Tenant {name} has Subscription {one.metadata.name} to Plan {one.spec.plan_ref.name}: edit that",
            )
    missing = [obj for obj in wanted if not (obj["kind"] == "Subscription" and others)]
    made = []
    for obj in missing:
        if await cluster.get(Key(obj["kind"], "", name)) is None:
            await cluster.apply(obj, manager=MANAGER, dry_run=dry_run)
            made.append(str(obj["kind"]))
    return made


async def ready(cluster: Cluster, name: str, seconds: float) -> Tenant:
    """The Tenant once it is Ready; says each step. Raises Invalid when somebody has to act, Retry after ``seconds``."""
    said = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await cluster.get(Key("Tenant", "", name))
                tenant = Tenant.read(found) if found is not None else None
                if tenant is not None:
                    line = _stands(tenant)
                    if line != said:
                        click.echo(line, err=True)
                        said = line
                    if tenant.status.observed_generation == tenant.metadata.generation and _true(tenant, READY):
                        return tenant
                    failed = find_condition(tenant.status.conditions, STALLED)
                    if failed is not None and failed.status == "True":
                        raise Invalid(failed.reason, failed.message)
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise Retry("NotReadyYet", f"Tenant {name} is not Ready after {seconds:.0f} s: {said or 'nothing'}") from None


def _stands(tenant: Tenant) -> str:
    conditions = (find_condition(tenant.status.conditions, kind) for kind in (STALLED, RECONCILING, READY))
    said = next((f"{one.reason}: {one.message}" for one in conditions if one is not None and one.status == "True"), "")
    return f"Tenant {tenant.metadata.name}: {tenant.status.phase or 'Pending'}{f' ({said})' if said else ''}"


def _true(resource: Tenant, kind: str) -> bool:
    found = find_condition(resource.status.conditions, kind)
    return found is not None and found.status == "True"


def _payment(paid_until: str | None, customer: str | None) -> Object:
    payment: Object = {"provider": "Stripe", "customer": customer} if customer else {"provider": "Manual"}
    return payment | ({"paidUntilTime": paid_until} if paid_until else {})


def _owner(text: str) -> Object:
    """KIND:NAME, or ServiceAccount:NAMESPACE/NAME."""
    kind, _, name = text.partition(":")
    kinds = {one.lower(): one for one in ("User", "Group", "ServiceAccount")}
    if kind.lower() not in kinds or not name:
        shape = "write User:NAME, Group:NAME or ServiceAccount:NAMESPACE/NAME"
        raise click.BadParameter(f"{text!r}: {shape}", param_hint="--owner")
    if kinds[kind.lower()] == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    return {"kind": kinds[kind.lower()], "name": name}
