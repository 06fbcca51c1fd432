"""The demo's support agent: no model, a script that does what a run's workflow asks, over MCP with its token."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from paybill.api.base import AGENTS_GROUP, VERSION
from paybill.api.failures import Blocked
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired.resource import Key
from paybill.gateway.calling import Answer, Speaker
from paybill.local import agents_scene as scenes
from paybill.local.agents_scene import Case, Scene, Tell


async def open_run(scene: Scene, workflow: str, name: str, given: Mapping[str, Any]) -> str:
    """Ask for a run of ``workflow`` as a user with kubectl would; returns its id once it is open."""
    async with open_session(scene.home.kubeconfig) as session:
        cluster = Cluster(session)
        run = {
            "apiVersion": f"{AGENTS_GROUP}/{VERSION}",
            "kind": "AgentRun",
            "metadata": {"name": name, "namespace": scene.namespace},
            "spec": {
                "policyRef": {"name": scene.policy},
                "workflowRef": {"name": workflow},
                "requestedBy": await cluster.whoami(),
                "input": {key: str(value) for key, value in given.items()},
            },
        }
        await cluster.create(run, manager="kubectl")
        key = Key("AgentRun", scene.namespace, name)
        opened = await scenes.ready(cluster, key, lambda one: bool(one["status"].get("run")))
    return str(opened["status"]["run"])


async def triage(speaker: Speaker, run: str, case: Case, tell: Tell) -> None:
    """Look at a ticket and at its order."""
    ticket = _row(await speaker.call("tickets_get", run=run, step="ticket", key={"id": case.ticket}))
    tell(f"  ticket  reads ticket {case.ticket}; its text is a stranger's, and marked so:")
    for line in textwrap.wrap(f'"{ticket["body"]["untrusted"]}"', 100):
        tell(f"          {line}")
    order = _row(await speaker.call("orders_get", run=run, step="order", key={"id": case.order}))
    tell(f"  order   reads order {case.order}: {order['amount']}, {order['status']}")


def _row(answer: Answer) -> Mapping[str, Any]:
    """The row that was read; raises ``Blocked("AgentRefused")`` where there is none."""
    row: Mapping[str, Any] | None = answer.content.get("row")
    if row is None:
        said = answer.refused or "NoSuchRow"
        raise Blocked("AgentRefused", f"the support agent was refused what its workflow asks for: {said}")
    return row
