"""What ``paybill up`` does once the servers answer: installs Paybill, starts the operator, brings the samples up.

The samples are applied as a user with kubectl would, from whichever process the user looks at, so they are no part of
the instance: a sample that does not come up is reported and leaves the instance as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paybill.api.base import Resource
from paybill.api.failures import Blocked, Retry
from paybill.api.kinds import BY_KIND
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.cluster.client import Cluster, ResourceExpired
from paybill.cluster.session import open_session
from paybill.desired.resource import Key
from paybill.local import board, bootstrap, samples, webhook
from paybill.local.board import Row, Wanted
from paybill.local.instance import Instance, Progress
from paybill.local.webhook import Stripe
from paybill.settings import Settings

FOLLOWED = AWAITED = ("Tenant", "Subscription")
MANAGER = "kubectl"
SAMPLES_SECONDS = 300.0
_AGAIN_SECONDS = 0.2
_TICK_SECONDS = 0.25  # how often a running clock moves

Show = Callable[[tuple[Row, ...]], None]
"""Takes the tenants' rows, a few times a second and whenever one of them changed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The samples as they came to be, and the seconds it took from the first apply."""

    rows: tuple[Row, ...]
    seconds: float


async def start(instance: Instance, progress: Progress, stripe: Stripe | None = None) -> None:
    """Install Paybill on a bare control plane and start the operator, with ``stripe`` the webhook receiver as well.

    Returns when the operator leads and the receiver may add to its inbox.
    """
    progress("installing Paybill: CRDs, RBAC, control database, cell")
    signup = stripe.signup if stripe is not None else None
    installed = await bootstrap.install(instance, Settings(signup=signup))
    progress("starting the operator")
    await bootstrap.start_keeper(instance)
    database = await webhook.let_in(instance, installed.control_file) if stripe is not None else None
    await bootstrap.start_operator(instance, installed, stripe.for_the_operator() if stripe is not None else None)
    if stripe is not None and database is not None:
        there = await webhook.start(instance, installed, stripe, database)
        progress(f"Stripe's events are taken at {there.url}; the signing secret is in {there.signing}")
        if stripe.key is None:
            progress("events are kept, not followed: that takes a key of Stripe's API (--stripe-key)")
        if signup is not None:
            progress(f"who pays at a checkout signs up for {' or '.join(signup.plans)}")


async def bring_up(
    kubeconfig: Path,
    steps: Sequence[samples.Step],
    *,
    progress: Progress,
    show: Show,
    deadline: float = SAMPLES_SECONDS,
) -> Outcome:
    """Apply the samples step by step and wait for each; ``deadline`` is in seconds, for all of them.

    Raises Blocked (``SamplesNotReady``) that names each object that is not as it should be, and why.
    """
    began = time.monotonic()
    async with open_session(kubeconfig) as session:
        cluster = Cluster(session)
        stage = _Stage(cluster=cluster, show=show)
        followers = [asyncio.create_task(stage.follow(kind), name=f"follow-{kind}") for kind in FOLLOWED]
        try:
            async with asyncio.timeout(deadline):
                await stage.listed()
                for step in steps:
                    await stage.play(step, progress)
        except TimeoutError:
            raise Blocked("SamplesNotReady", _too_long(stage, deadline)) from None
        finally:
            for task in followers:
                task.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
    return Outcome(rows=stage.rows(), seconds=time.monotonic() - began)


def _too_long(stage: _Stage, deadline: float) -> str:
    found = list(stage.complaints()) or ["the API server did not answer"]
    listed = "\n".join(f"  {one}" for one in found)
    return (
        f"not everything is as it should be after {deadline:.0f} s:\n{listed}\n"
        "Look at one with `paybill describe TENANT`, mend its file or the cause, and run the same command again."
    )


