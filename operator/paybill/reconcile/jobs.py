"""The runner of a cluster: each operation is a Job of its own, found again by its name.

The Job is made suspended, gets its request, and is let go: so an operation begins once, whatever answer was lost, and
nobody begins one that another leader gave up. From then on its pod is listened to: the log's last lines are its answer
(engines/sealed.py). What left no answer is in doubt, and a recovery comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.cluster.client import Cluster
from paybill.desired import job as desired
from paybill.desired import names
from paybill.desired.resource import Key, key_of
from paybill.engines import ended
from paybill.engines.folder import Patience
from paybill.engines.operation import Answer, Exit, Failed, Kind, Request
from paybill.engines.pod import STOPPED
from paybill.engines.sealed import new_key
from paybill.lifecycle.job import NODE_PATIENCE, START, Gone, JobSeen, Listen, NotBegun, PodSeen, Wait, judge
from paybill.lifecycle.operation import LOOKS_ONLY
from paybill.reconcile.job_log import Ear
from paybill.reconcile.job_seen import job_seen
from paybill.reconcile.runners import GONE, NeverBegun

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How often a Job is looked at whose pod has not begun, or goes."""
AGAIN_SECONDS = 2.0
"""Until the API server is asked again that did not answer."""
REQUEST_BYTES = 700_000
"""The longest request: a Secret may have one MiB, and is written with a third more."""
NOT_STARTED = "PodNotStarted"
PATIENCE = Patience()


@dataclass(frozen=True, kw_only=True)
class Ended(ended.Ended):
    """How an operation ended that has a Job."""

    jobs: Jobs = field(repr=False)
    operation: str
    of: str = ""
    """The name of its stack."""

    @property
    def stack(self) -> str:
        """The name of its stack; empty where it is not known any more."""
        return self.of

    async def discard(self) -> None:
        """Take the Job away, and its Secret."""
        await insist(lambda: self.jobs.remove(self.operation))

    def release(self) -> None:
        """It stays where it is: whoever leads may read it again."""


