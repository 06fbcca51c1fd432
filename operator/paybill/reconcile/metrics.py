"""What Prometheus sees. Counters and histograms are kept here; gauges are read off the world when they are asked for.

The names are listed with their meaning in docs/reference/metrics.md.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paybill.cluster.breaker import ApiBreaker

REGISTRY = CollectorRegistry()

RECONCILE = Histogram(
    "paybill_reconcile_duration_seconds",
    "How long one reconcile took.",
    ["kind", "outcome"],
    registry=REGISTRY,
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60),
)
TIME_TO_READY = Histogram(
    "paybill_tenant_time_to_ready_seconds",
    "From a Tenant's creation to the first time it was Ready.",
    registry=REGISTRY,
    buckets=(0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
)
STEPS = Counter("paybill_steps", "Steps taken, by action and result.", ["action", "result"], registry=REGISTRY)
LEADING = Gauge("paybill_leading", "1 while this process leads and acts, 0 while it stands by.", registry=REGISTRY)
MODE = Gauge("paybill_mode", "1 for the mode that holds, 0 for the others.", ["mode"], registry=REGISTRY)
MASS_CHANGE = Gauge(
    "paybill_mass_change", "1 while the breaker of a cell holds back all that destroys.", ["cell"], registry=REGISTRY
)
MIGRATIONS = Gauge(
    "paybill_migrations",
    "Tenants and pools of a cell by where the migrations have come.",
    ["cell", "state"],
    registry=REGISTRY,
)
OPERATIONS = Counter(
    "paybill_operations", "Operations of engines that ended.", ["engine", "kind", "state"], registry=REGISTRY
)
ROTATIONS = Counter(
    "paybill_credential_rotations", "New logins that were proved, by kind and result.", ["login", "result"],
    registry=REGISTRY,
)  # fmt: skip
WATCHDOG = Counter(
    "paybill_watchdog_actions", "Sessions of tenants that went beyond a limit, by rule and what was done.",
    ["cell", "server", "rule", "deed"], registry=REGISTRY,
)  # fmt: skip
STRIPE_REACHABLE = Gauge("paybill_stripe_reachable", "0 while Stripe's API does not answer.", registry=REGISTRY)
STRIPE_HINTS = Counter("paybill_stripe_hints", "Hints by what became of them.", ["outcome"], registry=REGISTRY)
STRIPE_CHANGES = Counter("paybill_stripe_changes", "Answers of Stripe's that changed a contract.", registry=REGISTRY)
SIGNUPS = Counter("paybill_signups", "Checkouts that sign up, by what became of them.", ["outcome"], registry=REGISTRY)
SIGNUPS_WAITING = Gauge(
    "paybill_signups_waiting", "Checkouts that were paid and cannot be carried out.", registry=REGISTRY
)
BACKUPS = Counter("paybill_backups", "TenantBackups that ended, by result.", ["result"], registry=REGISTRY)
RESTORES = Counter("paybill_restores", "TenantRestores that ended, by result.", ["result"], registry=REGISTRY)
MESSAGES = Counter(
    "paybill_outbox_messages", "Attempts to send a message, by what became of it.", ["outcome"], registry=REGISTRY
)
OUTBOX_WAITING = Gauge("paybill_outbox_waiting", "Messages that were not taken yet.", registry=REGISTRY)
OUTBOX_DEAD = Gauge("paybill_outbox_dead", "Messages that are not sent any more.", registry=REGISTRY)
OUTBOX_OLDEST = Gauge("paybill_outbox_oldest_seconds", "How long the oldest one waits.", registry=REGISTRY)
COLLECTION_PAUSED = Gauge(
    "paybill_stripe_collection_paused", "Contracts that Stripe collects nothing for because of us.", registry=REGISTRY
)
METER_EVENTS = Counter(
    "paybill_meter_events",
    "Hours of use told to Stripe, by what became of the attempt.",
    ["outcome"],
    registry=REGISTRY,
)
METER_WAITING = Gauge("paybill_meter_events_waiting", "Hours of use that Stripe does not have yet.", registry=REGISTRY)
METER_REFUSED = Gauge("paybill_meter_events_refused", "Those that it refused, and is asked again.", registry=REGISTRY)
METER_LOST = Gauge("paybill_meter_events_lost", "Hours of use that it is not told any more.", registry=REGISTRY)
METER_OLDEST = Gauge("paybill_meter_events_oldest_seconds", "How long ago the oldest hour was.", registry=REGISTRY)
DESTRUCTIVE = Counter("paybill_destructive_actions", "Destructive steps that were done.", ["action"], registry=REGISTRY)


@dataclass(frozen=True, kw_only=True)
class TenantSample:
    """What the gauges say of one tenant."""

    phase: str
    compute: str
    database: str
    ready: bool


@dataclass(frozen=True, kw_only=True)
class UsageSample:
    """What one tenant uses of its database; None is what cannot be told of it."""

    tenant: str
    bytes: int | None
    rows: int | None
    transactions: int | None
    connections: int


@dataclass(frozen=True, kw_only=True)
class StackSample:
    """What the gauges say of tenants' own infrastructure as a whole."""

    waiting: int
    """Operations that wait for a place."""
    running: int
    """Operations that run."""
    drifted: int
    """Stacks that are not what was applied, by their last look."""
    looked_seconds: float
    """How long ago the stack that was looked at longest ago was looked at, or applied; 0 without any."""


