"""The one door to Kubernetes: server-side apply, status, read, list, watch, delete, evict.

Every write of the project goes through here, with one field manager, for the kinds of ``kinds.py`` only. JSON in,
JSON out; errors of the API server become the three failures, so a reconcile never sees an HTTP status.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.cluster.bodies import encoded, lines, message_of
from paybill.cluster.breaker import ApiBreaker, held_by_budget
from paybill.cluster.kinds import kind_named
from paybill.cluster.session import Session
from paybill.desired.names import MANAGER
from paybill.desired.resource import Key, key_of

JSON = dict[str, Any]
PAGE = 500
WATCH_SECONDS = 600
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class ResourceExpired(Exception):  # noqa: N818 - the API's own word for it
    """The resourceVersion of a watch is too old (HTTP 410): list again."""


class Cluster:
    """The client. Share one per process: with a ``breaker`` all pause together when the server is in trouble.

    ``guard`` is asked right before each apply, delete and eviction, and raises when this process may not write any more
    (cluster/lease.py): a process that was frozen wakes up in the middle of anything.
    """

    def __init__(self, session: Session, breaker: ApiBreaker | None = None) -> None:
        self.session = session
        # A command that asks once has nobody to hold back: it tries, and says what came of it.
        self.breaker = breaker or ApiBreaker(armed=False)
        self.guard: Callable[[], None] = lambda: None

    async def get(self, key: Key) -> JSON | None:
        """One object, or None when there is none."""
        status, body = await self._request("GET", kind_named(key.kind).path(key.namespace, key.name))
        return None if status == 404 else self._accept(status, body, f"read {key}")

    async def list_pages(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncIterator[tuple[list[JSON], str]]:
        """The objects of a kind in pages, each with the list's resourceVersion, to watch from."""
        token = ""
        while True:
            query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields, "continue": token}
            status, body = await self._request("GET", kind_named(kind).path(namespace), query)
            if status == 410:
                raise ResourceExpired
            answer = self._accept(status, body, f"list {kind}")
            items = answer.get("items") or []
            for item in items:
                # A list names the kind once, for all of its items.
                item.setdefault("kind", kind)
            yield items, answer["metadata"]["resourceVersion"]
            token = answer["metadata"].get("continue", "")
            if not token:
                return

    async def list(self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "") -> list[JSON]:
        """All objects of a kind at once, for the few places where they are few."""
        pages = self.list_pages(kind, namespace=namespace, labels=labels, fields=fields)
        return [item async for page, _ in pages for item in page]

    async def watch(
        self, kind: str, *, since: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncIterator[tuple[str, JSON]]:
        """(type, object) events after ``since`` until the server ends the watch; raises ResourceExpired on 410."""
        query = {
            "watch": "1",
            "resourceVersion": since,
            "labelSelector": labels,
            "fieldSelector": fields,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        try:
            async with await self._watching(kind, namespace, query) as response:
                async for line in lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ResourceExpired
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry("ApiServerUnreachable", f"watch of {kind} broke: {error}") from error

    async def _watching(self, kind: str, namespace: str, query: Mapping[str, str]) -> aiohttp.ClientResponse:
        """A watch that the server has agreed to; what breaks it later is no sign of trouble: idle ones get cut."""
        path = kind_named(kind).path(namespace)
        # A dead peer shows as silence: bookmarks come about once a minute, so two minutes of nothing is a break.
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + 60, sock_read=120)
        with self.breaker.passage("GET", path) as passage:
            try:
                async with asyncio.timeout(self.session.http.timeout.total):
                    response = await self.session.http.get(self.session.server + path, params=query, timeout=timeout)
                    body = b"" if response.status == 200 else await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                passage.unreachable(f"watch of {kind}: {type(error).__name__}: {error}")
                raise
            passage.answered(response.status, response.headers, body)
        if response.status == 410:
            raise ResourceExpired
        if response.status != 200:
            self._accept(response.status, body, f"watch {kind}")
        return response

    async def apply(self, obj: Mapping[str, Any], *, manager: str = MANAGER, dry_run: bool = False) -> JSON:
        """Server-side apply of an object as a whole: creates it, or makes our fields what we say.

        ``dry_run``: the API server answers as it would, and keeps nothing.
        """
        dry = {"dryRun": "All"} if dry_run else {}
        return await self._patch(obj, "", APPLY, {"fieldManager": manager, "force": "true", **dry})

    async def apply_status(self, obj: Mapping[str, Any], *, manager: str = MANAGER) -> JSON:
        """Server-side apply of an object's status."""
        return await self._patch(obj, "status", APPLY, {"fieldManager": manager, "force": "true"})

    async def annotate(self, key: Key, annotations: Mapping[str, str | None]) -> JSON:
        """Merge annotations into an object that somebody else owns; None removes one."""
        obj = {"kind": key.kind, "metadata": {"name": key.name, "namespace": key.namespace, "annotations": annotations}}
        return await self.merge(obj)

    async def merge(self, obj: Mapping[str, Any], subresource: str = "") -> JSON:
        """Merge patch of an object of ours: lists are replaced as a whole, None takes an entry away."""
        return await self._patch(obj, subresource, MERGE, {"fieldManager": MANAGER})

    async def create(self, obj: Mapping[str, Any], *, manager: str = "") -> JSON:
        """POST of what is not applied: Events and Leases, and what must not be there before: else Retry('Conflict')."""
        key, query = key_of(obj), {"fieldManager": manager}
        status, answer = await self._request("POST", kind_named(key.kind).path(key.namespace), query, body=obj)
        return self._accept(status, answer, f"create {key}")

    async def token(self, namespace: str, service_account: str, seconds: int, audiences: Sequence[str] = ()) -> JSON:
        """A TokenRequest for a ServiceAccount; the token is in ``status.token``.

        It is made for ``audiences``, and for the API server itself where none are named.
        """
        path = kind_named("ServiceAccount").path(namespace, service_account, "token")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds} | ({"audiences": [*audiences]} if audiences else {}),
        }
        status, answer = await self._request("POST", path, body=request)
        return self._accept(status, answer, f"token of ServiceAccount/{namespace}/{service_account}")

    async def whoami(self) -> str:
        """The name of the user that this session speaks for, as the API server knows it."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        status, answer = await self._request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
        return str(self._accept(status, answer, "ask who we are")["status"]["userInfo"]["username"])

    async def username(self) -> str:
        """Who the API server takes us for (a SelfSubjectReview)."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        status, answer = await self._request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
        return str(self._accept(status, answer, "ask who we are")["status"]["userInfo"].get("username", ""))

    async def replace(self, obj: Mapping[str, Any]) -> JSON:
        """PUT with the object's resourceVersion as precondition (Leases): a lost race is Retry('Conflict')."""
        key = key_of(obj)
        status, answer = await self._request("PUT", kind_named(key.kind).path(key.namespace, key.name), body=obj)
        return self._accept(status, answer, f"replace {key}")

    async def delete(
        self, key: Key, *, uid: str, resource_version: str, grace_seconds: int | None = None,
        propagation: str = "Background",
    ) -> bool:  # fmt: skip
        """Delete exactly the object we looked at, as we saw it; False when it is gone already.

        Another UID or resourceVersion is Retry('Conflict'): look again. So a process that was frozen after it had
        decided deletes nothing that somebody touched since. ``propagation``: Foreground keeps it, as one that goes,
        until what it owns is gone.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body: JSON = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        body["propagationPolicy"] = propagation
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        path = kind_named(key.kind).path(key.namespace, key.name)
        self.guard()
        status, answer = await self._request("DELETE", path, body=body)
        if status == 404:
            return False
        self._accept(status, answer, f"delete {key}")
        return True

    async def evict(self, namespace: str, name: str) -> bool:
        """Ask for a pod's eviction; False when a PodDisruptionBudget says not now."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
        }
        path = kind_named("Pod").path(namespace, name, "eviction")
        self.guard()
        status, answer = await self._request("POST", path, body=eviction)
        if status == 404:
            return True
        if status == 429 and held_by_budget(answer):
            return False
        self._accept(status, answer, f"evict Pod/{namespace}/{name}")
        return True

    async def _patch(
        self, obj: Mapping[str, Any], subresource: str, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> JSON:
        key = key_of(obj)
        path = kind_named(key.kind).path(key.namespace, key.name, subresource)
        self.guard()
        status, answer = await self._request("PATCH", path, query, body=obj, headers=headers)
        return self._accept(status, answer, f"apply {key}{'/' + subresource if subresource else ''}")

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        content = None if body is None else encoded(body)
        typed = {"Content-Type": "application/json"} | dict(headers or {}) if content is not None else None
        params = {name: value for name, value in (query or {}).items() if value}
        url = self.session.server + path
        with self.breaker.passage(method, path) as passage:
            try:
                async with self.session.http.request(
                    method, url, params=params, data=content, headers=typed
                ) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
                why = f"{method} {path}: {type(error).__name__}: {error}"
                passage.unreachable(why)
                raise Retry("ApiServerUnreachable", why) from error
            passage.answered(response.status, response.headers, answer)
        return response.status, answer

    @staticmethod
    def _accept(status: int, body: bytes, doing: str) -> JSON:
        """The answer, or the failure that the status stands for (in the API server's own words)."""
        if status < 300:
            answer: JSON = json.loads(body)
            return answer
        message = message_of(body)
        match status:
            case 401 | 403 if "being terminated" not in message:
                raise Blocked("Forbidden", f"{doing}: {message}: check the operator's RBAC (paybill rbac)")
            case 404 | 403:
                raise Retry("NotFound", f"{doing}: {message}", after=1.0)
            case 409:
                raise Retry("Conflict", f"{doing}: {message}", after=0.05)
            case 400 | 422:
                raise Invalid("RefusedByApiServer", f"{doing}: {message}")
            case _:
                raise Retry("ApiServerBusy", f"{doing}: HTTP {status}: {message}")
