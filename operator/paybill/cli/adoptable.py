"""What ``paybill adopt`` would do: the rows of the registry side by side with the Tenants that are there.

The list is made by the very function that the operator makes it by, so what is shown is what is approved. An Approval
of everything that was written before and is not carried out yet is found again, so that a second call goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

from paybill.api.approval import Approval
from paybill.api.failures import Invalid
from paybill.api.tenant import Tenant
from paybill.cli.lookup import all_of, tenant_named, utcnow
from paybill.cli.registry import Kept
from paybill.cluster.client import Cluster
from paybill.desired import approval as approvals
from paybill.lifecycle.adoption import Adoption, Present, Row, adoptions

MOST_NAMES = 10


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What would be adopted (the row as it is, and whose it is to be), and what an Approval of it says.

    ``begun`` is the name of the Approval that says it already and is being carried out.
    """

    pairs: tuple[tuple[Kept, Adoption], ...]
    subject: dict[str, str]
    digest: str
    begun: str | None = None


async def everything(cluster: Cluster, installation: str, kept: list[Kept]) -> Wish:
    """Each living row whose Tenant came back under its name with another UID."""
    tenants = [one for one in await all_of(cluster, Tenant) if one.metadata.deletion_timestamp is None]
    present = [Present(name=one.metadata.name, uid=one.metadata.uid, id=one.spec.id) for one in tenants]
    living = {row.id: row for row in kept if row.state == "claimed"}
    rows = [
        Row(id=row.id, name=row.tenant_name, uid=row.tenant_uid, adopted_by=row.adopted_by) for row in living.values()
    ]
    _name_absent({row.name for row in rows} - {one.metadata.name for one in tenants})
    wanted, name = adoptions(rows, present), None
    for begun in await _begun(cluster, installation):
        listed = adoptions(rows, present, begun.metadata.uid)
        if approvals.adoptions(installation, listed) == begun.spec.digest:
            wanted, name = listed, begun.metadata.name
    return Wish(
        pairs=tuple((living[one.id], one) for one in wanted),
        subject={"kind": "Installation", "name": installation},
        digest=approvals.adoptions(installation, wanted),
        begun=name,
    )


def _name_absent(absent: set[str]) -> None:
    if not absent:
        return
    listed = ", ".join(sorted(absent)[:MOST_NAMES]) + (" …" if len(absent) > MOST_NAMES else "")
    click.echo(f"{len(absent)} living tenants have no Tenant object; they stay as they are: {listed}", err=True)


async def _begun(cluster: Cluster, installation: str) -> list[Approval]:
    """Approvals of everything that stand and are not carried out."""
    found = await all_of(cluster, Approval)
    subject = ("Installation", installation)
    return [
        one
        for one in found
        if (one.spec.subject.kind, one.spec.subject.name) == subject
        and one.status.used_time is None
        and one.metadata.deletion_timestamp is None
        and not approvals.expired(one, utcnow())
    ]


async def single(cluster: Cluster, kept: list[Kept], name: str, tenant_id: str | None) -> Wish:
    """The row that one Tenant asks for, or that has its name; nothing when the Tenant has its row already."""
    tenant = await tenant_named(cluster, name)
    uid = tenant.metadata.uid
    subject = {"kind": "Tenant", "name": name, "uid": uid}
    if any(row.tenant_uid == uid and row.state == "claimed" for row in kept):
        return Wish(pairs=(), subject=subject, digest="")
    row = _row(kept, tenant, tenant_id)
    if row.state == "dropped" or row.drop_started_time is not None:
        raise Invalid("Dropped", f"tenant {row.id} was dropped: its data is gone; make {name} anew without spec.id")
    pair = (row, Adoption(id=row.id, name=name, uid=uid))
    return Wish(pairs=(pair,), subject=subject, digest=approvals.adoption(row.id, uid))


def _row(kept: list[Kept], tenant: Tenant, tenant_id: str | None) -> Kept:
    name, asked = tenant.metadata.name, tenant.spec.id
    if asked is not None and tenant_id not in (None, asked):
        raise Invalid("AnotherId", f"Tenant {name} asks for id {asked} (spec.id), not {tenant_id}")
    orphans = [row for row in kept if row.tenant_name == name and row.state == "claimed"]
    if asked is None and tenant_id is not None and all(row.id != tenant_id for row in orphans):
        raise Invalid("NoSpecId", f"Tenant {name} does not ask for {tenant_id}: make it anew with spec.id: {tenant_id}")
    wanted = asked or tenant_id
    found = [row for row in kept if row.id == wanted] if wanted else orphans
    if len(found) == 1:
        return found[0]
    if wanted:
        raise Invalid("NothingToAdopt", f"Tenant {name} asks for id {wanted}, which the registry does not know")
    left = ", ".join(f"{row.id} ({row.state})" for row in kept if row.tenant_name == name) or "none"
    raise Invalid(
        "NothingToAdopt",
        f"Tenant {name} asks for no id, and {len(found)} living tenants of its name have lost their object (of this "
        f"name there are: {left}): say which with --id, or make the Tenant anew with spec.id",
    )