@dataclass(frozen=True, kw_only=True)
class LoginSample:
    """What the gauges say of all tenants' logins of one kind."""

    login: str
    oldest_seconds: float
    """How long ago the login was handed out that is oldest; 0 without any."""
    replaced: int
    """Old slots that are still open beside the new."""


@dataclass(frozen=True, kw_only=True)
class IsolationSample:
    """What the gauges say of one shared server's isolation."""

    cell: str
    server: str
    denied: int
    detected: int
    succeeded: int
    age_seconds: float
    """How long ago it was checked."""
    findings: Mapping[str, int]
    """Shared objects that break a rule, by rule."""


class WorldCollector(Collector):
    """Gauges computed at the moment of a scrape, so that they can never lag behind or leak series."""

    def __init__(
        self,
        tenants: Callable[[], Iterable[TenantSample]],
        queued: Callable[[], int],
        breaker: Callable[[], ApiBreaker],
        stacks: Callable[[], StackSample],
        logins: Callable[[], Iterable[LoginSample]],
        isolation: Callable[[], Iterable[IsolationSample]],
        usage: Callable[[], Iterable[UsageSample]] = tuple,
    ) -> None:
        self._tenants = tenants
        self._queued = queued
        self._breaker = breaker
        self._stacks = stacks
        self._logins = logins
        self._isolation = isolation
        self._usage = usage

    def collect(self) -> Iterable[Metric]:
        """The families; called by the Prometheus client."""
        family = GaugeMetricFamily(
            "paybill_tenants",
            "Tenants by phase, isolation and readiness.",
            labels=["phase", "compute", "database", "ready"],
        )
        counted = Count(self._tenants())
        for sample, number in sorted(counted.items(), key=lambda item: str(item[0])):
            family.add_metric([sample.phase, sample.compute, sample.database, str(sample.ready).lower()], number)
        yield family
        yield GaugeMetricFamily("paybill_queue_length", "Keys waiting for a worker.", value=self._queued())
        stacks = self._stacks()
        open_ = GaugeMetricFamily(
            "paybill_operations_open", "Operations of engines that have not ended.", labels=["state"]
        )
        open_.add_metric(["Waiting"], stacks.waiting)
        open_.add_metric(["Running"], stacks.running)
        yield open_
        yield GaugeMetricFamily(
            "paybill_stacks_drifted", "Tenants whose infrastructure is not what was applied.", value=stacks.drifted
        )
        yield GaugeMetricFamily(
            "paybill_stacks_look_age_seconds", "Age of the oldest look for drift.", value=stacks.looked_seconds
        )
        yield from self._of_logins()
        yield from _isolation(self._isolation())
        yield from self._used()
        breaker = self._breaker()
        yield GaugeMetricFamily(
            "paybill_api_breaker_open", "1 while requests to the API server are paused.", value=breaker.open
        )
        yield CounterMetricFamily(
            "paybill_api_troubles", "Requests that the API server answered with 429 or 5xx, or not.", breaker.troubles
        )
        yield CounterMetricFamily(
            "paybill_api_held_back", "Requests not sent, because requests are paused.", breaker.refused
        )

    def _of_logins(self) -> Iterable[Metric]:
        age = GaugeMetricFamily(
            "paybill_credentials_oldest_seconds", "Age of the oldest login in use, by kind.", labels=["login"]
        )
        replaced = GaugeMetricFamily(
            "paybill_credentials_replaced", "Old logins still open beside the new, by kind.", labels=["login"]
        )
        for sample in self._logins():
            age.add_metric([sample.login], sample.oldest_seconds)
            replaced.add_metric([sample.login], sample.replaced)
        yield age
        yield replaced

    def _used(self) -> Iterable[Metric]:
        size = GaugeMetricFamily("paybill_tenant_database_bytes", "Size of a tenant's data.", labels=["tenant"])
        rows = GaugeMetricFamily("paybill_tenant_database_rows", "Rows of a tenant, estimated.", labels=["tenant"])
        open_ = GaugeMetricFamily("paybill_tenant_database_connections", "A tenant's sessions.", labels=["tenant"])
        done = CounterMetricFamily(
            "paybill_tenant_database_transactions", "A tenant's transactions.", labels=["tenant"]
        )
        for sample in self._usage():
            open_.add_metric([sample.tenant], sample.connections)
            for family, value in ((size, sample.bytes), (rows, sample.rows), (done, sample.transactions)):
                if value is not None:
                    family.add_metric([sample.tenant], value)
        yield from (size, rows, open_, done)


def _isolation(samples: Iterable[IsolationSample]) -> Iterator[Metric]:
    where = ["cell", "server"]
    attacks = GaugeMetricFamily(
        "paybill_isolation_attacks", "Attacks of the last check of a server, by how they ended.",
        labels=[*where, "result"],
    )  # fmt: skip
    age = GaugeMetricFamily(
        "paybill_isolation_check_age_seconds", "Age of the last check of a server's isolation.", labels=where
    )
    findings = GaugeMetricFamily(
        "paybill_isolation_findings", "Shared objects of a server that break a rule.", labels=[*where, "rule"]
    )
    for one in samples:
        for ending, number in (("denied", one.denied), ("detected", one.detected), ("succeeded", one.succeeded)):
            attacks.add_metric([one.cell, one.server, ending], number)
        age.add_metric([one.cell, one.server], one.age_seconds)
        for rule, number in sorted(one.findings.items()):
            findings.add_metric([one.cell, one.server, rule], number)
    yield from (attacks, age, findings)