@dataclass(kw_only=True)
class _Stage:
    """What is wanted and what was seen, while the samples come up."""

    cluster: Cluster
    show: Show
    seen: dict[tuple[str, str], Resource] = field(default_factory=dict)
    wanted: dict[tuple[str, str], Wanted] = field(default_factory=dict)
    applied: dict[str, float] = field(default_factory=dict)
    """Tenant → when it was applied, by the monotonic clock."""
    ready_after: dict[str, float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _listed: set[str] = field(default_factory=set)

    async def listed(self) -> None:
        """Return once every followed kind was listed."""
        while len(self._listed) < len(FOLLOWED):
            await self._next()

    async def play(self, step: samples.Step, progress: Progress) -> None:
        """Apply one step and wait until everything of it is as it should be."""
        now = datetime.now(UTC).replace(microsecond=0)
        count = 0
        for sample in step.samples:
            count += await self._apply(step, sample, now)
        progress(f"{step.title}: applied {count} of {len(step.samples)}, the others stay as they are")
        while any(self.complaints()):
            await self._next()
            self._note()
        self._note()

    async def follow(self, kind: str) -> None:
        """Keep ``seen`` fresh for one kind until cancelled."""
        while True:
            with contextlib.suppress(Retry, ResourceExpired):
                version = await self._list(kind)
                self.changed.set()
                async for event, obj in self.cluster.watch(kind, since=version):
                    if event == "DELETED":
                        self.seen.pop((kind, obj["metadata"]["name"]), None)
                    elif event != "BOOKMARK":
                        self._take(kind, obj)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _list(self, kind: str) -> str:
        """Take up all there is of a kind; returns the version to watch from."""
        since = ""
        async for page, version in self.cluster.list_pages(kind):
            since = version
            for obj in page:
                self._take(kind, obj)
        self._listed.add(kind)
        return since

    def complaints(self) -> list[str]:
        """What is not as it should be yet."""
        return list(board.complaints(self.wanted.values(), self.seen))

    def rows(self) -> tuple[Row, ...]:
        """One row per tenant of the samples, in the order of their names."""
        names = sorted(name for kind, name in self.wanted if kind == "Tenant")
        return tuple(self._row(name) for name in names)

    async def _apply(self, step: samples.Step, sample: samples.Sample, now: datetime) -> bool:
        """Whether the sample had to be applied. Its phase is expected only then: contracts move on by themselves."""
        live = await self.cluster.get(Key(sample.kind, "", sample.name))
        document = samples.to_apply(step, sample, live, now)
        phase = sample.expected_phase if document is not None else None
        if sample.kind in AWAITED:
            self.wanted[sample.kind, sample.name] = Wanted(kind=sample.kind, name=sample.name, phase=phase)
        if document is None:
            return False
        if sample.kind == "Tenant" and live is None:
            self.applied[sample.name] = time.monotonic()
        self._take(sample.kind, await self._patiently(document))
        return True

    async def _patiently(self, document: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                return await self.cluster.apply(document, manager=MANAGER)
            except Retry:
                await asyncio.sleep(_AGAIN_SECONDS)

    def _take(self, kind: str, obj: dict[str, Any]) -> None:
        resource = BY_KIND[kind].read(obj)
        before = self.seen.get((kind, resource.metadata.name))
        if before is None or int(before.metadata.resource_version) < int(resource.metadata.resource_version):
            self.seen[kind, resource.metadata.name] = resource
            self.changed.set()

    def _note(self) -> None:
        for row in self.rows():
            if row.ready and row.tenant in self.applied:
                self.ready_after.setdefault(row.tenant, time.monotonic() - self.applied[row.tenant])
        self.show(self.rows())

    def _row(self, name: str) -> Row:
        tenant = self.seen.get(("Tenant", name))
        if not isinstance(tenant, Tenant):
            return Row(tenant=name)
        ours = (one for one in self.seen.values() if isinstance(one, Subscription) and one.spec.tenant_ref.name == name)
        bound = tenant.status.subscription_ref
        candidates = sorted(ours, key=lambda one: bound is None or one.metadata.uid != bound.uid)
        since = self.applied.get(name)
        seconds = self.ready_after.get(name, time.monotonic() - since if since is not None else None)
        return board.row(tenant, next(iter(candidates), None), seconds)

    async def _next(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), _TICK_SECONDS)
        self.changed.clear()
