"""The people of the demo: who asks for a run, who approves what it waits with, and who ends it.

Each does it as a user would: the run is an object, the approval is ``paybill agents approve`` under the login of
somebody else, because nobody approves what they asked for themselves.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paybill.api.base import AGENTS_GROUP, VERSION
from paybill.api.failures import Blocked
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired.resource import Key
from paybill.local import agents_scene as scenes
from paybill.local.agents_scene import Object, Scene
from paybill.local.process import Command
from paybill.local.process import run as executed

APPROVER: Final = "bruce@wayne.example"
WORKFLOW: Final = "refund"
SECONDS: Final = 90.0
_PAUSE: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An AgentRun that is open: ``id`` is what the agent knows it by."""

    name: str
    id: str


async def ask_for_a_run(scene: Scene, name: str, given: Mapping[str, Any]) -> Opened:
    """Ask for a run as a user with kubectl would; returns it once it is open."""
    async with open_session(scene.home.kubeconfig) as session:
        cluster = Cluster(session)
        await cluster.create(run_of(scene, name, await cluster.whoami(), given), manager="kubectl")
        opened = await scenes.ready(cluster, Key("AgentRun", scene.namespace, name), _is_open)
    return Opened(name=name, id=str(opened["status"]["run"]))


def run_of(scene: Scene, name: str, by: str, given: Mapping[str, Any]) -> Object:
    """The object by which ``by`` asks for a run."""
    return {
        "apiVersion": f"{AGENTS_GROUP}/{VERSION}",
        "kind": "AgentRun",
        "metadata": {"name": name, "namespace": scene.namespace},
        "spec": {
            "policyRef": {"name": scene.policy},
            "workflowRef": {"name": WORKFLOW},
            "requestedBy": by,
            "input": {key: str(value) for key, value in given.items()},
        },
    }


async def approve(scene: Scene, run: Opened) -> list[str]:
    """One of the tenant's owners allows what ``run`` waits with; returns what they were shown."""
    await _until(scene, run, lambda one: one["status"].get("phase") == "AwaitingApproval")
    login = scenes.login_of(scene.home, APPROVER, scene.owners)
    argv = (sys.executable, "-m", "paybill", "agents", "approve", run.name, "--namespace", scene.namespace, "--yes")
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "KUBECONFIG": str(login)}
    log = scene.home.logs / "approving.log"
    said = await executed(Command(name="approving", argv=argv, log=log, env=environment), deadline=SECONDS)
    return said.splitlines()


async def cancel(scene: Scene, run: Opened) -> None:
    """Whoever asked for the run ends it."""
    spec = {"spec": {"cancel": True}}
    async with open_session(scene.home.kubeconfig) as session:
        metadata = {"name": run.name, "namespace": scene.namespace}
        await Cluster(session).merge({"kind": "AgentRun", "metadata": metadata, **spec})
    await _until(scene, run, lambda one: one["status"].get("phase") == "Ended")


async def _until(scene: Scene, run: Opened, holds: Callable[[Object], bool]) -> Object:
    """The AgentRun once it ``holds``; raises ``Blocked("AgentsNotReady")`` with what it says."""
    ends = time.monotonic() + SECONDS
    status: Object = {}
    async with open_session(scene.home.kubeconfig) as session:
        while time.monotonic() < ends:
            found = await Cluster(session).get(Key("AgentRun", scene.namespace, run.name))
            status = (found or {}).get("status") or {}
            if found is not None and holds(found):
                return found
            await asyncio.sleep(_PAUSE)
    said = f"{status.get('phase')} {status.get('ending') or ''}".strip()
    raise Blocked("AgentsNotReady", f"AgentRun {run.name} is {said} after {SECONDS:.0f} s")


def _is_open(run: Object) -> bool:
    return bool(run["status"].get("run"))
