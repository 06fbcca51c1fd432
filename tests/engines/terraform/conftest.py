"""A real terraform, a provider mirror and an emulated AWS; what is absent is skipped by name."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paybill.desired.stack import DatabaseInputs, StackInputs
from paybill.engines.folder import Patience
from paybill.engines.operation import Kind, Progress, Request, Result
from paybill.engines.port import EngineError
from paybill.engines.terraform.engine import TerraformEngine
from paybill.engines.terraform.session import Stopping

REGION = "eu-central-1"
ACCOUNT = "123456789012"
AWS = "registry.terraform.io/hashicorp/aws"
MIRRORS = (
    Path.home() / ".terraform.d/plugins",
    Path("/usr/local/share/terraform/plugins"),
    Path("/usr/share/terraform/plugins"),
    Path("/opt/tf-plugins"),
)
"""Where a filesystem mirror usually is; PAYBILL_TERRAFORM_MIRROR names another one."""

LOCAL_MODULE = """
variable "name" { type = string }
variable "foundation" { type = map(string) }
variable "protect" { type = bool }

resource "terraform_data" "store" {
  input            = "${var.name} ${lookup(var.foundation, "size", "small")}"
  triggers_replace = lookup(var.foundation, "disk", "first")
}

resource "terraform_data" "switch" {
  input = var.protect
}

resource "terraform_data" "pod" {
  input = terraform_data.store.id
}

output "data_resources" { value = ["terraform_data.store"] }
output "bucket" { value = terraform_data.store.output }
output "database" {
  value     = { host = "db.test", admin_user = "boss", admin_password = "hunter-hunter-2" }
  sensitive = true
}
"""
"""A module of built-in resources only: no provider, no cloud, an operation in a second."""


def inputs(**changed: Any) -> StackInputs:
    """A Silo tenant on AWS with a server of its own."""
    given: dict[str, Any] = {
        "provider": "AWS",
        "model": "Silo",
        "compute": "Namespace",
        "level": "Server",
        "tenant_id": "abcd1234",
        "tenant_uid": "0a1b2c3d-uid",
        "installation": "test",
        "cell": "frankfurt",
        "region": REGION,
        "namespace": "tenant-abcd1234",
        "database": DatabaseInputs(),
        "foundation": {},
    }
    return StackInputs(**(given | changed))


AT_ONCE = Stopping(margin=0.0, patience=Patience(finish=2.0, obey=1.0))


@dataclass
class Bench:
    """Runs operations of one stack, each in a folder of its own, as the runner does."""

    root: Path
    environment: dict[str, str]
    path: str | None
    state_url: str
    credentials: dict[str, str] = field(default_factory=dict)
    stopping: Stopping = AT_ONCE
    told: list[Progress] = field(default_factory=list)
    last: Request | None = None

    def request(self, kind: Kind, given: StackInputs | None = None, **more: Any) -> Request:
        """A request with a new private folder."""
        folder = self.root / f"operation-{uuid.uuid4().hex[:8]}"
        folder.mkdir(mode=0o700)
        asked: dict[str, Any] = {
            "id": folder.name,
            "kind": kind,
            "engine": "Terraform",
            "inputs": given or inputs(),
            "state_url": self.state_url,
            "path": self.path,
            "credentials": self.credentials,
            "work_dir": str(folder),
        }
        return Request(**(asked | more))

    def run(self, kind: Kind, given: StackInputs | None = None, **more: Any) -> Result:
        """Run one operation; raises what the engine raises."""
        self.last = self.request(kind, given, **more)
        engine = TerraformEngine(self.environment, self.stopping)
        operation: Callable[..., Result] = getattr(engine, kind)
        return operation(self.last, self.told.append)

    def fail(self, kind: Kind, given: StackInputs | None = None, **more: Any) -> EngineError:
        """Run one operation that must fail, and return how."""
        with pytest.raises(EngineError) as caught:
            self.run(kind, given, **more)
        return caught.value


@pytest.fixture(scope="session")
def program() -> dict[str, str]:
    """The environment of a worker on whose PATH a terraform is that can lock states on S3."""
    if not any(map(shutil.which, ("terraform", "tofu"))):
        pytest.skip("neither terraform nor tofu is on PATH")
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


@pytest.fixture
def bench(tmp_path: Path, program: dict[str, str]) -> Bench:
    """Operations on the local module with a state in a folder."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text(LOCAL_MODULE)
    return Bench(root=tmp_path, environment=program, path=str(module), state_url=f"file://{tmp_path}/states")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """A filesystem mirror that holds the AWS provider."""
    named = os.environ.get("PAYBILL_TERRAFORM_MIRROR")
    for place in (Path(named),) if named else MIRRORS:
        if (place / AWS).is_dir():
            return place
    pytest.skip(f"no filesystem mirror with {AWS}: set PAYBILL_TERRAFORM_MIRROR to one")


