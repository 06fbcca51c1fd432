"""A node with its kubelet, done by hand: pods of operations run as processes of this machine; it serves their logs.

Everything else is real: the API server that pods are bound and reported to, and that fetches their logs from here; the
Job controller that makes the pods. What a container runtime would isolate (mounts, the image, the account) is not.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import ssl
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from paybill.desired import names
from paybill.desired.job import REQUEST_FOLDER, WORK_FOLDER
from paybill.engines import processes
from paybill.engines.folder import Folder
from paybill.local import ports
from paybill.local.certificates import Certificates
from tests.cluster.api import Api, Object, Refused, accepted, path, user
from tests.conftest import LocalThread

ROOT = Path(__file__).parents[2]
NAME = "by-hand"
PAUSE = 0.05
MERGE = "application/merge-patch+json"


@dataclass
class Running:
    """One pod's container."""

    process: asyncio.subprocess.Process
    folder: Path
    pod: Object
    ending: bool = False
    work: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def operation(self) -> Folder:
        """The folder that the worker works in."""
        return Folder(self.folder / "work" / self.pod["metadata"]["labels"][names.OPERATION_LABEL])

    def kill(self) -> None:
        """What the end of a container is: none of its processes is left."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        if (worker := self.operation.identity()) is not None:
            processes.kill_all(worker)

    async def forget(self) -> None:
        """Kill no longer what has ended."""
        for task in self.work:
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)


class Node:
    """The node; ``holds`` keeps pods waiting, as an image that is nowhere does."""

    def __init__(self, plane: LocalThread, folder: Path) -> None:
        self._plane = plane
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="node", daemon=True)
        self._pods: dict[str, Running] = {}
        self._port = ports.choose(["kubelet"], {})["kubelet"]
        self._task: asyncio.Task[None] | None = None
        self.holds = False
        self.begun: list[str] = []
        """The operation of every container that was started."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self, operation: str) -> None:
        """End the container of an operation at once, as a machine that is out of memory does."""
        for one in self._pods.values():
            if one.operation.path.name == operation:
                one.kill()

    def log(self, operation: str) -> str:
        """What the pods of an operation wrote, those among them that are gone."""
        return "".join(file.read_text() for file in sorted(self._folder.glob(f"*{operation}*.log")))

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        pair = Certificates(self._plane.instance.home.certificates).api_server
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        self._server = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._server.setup()
        await web.TCPSite(self._server, "127.0.0.1", self._port, ssl_context=tls).start()
        self._task = asyncio.create_task(self._live())

    async def _stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for one in self._pods.values():
            one.kill()
            await one.process.wait()
            await one.forget()
        await self._server.cleanup()

    async def _live(self) -> None:
        async with user(self._plane.kubeconfig) as api:
            await self._register(api)
            while True:
                for pod in await api.list("Pod", labels=names.OPERATION_LABEL):
                    with contextlib.suppress(Refused):  # it changed meanwhile
                        await self._look_after(api, pod)
                await asyncio.sleep(PAUSE)

    async def _register(self, api: Api) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}}
        await api.call("POST", "/api/v1/nodes", node)
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        accepted(*await api.call("PATCH", f"/api/v1/nodes/{NAME}/status", {"status": status}, MERGE))

    async def _look_after(self, api: Api, pod: Object) -> None:
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        where, running = path("Pod", metadata["namespace"], metadata["name"]), self._pods.get(uid)
        if metadata.get("deletionTimestamp"):
            if running is None or running.process.returncode is not None:
                self._pods.pop(uid, None)
                if running is not None:
                    await running.forget()
                await api.call("DELETE", where, {"gracePeriodSeconds": 0})
            elif not running.ending:
                running.ending = True
                running.process.terminate()
                running.work.append(asyncio.create_task(self._kill_late(running, metadata)))
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NAME}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
            accepted(*await api.call("POST", f"{where}/binding", binding))
        elif running is None and self.holds:
            waiting = {"reason": "ImagePullBackOff", "message": "there is no such image"}
            await self._report(api, pod, "Pending", {"waiting": waiting})
        elif running is None and pod["status"]["phase"] in ("Pending", ""):
            await self._begin(api, pod)
        elif running is not None and running.process.returncode is not None and pod["status"]["phase"] == "Running":
            code = running.process.returncode
            ended = {"exitCode": 128 - code if code < 0 else code, "reason": "Completed" if code == 0 else "Error"}
            phase = "Succeeded" if code == 0 else "Failed"
            await self._report(api, pod, phase, {"terminated": ended | {"startedAt": _now(), "finishedAt": _now()}})

    @staticmethod
    async def _kill_late(running: Running, metadata: Object) -> None:
        await asyncio.sleep(metadata.get("deletionGracePeriodSeconds") or 0)
        running.kill()

    async def _begin(self, api: Api, pod: Object) -> None:
        """Mount what is to be mounted, and start the container."""
        spec, metadata = pod["spec"], pod["metadata"]
        (container,) = spec["containers"]
        folder = self._folder / metadata["name"]
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "request").mkdir(parents=True, mode=0o700)
        (folder / "work").mkdir()
        (volume,) = [one["secret"] for one in spec["volumes"] if "secret" in one]
        secret = await api.get("Secret", volume["secretName"], metadata["namespace"])
        if secret is None:
            return  # a kubelet waits for it
        for name, value in secret["data"].items():
            (folder / "request" / name).write_bytes(base64.b64decode(value))
        here = {REQUEST_FOLDER: str(folder / "request"), WORK_FOLDER: str(folder / "work"), "python": sys.executable}
        environment = {one["name"]: one["value"] for one in container.get("env", ())}
        with (self._folder / f"{metadata['name']}.log").open("wb") as log:
            os.link(log.name, folder / "log")
            process = await asyncio.create_subprocess_exec(
                *(here.get(word, word) for word in container["command"]),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder / "work", start_new_session=True,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "operator")} | environment,
            )  # fmt: skip
        self._pods[metadata["uid"]] = Running(process, folder, pod)
        self.begun.append(metadata["labels"][names.OPERATION_LABEL])
        await self._report(api, pod, "Running", {"running": {"startedAt": _now()}})

    @staticmethod
    async def _report(api: Api, pod: Object, phase: str, state: Object) -> None:
        (container,) = pod["spec"]["containers"]
        about = {"name": container["name"], "image": container["image"], "imageID": "", "ready": phase == "Running"}
        status = {"phase": phase, "containerStatuses": [about | {"restartCount": 0, "state": state}]}
        if pod["status"].get("containerStatuses", [{}])[0].get("state", {}).keys() == state.keys():
            return
        where = path("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        accepted(*await api.call("PATCH", f"{where}/status", {"status": status}, MERGE))

    async def _serve_log(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["pod"]
        running = next((one for one in self._pods.values() if one.pod["metadata"]["name"] == name), None)
        if running is None:
            raise web.HTTPNotFound(text="no such container")
        answer = web.StreamResponse()
        await answer.prepare(request)
        with running.log.open("rb") as file, contextlib.suppress(ConnectionResetError):
            while True:
                ended = running.process.returncode is not None
                while chunk := file.read(64 * 1024):
                    await answer.write(chunk)
                if ended or "follow" not in request.query:
                    return answer
                await asyncio.sleep(PAUSE)
        return answer


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
