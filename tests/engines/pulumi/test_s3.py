"""A state in an S3 bucket, with the real CLI and an emulated cloud."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from paybill.engines.operation import Exit
from tests.engines.pulumi.conftest import PASSPHRASE, Site

pytestmark = pytest.mark.pulumi

LOGIN = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_REGION": "eu-west-1"}
TWO = {"foundation": {"make": "a b"}}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a moto server."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with subprocess.Popen(command, stdout=log, stderr=log) as server:
            try:
                _wait_for(port, server)
                yield f"127.0.0.1:{port}"
            finally:
                server.terminate()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("moto's server did not start")


def client(emulator: str) -> Any:
    boto3 = pytest.importorskip("boto3")
    login = {"aws_access_key_id": "other", "aws_secret_access_key": "other"}
    return boto3.client("s3", endpoint_url=f"http://{emulator}", region_name="eu-west-1", **login)


@pytest.fixture
def state(emulator: str, tmp_path: Path) -> dict[str, Any]:
    """What a request says of a state in a bucket of its own."""
    name = f"states-{abs(hash(str(tmp_path)))}"
    location = {"LocationConstraint": "eu-west-1"}
    client(emulator).create_bucket(Bucket=name, CreateBucketConfiguration=location)
    url = f"s3://{name}?endpoint={emulator}&disableSSL=true&s3ForcePathStyle=true&region=eu-west-1"
    return {"state_url": url, "credentials": LOGIN | {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}}


async def test_state_is_in_the_bucket_and_nowhere_else(site: Site, emulator: str, state: dict[str, Any]) -> None:
    done = await site.do("up", **TWO, **state)
    assert (done.exit, done.failed) == (Exit.OK, None)
    bucket = state["state_url"].removeprefix("s3://").partition("?")[0]
    keys = {one["Key"] for one in client(emulator).list_objects_v2(Bucket=bucket)["Contents"]}
    assert any(key.endswith("/abcd2345-local.json") for key in keys)
    assert not any("/locks/" in key for key in keys)
    assert list(site.state.iterdir()) == []
    assert "hunter2hunter2" not in site.log
    again = await site.do("up", **TWO, **state)
    assert again.result is not None
    assert (again.exit, again.result.changes) == (Exit.OK, ())
    assert (await site.do("destroy", **TWO, **state)).exit == Exit.OK
    assert site.made == {}


async def test_lock_in_the_bucket_names_its_holder(site: Site, emulator: str, state: dict[str, Any]) -> None:
    await site.do("up", **TWO, **state)
    bucket = state["state_url"].removeprefix("s3://").partition("?")[0]
    content = {"pid": 7, "username": "me", "hostname": "elsewhere", "timestamp": datetime.now(UTC).isoformat()}
    key = ".pulumi/locks/organization/paybill-kubernetes-silo/abcd2345-local/6f9619ff-8b86-4d01-b42d-00cf4fc964ff.json"
    client(emulator).put_object(Bucket=bucket, Key=key, Body=json.dumps(content).encode())
    ended = await site.do("up", **TWO, **state)
    assert ended.failed is not None
    assert (ended.exit, ended.failed.holder) == (Exit.CONFLICT, "elsewhere:7")


async def test_state_that_is_down_is_tried_again_later(site: Site, state: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"s3://states?endpoint=127.0.0.1:{port}&disableSSL=true&s3ForcePathStyle=true&region=eu-west-1"
    ended = await site.do("up", **TWO, **(state | {"state_url": url}))
    assert ended.exit == Exit.TRANSIENT


async def test_bucket_that_is_not_there_is_for_people(site: Site, state: dict[str, Any]) -> None:
    url = state["state_url"].replace("s3://states-", "s3://missing-")
    ended = await site.do("up", **TWO, **(state | {"state_url": url}))
    assert ended.failed is not None
    assert (ended.exit, ended.failed.reason) == (Exit.USER, "StateUnreachable")