@pytest.fixture(scope="session")
def with_mirror(program: dict[str, str], mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a worker whose CLI configuration knows the mirror and nothing else."""
    config = tmp_path_factory.mktemp("cli") / "mirror.tfrc"
    config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    return program | {"TF_CLI_CONFIG_FILE": str(config)}


@dataclass(frozen=True)
class Cloud:
    """An emulated AWS."""

    url: str

    @property
    def credentials(self) -> dict[str, str]:
        """What the engine logs in with."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": "not-a-real-secret-key",
            "AWS_ENDPOINT_URL": self.url,
        }

    def client(self, service: str) -> Any:
        """A client that looks at it, or changes something behind the engine's back."""
        boto3 = pytest.importorskip("boto3")
        login = {"aws_access_key_id": "other", "aws_secret_access_key": "other"}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **login)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """moto in server mode, in a process of its own, with a bucket for states."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            _wait_for(port, server)
            found = Cloud(f"http://127.0.0.1:{port}")
            location = {"LocationConstraint": REGION}
            found.client("s3").create_bucket(Bucket="states", CreateBucketConfiguration=location)
            yield found
        finally:
            server.terminate()
            log.close()


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


@pytest.fixture
def stub(tmp_path: Path) -> Callable[[str, str], str]:
    """Makes a program that says it is Terraform of some version and otherwise runs a shell script."""

    def make(version: str, script: str) -> str:
        path = tmp_path / "stub-terraform"
        answer = json.dumps({"terraform_version": version})
        path.write_text(f"#!/bin/sh\nif [ \"$1\" = version ]; then echo '{answer}'; exit 0; fi\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


class Making:
    """A Silo tenant that is being made on the emulated cloud in the background: most of it is waiting for RDS."""

    def __init__(self, bench: Bench, given: StackInputs) -> None:
        self.bench = bench
        self.inputs = given
        self._ended: Future[tuple[Result, Result]] = Future()
        threading.Thread(target=self._make, name="silo", daemon=True).start()

    def _make(self) -> None:
        try:
            approved = self.bench.run("preview", self.inputs)
            try:
                done = self.bench.run("up", self.inputs, expected=approved.digest)
            except EngineError as error:
                found = error.result.changes if error.result is not None else ()
                error.add_note(f"in one of preview and up only: {sorted(map(str, {*approved.changes} ^ {*found}))}")
                raise
            self._ended.set_result((approved, done))
        except BaseException as error:  # noqa: BLE001 - raised again in each test that waits
            self._ended.set_exception(error)

    def result(self) -> tuple[Result, Result]:
        """The preview and what came of it, when it is done."""
        return self._ended.result(timeout=900)


@pytest.fixture(scope="session")
def silo(cloud: Cloud, with_mirror: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Making:
    """The one Silo of a test run, from the built-in module for AWS."""
    foundation = _cell(cloud)
    bench = Bench(
        root=tmp_path_factory.mktemp("silo"),
        environment=with_mirror,
        path=None,
        state_url="s3://states/silo",
        credentials=cloud.credentials,
    )
    return Making(bench, inputs(foundation=foundation))


def _cell(cloud: Cloud) -> dict[str, str]:
    """What the tenants of the cell share: a cluster's network, and a bucket for the records of networks."""
    ec2 = cloud.client("ec2")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=network)["RouteTable"]["RouteTableId"]
    issuer = f"oidc.eks.{REGION}.amazonaws.com/id/CELL"
    return {
        "account_id": ACCOUNT,
        "oidc_provider_arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}",
        "oidc_issuer": issuer,
        "permissions_boundary": f"arn:aws:iam::{ACCOUNT}:policy/paybill-tenant",
        "vpc_id": network,
        "vpc_cidr": "10.0.0.0/16",
        "route_table_ids": table,
        "availability_zones": ", ".join(f"{REGION}{zone}" for zone in "abc"),
        "network_cidr": "10.64.0.0/24",
        "flow_log_bucket_arn": "arn:aws:s3:::states",
    }


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell that starts us in the background lets us ignore SIGINT, and everything that we start as well."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def early(request: pytest.FixtureRequest) -> None:
    """Begin with the Silo before the other tests, if any test wants it: it is waited for while they run."""
    if any("silo" in getattr(item, "fixturenames", ()) for item in request.session.items):
        with contextlib.suppress(pytest.skip.Exception):  # said by the tests that want it
            request.getfixturevalue("silo")
