"""Which Tenant may take over which row of the registry, told by names and UIDs alone.

A row whose Tenant is not there any more, although nobody asked for its deletion, is an orphan: the cluster's state was
lost, or somebody took a finalizer off. A Tenant of the same name is probably the same customer, and certainly nobody
may assume so: it is held until a person says either "the same" (an Approval) or "another" (the annotation).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """A living row of the registry. ``adopted_by`` is the UID of the Approval by which its Tenant came to it."""

    id: str
    name: str
    uid: str
    adopted_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Present:
    """A Tenant that is there; ``id`` is the one that it asks for, if it does."""

    name: str
    uid: str
    id: str | None = None


@dataclass(frozen=True, order=True, kw_only=True)
class Adoption:
    """The tenant with this id is to belong to the Tenant of this name and UID."""

    id: str
    name: str
    uid: str


def adoptions(rows: Iterable[Row], tenants: Iterable[Present], approval: str | None = None) -> tuple[Adoption, ...]:
    """What ``adopt --all`` adopts, in the order of ids: each orphan whose Tenant of the same name is there.

    Rows that came to their Tenant by ``approval`` are among them, so that the list is the same before, between and
    after its adoptions. Two orphans of one name are left out: only a person can tell which one is meant.
    """
    rows = tuple(rows)
    present = {tenant.name: tenant for tenant in tenants}
    held = {row.uid: row for row in rows}
    found = []
    for row in rows:
        tenant = present.get(row.name)
        if tenant is None or tenant.id not in (None, row.id):
            continue
        owner = held.get(tenant.uid)
        if owner is None or (owner is row and approval is not None and row.adopted_by == approval):
            found.append(Adoption(id=row.id, name=row.name, uid=tenant.uid))
    times = Counter(one.name for one in found)
    return tuple(sorted(one for one in found if times[one.name] == 1))
