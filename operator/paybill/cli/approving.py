"""Writes an Approval in the name of whoever calls, and waits until the operator has carried it out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import click

from paybill.api.approval import Action, Approval
from paybill.api.base import API_VERSION
from paybill.api.conditions import STALLED, find_condition
from paybill.api.failures import Blocked, Retry
from paybill.cli.lookup import utcnow
from paybill.cluster.client import Cluster
from paybill.desired import approval as approvals
from paybill.desired.resource import Key

POLL = 0.5
"""Seconds between two looks at what the operator has done."""
SETTLED = 5.0
"""Seconds that an Approval must be of no use until we say so: the operator may see a Tenant later than we did."""


async def written(
    cluster: Cluster, stem: str, subject: Mapping[str, str], digest: str, *, action: Action | None = None
) -> str:
    """Create the Approval; one that says the same and still stands is as good, whoever wrote it. Returns its name."""
    spec = {"subject": dict(subject), "digest": digest, "approver": await cluster.whoami()}
    spec |= {"action": action} if action is not None else {}
    stem = f"{stem}-{digest.removeprefix('sha256:')[:16]}"
    for name in (stem, *(f"{stem}-{number}" for number in range(2, 10))):
        found = await cluster.get(Key("Approval", "", name))
        if found is None:
            obj = {"apiVersion": API_VERSION, "kind": "Approval", "metadata": {"name": name}, "spec": spec}
            await cluster.create(obj)
            return name
        known = Approval.read(found)
        said = (found["spec"]["subject"], known.spec.digest, known.spec.action)
        same = said == (dict(subject), digest, action)
        if same and not approvals.expired(known, utcnow()) and known.metadata.deletion_timestamp is None:
            return name
    raise Blocked("TooManyApprovals", f"Approvals {stem}… are there and none of them stands: delete them")


async def used(cluster: Cluster, name: str, wait: float) -> None:
    """Wait until what an Approval approves was done, and tell how far it is meanwhile.

    Raises ``Blocked("NotCarriedOut")`` when the operator says that it fits nothing.
    """
    last, since = "", time.monotonic()

    async def done() -> bool:
        nonlocal last, since
        found = await cluster.get(Key("Approval", "", name))
        if found is None:
            raise Blocked("ApprovalGone", f"Approval {name} was deleted before it was carried out")
        status = Approval.read(found).status
        stalled = find_condition(status.conditions, STALLED)
        if stalled is None or stalled.status != "True":
            since = time.monotonic()
        elif time.monotonic() - since > SETTLED:
            raise Blocked("NotCarriedOut", f"Approval {name} is {stalled.reason}: {stalled.message}")
        said = next((one.message for one in status.conditions if one.type == "Reconciling" and one.message), "")
        if said and said != last:
            click.echo(said, err=True)
            last = said
        return status.used_time is not None

    await until(done, wait, f"Approval {name} was not carried out within {wait:.0f} s: does an operator run?")


async def until(look: Callable[[], Awaitable[bool]], wait: float, otherwise: str) -> None:
    """Wait for what the operator does; a moment without the API server is no answer."""
    ends = time.monotonic() + wait
    while True:
        try:
            if await look():
                return
        except Retry as failure:
            click.echo(f"waits: {failure.message}", err=True)
        if time.monotonic() > ends:
            raise Retry("TimedOut", otherwise)
        await asyncio.sleep(POLL)
