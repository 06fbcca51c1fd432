"""The HTTP session to the API server: where it is, who we are, and how long the answer may take.

``kubernetes`` finds the configuration (in a pod or a kubeconfig), its TLS and its tokens; the session itself is
plain aiohttp, because typed models cost four times the CPU of raw JSON per write (bench/README.md). Kopf gets a session
of its own over the same connections (it closes what it is given), and a rotated token is taken up by both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import load_incluster_config, load_kube_config

from paybill import __version__
from paybill.api.failures import Invalid

CONNECTIONS = 64
REQUEST_TIMEOUT = 15.0
TOKEN_REFRESH = 60.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open session: the server's base URL and the aiohttp session that authenticates to it."""

    server: str
    http: aiohttp.ClientSession
    for_kopf: aiohttp.ClientSession


async def _configuration(kubeconfig: Path | None) -> Configuration:
    configuration = Configuration()
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return configuration
    try:
        path = str(kubeconfig) if kubeconfig else None
        await load_kube_config(config_file=path, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except Exception as error:
        # The library raises its own and yaml's errors alike; each means the same to the user.
        said = f"no usable kubeconfig: {error}: set KUBECONFIG, or start one: paybill up"
        raise Invalid("NoCluster", said) from error
    return configuration


@contextlib.asynccontextmanager
async def open_session(
    kubeconfig: Path | None = None,
    *,
    around: Sequence[aiohttp.ClientMiddlewareType] = (),
    request_seconds: float = REQUEST_TIMEOUT,
) -> AsyncIterator[Session]:
    """A session to the cluster of ``kubeconfig``, of $KUBECONFIG, or of the pod we run in.

    ``around`` are aiohttp's middlewares around each request, Kopf's included; ``request_seconds`` is how long a request
    may take, watches apart.
    """
    configuration = await _configuration(kubeconfig)
    tls = RESTClientObject(configuration).ssl_context
    # Compressing a list costs the API server more than sending it costs the network inside a cluster.
    headers = {"User-Agent": f"paybill/{__version__}", "Accept-Encoding": "identity"}
    async with (
        aiohttp.TCPConnector(limit=CONNECTIONS, ssl=tls) as connector,
        aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            timeout=aiohttp.ClientTimeout(total=request_seconds),
            headers=headers,
            middlewares=around,
        ) as http,
        aiohttp.ClientSession(
            connector=connector, connector_owner=False, headers=headers, middlewares=around
        ) as for_kopf,
    ):
        sessions = (http, for_kopf)
        await _authenticate(configuration, sessions)
        refresher = asyncio.create_task(_keep_authenticated(configuration, sessions), name="token-refresh")
        try:
            yield Session(server=configuration.host, http=http, for_kopf=for_kopf)
        finally:
            refresher.cancel()
            await asyncio.gather(refresher, return_exceptions=True)


async def _authenticate(configuration: Configuration, sessions: Sequence[aiohttp.ClientSession]) -> None:
    settings: dict[str, Any] = dict(await configuration.auth_settings())
    for setting in settings.values():
        if setting.get("in") == "header" and setting.get("value"):
            for http in sessions:
                http.headers["Authorization"] = str(setting["value"])


async def _keep_authenticated(configuration: Configuration, sessions: Sequence[aiohttp.ClientSession]) -> None:
    """A projected ServiceAccount token is replaced about hourly: the library re-reads it, the sessions follow."""
    while True:
        await asyncio.sleep(TOKEN_REFRESH)
        await _authenticate(configuration, sessions)
