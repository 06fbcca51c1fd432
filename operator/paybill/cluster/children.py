"""What exists in the cluster of the objects we made: one list and watch per kind, filtered by our label.

Reconciles compare what they want with this store and so ask the API server nothing while all is well. Objects are
kept as JSON bytes without the server's bookkeeping: whole, not as metadata only, because only the content shows after
a restart whether somebody edited an object while we were away (docs/decisions/0002-children-are-watched-whole.md).
What differs between two tenants by nothing but their ids is kept once (cluster/rows.py). Secrets are not among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from paybill.api.failures import Failure, Retry
from paybill.cluster.client import Cluster, ResourceExpired
from paybill.cluster.rows import Contents, Row
from paybill.desired import names
from paybill.desired.resource import Key, Object, key_of

logger = logging.getLogger(__name__)

WATCHED = (
    "Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "RoleBinding", "ConfigMap",
)  # fmt: skip
LONGEST_BACKOFF = 10.0


Changed = Callable[[str, Key], None]
"""Called with the owning label's value and the key of an object that changed without us."""


class Children:
    """The store. ``run`` keeps it fresh until cancelled; ``synced`` is set once every kind was listed."""

    def __init__(self, cluster: Cluster, installation: str, changed: Changed) -> None:
        self._cluster = cluster
        self._selector = f"{names.INSTALLATION_LABEL}={installation}"
        self._changed = changed
        self._rows: dict[str, dict[Key, Row]] = defaultdict(dict)
        self._contents = Contents()
        self._listed: set[str] = set()
        self._waiting: dict[Key, asyncio.Event] = {}
        self.synced = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def get(self, key: Key) -> Row | None:
        """The row of one object."""
        return self._rows[key.kind].get(key)

    def of_kind(self, kind: str) -> Iterator[tuple[Key, Row]]:
        """Every row of one kind, as they are now."""
        return iter(list(self._rows[kind].items()))

    @contextlib.contextmanager
    def awaited(self, key: Key) -> Iterator[asyncio.Event]:
        """An event that is set at each change of one object, while somebody works on it and waits for its status.

        Clear it before looking, then wait. Meanwhile a change of nothing but the status is news to nobody else.
        """
        event = self._waiting[key] = asyncio.Event()
        try:
            yield event
        finally:
            if self._waiting.get(key) is event:
                del self._waiting[key]

    def put(self, obj: Object) -> None:
        """Take up the API server's answer to a write of ours, so that its own event is no news.

        The answer may come after the event of a later change (a controller fills a status within milliseconds).
        """
        self._keep(key_of(obj), obj)

    def forget(self, key: Key) -> None:
        """Drop a row after a delete of ours."""
        self._rows[key.kind].pop(key, None)

    async def run(self) -> None:
        """Keep every kind fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in WATCHED:
                group.create_task(self._follow(kind), name=f"watch-{kind}")

    async def _follow(self, kind: str) -> None:
        backoff = 0.1
        version = ""
        while True:
            try:
                version = version or await self._relist(kind)
                async for event, obj in self._cluster.watch(kind, since=version, labels=self._selector):
                    backoff = 0.1
                    version = obj["metadata"]["resourceVersion"]
                    if event != "BOOKMARK":
                        self._take(event, {**obj, "kind": kind})
            except ResourceExpired:
                version = ""
            except Failure as failure:
                paused = failure.after if isinstance(failure, Retry) and failure.reason == "ApiServerBusy" else None
                # With jitter, for seven watches break at once; while all requests are paused, the pause says when.
                wait = paused or backoff * random.uniform(0.75, 1.25)  # noqa: S311 - spreading load
                if paused is None:
                    logger.warning("watch of %s: %s; again in %.1f s", kind, failure, wait)
                    backoff = min(backoff * 2, LONGEST_BACKOFF)
                await asyncio.sleep(wait)

    async def _relist(self, kind: str) -> str:
        seen: set[Key] = set()
        version = ""
        async for page, listed in self._cluster.list_pages(kind, labels=self._selector):
            version = listed
            for obj in page:
                obj["kind"] = kind
                seen.add(key_of(obj))
                if kind in self._listed:
                    self._take("MODIFIED", obj)
                else:
                    # At the start nothing has changed, and every tenant is looked at anyway.
                    self._keep(key_of(obj), obj)
        # What we made while the list was on its way is newer than the list, and not gone.
        listed_at = int(version or 0)
        for key, row in list(self.of_kind(kind)):
            if key not in seen and int(row.version) <= listed_at:
                self._gone(key)
        self._listed.add(kind)
        if len(self._listed) == len(WATCHED):
            self.synced.set()
        return version

    def _take(self, event: str, obj: dict[str, Any]) -> None:
        key = key_of(obj)
        if event == "DELETED":
            self._gone(key)
            return
        known = self.get(key)
        row = self._keep(key, obj)
        if row is None or (known is not None and self._settled(key, known, row)):
            return
        # A mark that was changed or taken off concerns the one whose it was.
        self._report(key, {row.owner, known.owner if known is not None else None})

    def _keep(self, key: Key, obj: Object) -> Row | None:
        """Put an object in place of the row that is known; None when it is no newer.

        Versions of one kind compare as numbers; another UID is another object, whatever its version.
        """
        rows, metadata = self._rows[key.kind], obj["metadata"]
        known = rows.get(key)
        if (
            known is not None
            and known.uid == metadata["uid"]
            and int(known.version) >= int(metadata["resourceVersion"])
        ):
            return None
        row = self._contents.row(obj)
        rows[_interned(key)] = row
        return row

    def _settled(self, key: Key, known: Row, row: Row) -> bool:
        """Whether a change needs no reconcile: usage that a quota counts, or a status that somebody waits for.

        Every pod that comes or goes changes its quota's status.
        """
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.set()
        if key.kind != "ResourceQuota":
            return False
        before, after = known.parsed(), row.parsed()
        status, was = after.pop("status", {}), before.pop("status", {})
        return before == after and (waiting is not None or status.get("hard") == was.get("hard"))

    def _gone(self, key: Key) -> None:
        row = self._rows[key.kind].pop(key, None)
        if row is not None:
            self._report(key, {row.owner})

    def _report(self, key: Key, owners: set[str | None]) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.set()
        for owner in owners:
            if owner is not None:
                self._changed(owner, key)


def _interned(key: Key) -> Key:
    """The eight objects of a tenant share its namespace's name, and all tenants' objects share theirs."""
    return Key(sys.intern(key.kind), sys.intern(key.namespace), sys.intern(key.name))