@dataclass(kw_only=True)
class Jobs:
    """The Jobs of one installation's operations, in one namespace."""

    cluster: Cluster
    namespace: str
    installation: str
    pods: desired.OperationPods | None
    now: Callable[[], datetime]
    _stopped: dict[str, str] = field(default_factory=dict)
    """Why we asked operations to stop."""

    async def run(self, request: Request) -> Ended:
        """Carry out ``request`` in a Job and wait for its end.

        Raises NeverBegun, or Blocked("OperationGone") when nobody knows what it did.
        """
        key, asked = new_key(), request.model_dump_json()
        if len(asked.encode()) > REQUEST_BYTES:
            raise NeverBegun(
                "RequestTooLarge", "its inputs and credentials do not fit into a Secret: use runner Subprocess"
            )
        try:
            job = await insist(lambda: self._made(request))
            try:
                await insist(lambda: self.cluster.apply(desired.request_secret(job, asked, key)))
            except (Blocked, Invalid):
                await insist(lambda: self.remove(request.id))
                raise
        except (Blocked, Invalid) as refused:
            raise NeverBegun(refused.reason, refused.message) from refused
        await self._let_go(job)
        return await self._watch(request.id, request.kind, key, request.inputs.stack)

    async def adopt(self, operation: str, kind: Kind) -> Ended:
        """Wait for an operation that another leader began.

        Raises Blocked("OperationGone") when nothing of it is left, and NeverBegun when it was never let go.
        """
        while True:
            job = await insist(lambda: self.cluster.get(self._key("Job", operation)))
            if job is None or not job_seen(job, ()).suspended:
                break
            # As we saw it: a leader that was frozen may let it go in this very moment.
            with _unless_changed():
                await insist(lambda job=job: self._delete(job))  # type: ignore[misc]
                await insist(lambda: self.remove(operation))
                raise NeverBegun("NotBegun", "its operator ended before it was let go, so nothing was begun")
        if job is not None and (reason := job_seen(job, ()).stop) is not None:
            await insist(lambda: self.cancel(operation, reason))
        key = desired.key_in(await insist(lambda: self.cluster.get(self._key("Secret", operation))))
        return await self._watch(operation, kind, key, "")

    async def cancel(self, operation: str, reason: str = "Cancelled") -> None:
        """Have the pod of an operation stopped; whoever waits for it hears how that went."""
        while (job := await self.cluster.get(self._key("Job", operation))) is not None:
            self._stopped[operation] = reason
            metadata = job["metadata"]
            if metadata.get("deletionTimestamp") is not None:
                return
            with _unless_changed():
                if names.STOP_ANNOTATION not in (metadata.get("annotations") or {}):
                    # Written down first: a pod that is taken away cannot tell why.
                    note = {"annotations": {names.STOP_ANNOTATION: reason}}
                    job = await self.cluster.merge({"kind": "Job", "metadata": _this(job) | note})
                await self._delete(job, "Foreground")
                return

    async def remove(self, operation: str) -> None:
        """Take away what an operation has in Kubernetes: its request first, which has credentials."""
        for kind in ("Secret", "Job"):
            while (found := await self.cluster.get(self._key(kind, operation))) is not None:
                if not self._is_ours(found, operation):
                    break
                with _unless_changed():
                    await self._delete(found)
                    break
        self._stopped.pop(operation, None)

    async def sweep(self, runs: Callable[[str], bool]) -> None:
        """Remove the Jobs of operations that do not run any more."""
        labels = f"{names.OPERATION_LABEL},{names.INSTALLATION_LABEL}={self.installation}"
        for job in await insist(lambda: self.cluster.list("Job", namespace=self.namespace, labels=labels)):
            operation = job["metadata"]["labels"][names.OPERATION_LABEL]
            if not runs(operation):  # asked only now: the row of one says so before it has a Job
                logger.info("operation %s has ended: its Job is removed", operation)
                await insist(lambda operation=operation: self.remove(operation))  # type: ignore[misc]

    async def _made(self, request: Request) -> dict[str, Any]:
        """The suspended Job; the one that is there, when an answer was lost."""
        if self.pods is None:
            raise Blocked("NoOperationPods", "PAYBILL_OPERATION_PODS is not set, so no Job can be made")
        grace = timedelta(seconds=PATIENCE.finish + PATIENCE.obey)
        job = desired.build(
            request.id, request.inputs.tenant_id, self.installation, self.namespace, self.pods,
            lasts=START + timedelta(seconds=request.deadline_seconds) + grace, grace=grace,
        )  # fmt: skip
        try:
            return await self.cluster.create(job)
        except Retry as failure:
            if failure.reason != "Conflict":
                raise
        found = await self.cluster.get(key_of(job))
        if found is None or not self._is_ours(found, request.id) or not job_seen(found, ()).suspended:
            raise Blocked("OperationExists", f"{key_of(job)} is there already, and is not this operation's: delete it")
        return found

    async def _let_go(self, job: Mapping[str, Any]) -> None:
        """Let its pod be made; a Job of its name that somebody made since is not touched."""
        try:
            await insist(
                lambda: self.cluster.merge({"kind": "Job", "metadata": _this(job), "spec": {"suspend": False}})
            )
        except Retry as gone:
            # It may have run all the same, if it was an answer that was lost: the look says what is left.
            logger.warning("%s went before it was let go: %s", key_of(job), gone)

    async def _watch(self, operation: str, kind: Kind, key: str | None, stack: str) -> Ended:
        """Look and listen until it is known what came of it."""
        ear, given_up = Ear(self.cluster, self.namespace, key), _GivenUp()
        try:
            while True:
                seen = await insist(lambda: self._look(operation))
                match judge(seen, self.now()):
                    case Listen(pod=pod):
                        answer = await ear.hear(pod)
                        if answer is not None:
                            return self._told(operation, answer, seen, stack)
                        if ear.silent or ear.deaf:
                            return self._died(operation, kind, pod, ear.deaf, stack)
                    case Gone(why=why):
                        answer = await ear.last_words()
                        if answer is not None:
                            return self._told(operation, answer, seen, stack)
                        await insist(lambda: self.remove(operation))
                        given_up.raise_if_not_begun()
                        raise Blocked(GONE, f"{why}, and nobody heard its answer")
                    case NotBegun(why=why):
                        given_up.tell(why)
                        await insist(lambda: self.cancel(operation, NOT_STARTED))
                        await asyncio.sleep(LOOK_SECONDS)
                    case Wait():
                        await asyncio.sleep(LOOK_SECONDS)
        finally:
            await ear.close()

    async def _look(self, operation: str) -> JobSeen:
        job = await self.cluster.get(self._key("Job", operation))
        if job is not None and not self._is_ours(job, operation):
            job = None
        labels = f"{names.OPERATION_LABEL}={operation},{names.INSTALLATION_LABEL}={self.installation}"
        return job_seen(job, await self.cluster.list("Pod", namespace=self.namespace, labels=labels))

    def _told(self, operation: str, answer: Answer, seen: JobSeen, stack: str) -> Ended:
        """What its pod said; that pod cannot know who had it taken away."""
        failed, stop = answer.failed, self._stopped.get(operation) or seen.stop
        if failed is not None and failed.reason == STOPPED and stop is not None:
            failed = failed.model_copy(update={"reason": stop})
        return Ended(
            exit=answer.exit, failed=failed, result=answer.result, recovery_needed=answer.recovery_needed,
            jobs=self, operation=operation, of=stack,
        )  # fmt: skip

    def _died(self, operation: str, kind: Kind, pod: PodSeen, why: str, stack: str) -> Ended:
        writes = kind not in LOOKS_ONLY
        happened = why or f"died without a word ({pod.why or 'killed'})"
        then = "what it had begun is unknown, so a recovery comes first" if writes else "it changed nothing: try again"
        message = f"The pod {pod.name} of {kind} {happened}: {then}"
        failed = Failed(reason="RecoveryNeeded" if writes else "WorkerDied", message=message)
        return Ended(
            exit=Exit.TRANSIENT, failed=failed, recovery_needed=writes, jobs=self, operation=operation, of=stack
        )

    def _key(self, kind: str, operation: str) -> Key:
        return Key(kind, self.namespace, names.operation_job(operation))

    def _is_ours(self, obj: Mapping[str, Any], operation: str) -> bool:
        labels = obj["metadata"].get("labels") or {}
        marks = {names.OPERATION_LABEL: operation, names.INSTALLATION_LABEL: self.installation}
        return marks.items() <= labels.items()

    async def _delete(self, obj: Mapping[str, Any], propagation: str = "Background") -> None:
        metadata = obj["metadata"]
        await self.cluster.delete(
            key_of(obj), uid=metadata["uid"], resource_version=metadata["resourceVersion"], propagation=propagation
        )


