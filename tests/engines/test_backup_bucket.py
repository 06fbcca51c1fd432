"""A bucket as a store, with the S3 server of moto in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from paybill.api.failures import Blocked, Retry
from paybill.backups.bucket import PART, BucketStore
from tests.cluster.waiting import until

LOGIN = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
async def client(endpoint: str):
    def answers() -> bool:
        try:
            with urllib.request.urlopen(endpoint, timeout=2):
                return True
        except OSError:
            return False

    await until(answers, seconds=60)
    client = BucketStore.opened("tenants", LOGIN, endpoint=endpoint)._client
    client.create_bucket(Bucket="tenants")
    yield client
    for one in client.list_objects_v2(Bucket="tenants").get("Contents", []):
        client.delete_object(Bucket="tenants", Key=one["Key"])


@pytest.fixture
def store(client, endpoint: str) -> BucketStore:
    return BucketStore.opened("tenants", LOGIN, prefix="eu/west", endpoint=endpoint)


async def of(*pieces: bytes):
    for piece in pieces:
        yield piece


async def read(store: BucketStore, name: str) -> bytes:
    return b"".join([piece async for piece in store.get(name)])


@pytest.mark.parametrize("content", [b"", b"small", b"x" * (PART + 5)], ids=["nothing", "one part", "two parts"])
async def test_what_is_put_is_got(store, content):
    assert await store.put("i/t/b/data", of(content[:3], content[3:])) == len(content)
    assert await read(store, "i/t/b/data") == content


async def test_what_is_there_is_listed_and_deleted(store, client):
    for name in ("i/t/b/data", "i/t/b/manifest.json", "i/t/b2/data"):
        await store.put(name, of(b"x"))
    assert await store.names("i/t/b") == ["i/t/b/data", "i/t/b/manifest.json"]
    await store.delete("i/t/b")
    await store.delete("i/t/b")
    keys = [one["Key"] for one in client.list_objects_v2(Bucket="tenants")["Contents"]]
    assert keys == ["eu/west/i/t/b2/data"]


async def test_what_breaks_off_is_not_there_and_leaves_nothing_behind(store, client):
    async def breaks():
        yield b"x" * PART
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        await store.put("i/t/b/data", breaks())
    with pytest.raises(Blocked) as failure:
        await read(store, "i/t/b/data")
    assert failure.value.reason == "BackupMissing"
    assert client.list_multipart_uploads(Bucket="tenants").get("Uploads", []) == []


async def test_a_bucket_that_is_not_there_is_said(store, endpoint):
    with pytest.raises(Blocked) as failure:
        await BucketStore.opened("nobody", LOGIN, endpoint=endpoint).put("i/t/b/data", of(b"x"))
    assert failure.value.reason == "BackupStoreRefused"


async def test_a_server_that_is_away_is_tried_again(monkeypatch):
    monkeypatch.setattr("paybill.backups.bucket.ATTEMPTS", 1)
    with pytest.raises(Retry) as failure:
        await BucketStore.opened("tenants", LOGIN, endpoint="http://127.0.0.1:1").names("i")
    assert failure.value.reason == "BackupStoreUnavailable"
    assert "secret" not in failure.value.message
