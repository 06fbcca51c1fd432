"""What a kubelet does with the operator's pods, done by hand, because there is none here.

The Deployment that the API server holds is the only source: its Secret is mounted, its fields are filled in, its
account gets a token, its arguments start the process. What does not fit this machine (addresses) is replaced.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from paybill.local import ports
from paybill.local.children import Child
from paybill.local.home import write_private
from tests.chart.helm import NAMESPACE, Object
from tests.chart.server import read
from tests.cluster.api import Api, accepted
from tests.conftest import LocalThread

ROOT = Path(__file__).parents[2]


@dataclass
class Replica:
    """One operator process and the address of its probes."""

    child: Child
    base: str

    async def probe(self, path: str) -> int:
        """The status of a probe; 0 when nobody answers."""
        try:
            async with aiohttp.ClientSession() as http, http.get(self.base + path) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def leads(self) -> bool:
        return await self.probe("/readyz") == 200


class Kubelet:
    """Starts the pods of the Deployment as processes of this machine."""

    def __init__(self, plane: LocalThread, admin: Api, folder: Path) -> None:
        self.plane = plane
        self.admin = admin
        self.folder = folder
        self.started: list[Replica] = []

    async def start(self, name: str, change: Callable[[dict[str, str]], None] = lambda _: None) -> Replica:
        """One replica; ``change`` may spoil its environment."""
        deployment = await read(self.admin, "Deployment", "paybill-operator", NAMESPACE)
        assert deployment is not None
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        environment = {entry["name"]: entry.get("value") or self._field(entry, spec) for entry in container["env"]}
        await self._mount(spec, environment)
        port = ports.choose([name], {})[name]
        environment |= {"PAYBILL_METRICS_HOST": "127.0.0.1", "PAYBILL_METRICS_PORT": str(port)}
        environment |= {"KUBECONFIG": str(await self._login(spec)), "PYTHONPATH": str(ROOT / "operator")}
        change(environment)
        argv = [sys.executable, "-m", "paybill", *container["args"]]
        work = self.plane.instance.supervise(name, argv, environment, restart=False)
        replica = Replica(self.plane.call(work), f"http://127.0.0.1:{port}")
        self.started.append(replica)
        return replica

    def stop(self, replica: Replica) -> None:
        self.plane.call(replica.child.stop())

    @staticmethod
    def _field(entry: Object, spec: Object) -> str:
        if "valueFrom" not in entry:
            return ""  # the API server leaves an empty value out
        known = {"metadata.namespace": NAMESPACE, "spec.serviceAccountName": spec["serviceAccountName"]}
        return str(known[entry["valueFrom"]["fieldRef"]["fieldPath"]])

    async def _mount(self, spec: Object, environment: dict[str, str]) -> None:
        (container,) = spec["containers"]
        for volume in spec["volumes"]:
            if "secret" not in volume:
                continue
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
            found = await read(self.admin, "Secret", volume["secret"]["secretName"], NAMESPACE)
            assert found is not None, "the pod would wait for its Secret"
            for item in volume["secret"]["items"]:
                file = self.folder / item["path"]
                file.write_bytes(base64.b64decode(found["data"][item["key"]]))
                inside = f"{mount['mountPath']}/{item['path']}"
                for variable, value in environment.items():
                    environment[variable] = value.replace(inside, str(file))

    async def _login(self, spec: Object) -> Path:
        return await login(self.plane, self.admin, self.folder / "kubeconfig", spec["serviceAccountName"])


async def login(plane: LocalThread, admin: Api, file: Path, account: str) -> Path:
    """A kubeconfig with a token of an account in the release's namespace, as a pod would get it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = accepted(*await admin.call("POST", path, request))["status"]["token"]
    server = {"server": plane.api_url, "certificate-authority": str(plane.instance.ca_path)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "contexts": [{"name": "pod", "context": {"cluster": "this", "user": "account"}}],
        "clusters": [{"name": "this", "cluster": server}],
        "users": [{"name": "account", "user": {"token": token}}],
    }
    return write_private(file, yaml.safe_dump(config))
