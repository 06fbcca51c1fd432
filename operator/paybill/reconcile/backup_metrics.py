"""How old backups are, as metrics: of a cell as a whole, and of each tenant where that is asked for.

Read off the cache of TenantBackups when Prometheus asks: nothing is kept for it, and no database is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paybill.reconcile.world import World


@dataclass(frozen=True, kw_only=True)
class BackupSample:
    """The newest verified backup of one living tenant."""

    cell: str
    tenant: str
    age_seconds: float
    """How long ago it was begun: it holds nothing that is newer."""


def samples(world: World) -> Iterator[BackupSample]:
    """One for each living tenant that has a verified backup."""
    newest: dict[str, datetime] = {}
    for one in world.declared.backups.glances():
        if one.verified is not None and one.started is not None and one.tenant_id is not None and not one.deleting:
            newest[one.tenant_id] = max(one.started, newest.get(one.tenant_id, one.started))
    now = world.now()
    for tenant_id, started in newest.items():
        claim = world.registry.by_id(tenant_id)
        if claim is not None and claim.state == "claimed":
            age = (now - started).total_seconds()
            yield BackupSample(cell=claim.cell, tenant=claim.tenant_name, age_seconds=age)


class BackupCollector(Collector):
    """The gauges of backups; ``each``: one per tenant as well."""

    def __init__(self, found: Callable[[], Iterable[BackupSample]], *, each: bool) -> None:
        self._found = found
        self._each = each

    def collect(self) -> Iterable[Metric]:
        """The families; called by the Prometheus client."""
        of_cell: defaultdict[str, list[float]] = defaultdict(list)
        age = GaugeMetricFamily(
            "paybill_tenant_backup_age_seconds", "Age of a tenant's newest verified backup.", labels=["tenant"]
        )
        for sample in self._found():
            of_cell[sample.cell].append(sample.age_seconds)
            age.add_metric([sample.tenant], sample.age_seconds)
        oldest = GaugeMetricFamily(
            "paybill_backup_oldest_seconds", "Age of the newest verified backup of whose is the oldest.",
            labels=["cell"],
        )  # fmt: skip
        number = GaugeMetricFamily(
            "paybill_backup_tenants", "Living tenants that have a verified backup.", labels=["cell"]
        )
        for cell, ages in sorted(of_cell.items()):
            oldest.add_metric([cell], max(ages))
            number.add_metric([cell], len(ages))
        yield from (oldest, number, *([age] if self._each else []))
