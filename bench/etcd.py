"""Objects written past the API server, straight into etcd through its own gateway, as the API server keeps them.

It reads them as if it had written them itself: JSON is one of the two forms it stores, and each object is as it
answered another one of its kind.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from paybill.cluster.kinds import kind_named
from paybill.local.certificates import Certificates
from paybill.local.instance import Instance
from paybill.local.probes import client_context


def place(obj: dict[str, Any]) -> str:
    """The key that the API server keeps an object under."""
    kind = kind_named(obj["kind"])
    group = f"{kind.api_version.split('/')[0]}/" if kind.api_version.startswith("paybill.dev/") else ""
    metadata = obj["metadata"]
    return "/".join(filter(None, ("/registry", f"{group}{kind.plural}", metadata.get("namespace"), metadata["name"])))


def stored(obj: dict[str, Any]) -> dict[str, Any]:
    """As etcd keeps it: without its version, which is etcd's own, and told of its apiVersion; a Secret in clear."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    kept = {**obj, "apiVersion": kind_named(obj["kind"]).api_version, "metadata": metadata}
    if obj["kind"] == "Secret":
        # The id is in there as well, and base64 would hide it from the exchange.
        clear = {name: base64.b64decode(value).decode() for name, value in kept.pop("data").items()}
        kept["stringData"] = clear
    return kept


def _encoded(text: str) -> str:
    if '"stringData"' in text:
        obj = json.loads(text)
        clear = obj.pop("stringData")
        obj["data"] = {name: base64.b64encode(value.encode()).decode() for name, value in clear.items()}
        text = json.dumps(obj)
    return base64.b64encode(text.encode()).decode()


@contextlib.asynccontextmanager
async def writing(instance: Instance) -> AsyncIterator[Callable[[list[tuple[str, str]]], Awaitable[int]]]:
    """A function that writes (place, text) pairs in one transaction and returns the version they have then."""
    certificates = Certificates(instance.home.certificates)
    context = client_context(authority=certificates.etcd_authority.certificate, login=certificates.etcd_client)
    url = f"https://127.0.0.1:{instance.ports['etcd']}/v3/kv/txn"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:

        async def put(texts: list[tuple[str, str]]) -> int:
            puts = [
                {"requestPut": {"key": base64.b64encode(where.encode()).decode(), "value": _encoded(text)}}
                for where, text in texts
            ]
            async with http.post(url, json={"success": puts}) as answer:
                said = await answer.json()
                if answer.status != 200:
                    raise RuntimeError(f"etcd refuses: {said}")
            return int(said["header"]["revision"])

        yield put
