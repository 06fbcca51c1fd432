"""What the program for a bare cluster declares, tried: on a real API server, and with a real Postgres.

No kubelet runs here, so the pod itself does not; what it is made of does: every object is taken by the API server, its
pod by Pod Security admission, its settings and login rules by a Postgres of the same major version. The Postgres of the
wheel was built without TLS: with it, nobody gets in over the network, and the certificate is tried by Python's own TLS.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from paybill.local import account as accounts
from paybill.local.postgres_binaries import choose, find, within_reach
from tests.cluster.api import KINDS, user
from tests.engines.rendered import at, needs, only, resources

pytestmark = needs("Kubernetes")
PLACE = "pb-k3x9m2qd-g1"
HOST = f"database.{PLACE}.svc"
KINDS_TOO = {"Service": "services", "PersistentVolumeClaim": "persistentvolumeclaims"}
PASSWORD = "only-for-this-test"


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where the Postgres answers."""

    port: int
    sockets: Path


def objects():
    """As the engine would send them, in the order of their needs; the Secret's content stands in for what is masked."""
    ranks = ("Namespace", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolumeClaim", "Service")
    listed = sorted(
        (dict(one.inputs) for one in resources("Kubernetes", "Silo")),
        key=lambda one: ranks.index(one["kind"]) if one["kind"] in ranks else len(ranks),
    )
    for one in listed:
        if one["kind"] == "Secret":
            one["data"] = {name: base64.b64encode(b"x").decode() for name in ("password", "tls.crt", "tls.key")}
    return listed


def where(obj):
    version = obj["apiVersion"]
    plural = KINDS_TOO.get(obj["kind"]) or KINDS[obj["kind"]][1]
    place = f"/namespaces/{PLACE}" if obj["kind"] != "Namespace" else ""
    return f"/{'api' if version == 'v1' else 'apis'}/{version}{place}/{plural}"


async def test_the_api_server_takes_every_object_and_the_pod_under_the_strictest_level(control_plane):
    async with user(control_plane.kubeconfig) as api:
        try:
            for obj in objects():
                status, answer = await api.call("POST", where(obj), obj, fieldValidation="Strict")
                assert status == 201, answer
                if obj["kind"] == "StatefulSet":
                    template = obj["spec"]["template"]
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                **template,
                "metadata": {"name": "another", "namespace": PLACE},
            }
            status, answer = await api.call("POST", where(pod), pod, fieldValidation="Strict", dryRun="All")
            assert status == 201, answer
            assert [one["name"] for one in answer["spec"]["volumes"] if "projected" in one] == []  # no token
        finally:
            await api.delete("Namespace", PLACE)


@pytest.fixture(scope="module")
def keys():
    """A certificate as the program makes it."""
    from paybill.engines.pulumi.programs.kubernetes.certificate import self_signed

    return self_signed(HOST)


@pytest.fixture(scope="module")
def served(short_folder) -> Iterator[Served]:
    """A Postgres that runs with the arguments and rules of the rendered pod, but for TLS."""
    folder, owner = short_folder / "engine", accounts.unprivileged_account()
    postgres = within_reach(choose(asyncio.run(find()), 18), owner).folder
    as_owner = {"user": owner.uid, "group": owner.gid} if owner else {}
    for name in ("", "keys", "settings", "run"):
        (folder / name).mkdir()
    rules = only(resources("Kubernetes", "Silo"), "ConfigMap").inputs["data"]["pg_hba.conf"]
    contents = {"keys/password": PASSWORD, "settings/pg_hba.conf": rules}
    for name, content in contents.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    if owner:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, owner.uid, owner.gid)
    pod = at(only(resources("Kubernetes", "Silo"), "StatefulSet").inputs, "spec.template.spec.containers.0")
    environment = {one["name"]: one["value"] for one in pod["env"]}
    made = [str(postgres / "initdb"), "-D", str(folder / "data"), f"--username={environment['POSTGRES_USER']}"]
    made += [f"--pwfile={folder / 'keys/password'}", "--no-sync", *environment["POSTGRES_INITDB_ARGS"].split()]
    subprocess.run(made, check=True, capture_output=True, cwd=folder, **as_owner)
    port = _free_port()
    arguments = [one.replace("/etc/paybill", str(folder)) for one in pod["args"] if one != "-c"]
    words = [word for one in arguments if not one.startswith("ssl") for word in ("-c", one)]
    own = ["-D", str(folder / "data"), "-p", str(port), "-k", str(folder / "run"), "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([str(postgres / "postgres"), *own, *words], stderr=log, cwd=folder, **as_owner)
        try:
            _await(running, port, folder / "log")
            yield Served(port=port, sockets=folder / "run")
        finally:
            running.terminate()
            running.wait(timeout=30)
            shutil.rmtree(folder, ignore_errors=True)


def test_within_the_pod_the_administrator_logs_in_with_the_password(served):
    with _connected(served, host=str(served.sockets)) as connection:
        most, encryption = connection.execute(
            "SELECT current_setting('max_connections'), current_setting('password_encryption')"
        ).fetchone()
    assert most == "33"  # the Plan's 20, three that Postgres reserves, ten for the operator
    assert encryption == "scram-sha-256"


def test_with_another_password_there_is_no_login(served):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        _connected(served, host=str(served.sockets), password="guessed")


def test_without_tls_there_is_no_login_over_the_network(served):
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        _connected(served, sslmode="disable", host="127.0.0.1")


@pytest.mark.parametrize(("name", "believed"), [(HOST, True), ("database.pb-another-g1.svc", False)])
def test_who_has_the_authority_from_the_outputs_verifies_the_server(name, believed, keys, tmp_path):
    """As libpq does it with sslmode verify-full: OpenSSL checks the chain and the host name."""
    for file, content in (("tls.crt", keys.certificate), ("tls.key", keys.key)):
        (tmp_path / file).write_bytes(content)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    refused = None
    for _ in range(4):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as failure:
                refused = failure.verify_message
                break
        if refused:
            break
    assert (refused is None) == believed, refused


def _connected(served: Served, **options: str) -> psycopg.Connection:
    given = {"user": "paybill", "password": PASSWORD, "dbname": "postgres", **options}
    return psycopg.connect(port=served.port, connect_timeout=10, **given)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends and running.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
