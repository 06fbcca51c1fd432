"""Follows the log of a pod's container, which its node hands out through the API server.

What goes wrong here is mostly the node's trouble, so it does not count against the API server (breaker.py). And a log
is anybody's text, so no line is trusted to end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from paybill.api.failures import Blocked, Retry
from paybill.cluster.bodies import message_of
from paybill.cluster.client import Cluster
from paybill.cluster.kinds import kind_named

LINE_BYTES = 1024 * 1024
"""What is kept of one line: its end."""


async def follow(cluster: Cluster, namespace: str, pod: str, container: str) -> AsyncIterator[str]:
    """The lines of a container's log from the first on, as they come, until the container has ended.

    Raises Retry("LogUnreadable") while it has none, when its node does not hand it out, and when it breaks off;
    Blocked("Forbidden") when we may not read it.
    """
    session, where = cluster.session, f"Pod/{namespace}/{pod}"
    path = kind_named("Pod").path(namespace, pod, "log")
    query = {"container": container, "follow": "true"}
    # Silence is no trouble: a database takes a quarter of an hour. That the pod is there still is looked at beside.
    timeout = aiohttp.ClientTimeout(total=None, connect=session.http.timeout.total)
    cluster.breaker.check()
    try:
        async with session.http.get(session.server + path, params=query, timeout=timeout) as response:
            if response.status in (401, 403):
                raise Blocked("Forbidden", f"the log of {where}: {message_of(await response.read())}")
            if response.status != 200:
                why = message_of(await response.read())
                raise Retry("LogUnreadable", f"the log of {where}: HTTP {response.status}: {why}")
            rest = b""
            async for chunk in response.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                rest = rest[-LINE_BYTES:]
                for line in whole:
                    yield line.decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Retry("LogUnreadable", f"the log of {where}: {type(error).__name__}: {error}") from error
