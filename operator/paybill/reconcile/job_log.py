"""Listens to the log of an operation's pod for its answer, for as long as the pod has anything to say.

The log is followed from its beginning while the pod runs, and read once more when it has ended and nothing was heard: a
stream may break, and a pod that is taken away says its last words while it goes.
"""

from __future__ import annotations

import asyncio
import time

from paybill.api.failures import Retry
from paybill.cluster.client import Cluster
from paybill.cluster.pod_log import follow
from paybill.desired.job import CONTAINER
from paybill.engines.operation import Answer
from paybill.engines.sealed import Opening
from paybill.lifecycle.job import PodSeen

LISTENING_SECONDS = 15.0
"""How long is listened at a time, before the pod is looked at again."""
UNHEARD_SECONDS = 60.0
"""How long the log of a pod that has ended is asked for, when its node does not hand it out."""
LAST_WORDS_SECONDS = 5.0
"""How long what is on its way is waited for when the pod is gone."""
AGAIN_SECONDS = 1.0


class Ear:
    """One pod's log. ``key``: what its answer is opened with; None, and there is nothing to hear."""

    def __init__(self, cluster: Cluster, namespace: str, key: str | None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._key = key
        self._task: asyncio.Task[Answer | None] | None = None
        self._had_ended = False
        self._unheard_since: float | None = None
        self.silent = False
        """Whether the log of a pod that has ended was read to its end, and has no answer."""
        self.deaf = ""
        """Why nothing will ever be heard of a pod that has ended."""

    async def hear(self, pod: PodSeen) -> Answer | None:
        """Listen for a while; returns the answer when it is heard."""
        if self._task is None:
            self._had_ended = pod.ended
            self._task = asyncio.create_task(self._listen(pod.name), name=f"log of {pod.name}")
        done, _ = await asyncio.wait({self._task}, timeout=LISTENING_SECONDS)
        if not done:
            return None
        task, self._task = self._task, None
        try:
            answer = task.result()
        except Retry as failure:
            self._not_heard(pod, failure)
            answer = None
        else:
            self.silent = answer is None and self._had_ended
        if answer is None and not (self.silent or self.deaf):
            await asyncio.sleep(AGAIN_SECONDS)
        return answer

    async def last_words(self) -> Answer | None:
        """What is still on its way of a pod that is gone."""
        if self._task is None:
            return None
        done, _ = await asyncio.wait({self._task}, timeout=LAST_WORDS_SECONDS)
        try:
            return self._task.result() if done else None
        except Retry:
            return None

    async def close(self) -> None:
        """Listen no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, pod: str) -> Answer | None:
        opening = Opening(self._key) if self._key is not None else None
        async for line in follow(self._cluster, self._namespace, pod, CONTAINER):
            if opening is not None:
                opening.take(line)
                if opening.answer is not None:
                    return opening.answer  # nothing comes after it
        return None

    def _not_heard(self, pod: PodSeen, failure: Retry) -> None:
        """A node that does not hand a log out may do so later; of one that is gone, nothing comes any more."""
        if not pod.ended or self._unheard_since is None:
            self._unheard_since = time.monotonic()
        elif time.monotonic() - self._unheard_since > UNHEARD_SECONDS:
            self.deaf = f"its pod has ended, and its log cannot be read ({failure})"