class _GivenUp:
    """That a pod that does not begin is not waited for any longer, and why."""

    def __init__(self) -> None:
        self._why = ""
        self._since = 0.0

    def tell(self, why: str) -> None:
        """Say so; raises Blocked when even its going takes too long, so that it may begin yet."""
        if not self._why:
            self._why, self._since = why, time.monotonic()
        elif time.monotonic() - self._since > NODE_PATIENCE.total_seconds():
            raise Blocked(GONE, f"{self._why}, and its pod does not go")

    def raise_if_not_begun(self) -> None:
        """Raise Blocked where it is known that nothing was begun."""
        if self._why:
            raise NeverBegun(NOT_STARTED, self._why)


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Ask until the API server answers, while we lead; what is refused, gone or changed is raised."""
    while True:
        try:
            return await act()
        except Retry as failure:
            if failure.reason in ("Conflict", "NotFound"):
                raise
            logger.warning("%s; again in %.0f s", failure, AGAIN_SECONDS)
            await asyncio.sleep(AGAIN_SECONDS)


@contextlib.contextmanager
def _unless_changed() -> Iterator[None]:
    """Go on where what is deleted was changed, or went, since it was looked at: it is looked at once more."""
    try:
        yield
    except Retry as failure:
        if failure.reason not in ("Conflict", "NotFound"):
            raise


def _this(job: Mapping[str, Any]) -> dict[str, Any]:
    """Names exactly this object: the API server refuses the change of another one of its name."""
    return {name: job["metadata"][name] for name in ("name", "namespace", "uid")}
