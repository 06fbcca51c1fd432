"""The stage of admission's tests: people with every right that RBAC can give, and what their requests are about."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from paybill.api.kinds import BY_KIND
from paybill.desired import names
from paybill.local.bootstrap import Installed
from tests.cases.agent_policy import policy as agent_policy
from tests.cases.agent_run import run as agent_run
from tests.cases.agent_workflow import workflow as agent_workflow
from tests.cluster import samples
from tests.cluster.admission_cases import (
    ACCOUNT,
    GUARDRAILS,
    LIVE,
    MARKS,
    OVER,
    RBAC,
    TAKEN,
    approval,
    granted,
    person,
    thing,
)
from tests.cluster.api import Object, accepted, path, user
from tests.cluster.refusals import APPLY, Request, filled
from tests.conftest import LocalThread

STRANGER = "system:serviceaccount:elsewhere:paybill-operator"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
TENANTS = (*LIVE, "Pending", *OVER, "misnamed", "again", "named")


def words(installation: str) -> dict[str, str]:
    """The names that the requests use, new for each run."""
    tenant = secrets.token_hex(4)
    named = {
        "tenant": tenant,
        "installation": installation,
        "namespace": f"t-{tenant}",
        "longer": f"t-{tenant}x",
        "pool": f"paybill-pool-{tenant}",
    }
    named |= {name: f"t-{secrets.token_hex(4)}" for name in ("new", "foreign", "lost", "other")}
    return named | {name: f"{name.lower()}-{tenant}" for name in ("elsewhere", "fresh", "any", *TENANTS)}


def logins(plane: LocalThread, installed: Installed) -> dict[str, Path]:
    """Who asks, by the word that the requests use."""
    people = {name: plane.kubeconfig_for(name) for name in ("eve", "owner", "clerk", "warden", "reaper", "judge")}
    ours = {"admin": plane.kubeconfig, "operator": installed.operator_kubeconfig}
    stranger = plane.kubeconfig_for(STRANGER)
    # A colon parts the paths of $KUBECONFIG, and the client looks for one in every path.
    readable = stranger.with_name("stranger.kubeconfig")
    shutil.copyfile(stranger, readable)
    return people | ours | {"stranger": readable}


@dataclass(frozen=True)
class Stage:
    """What requests are about, by their words, and the logins of those who ask."""

    words: dict[str, str]
    logins: dict[str, Path]

    async def ask(self, *asked: Request) -> list[tuple[int, Object]]:
        """The API server's answers."""
        return [await self._one(request) for request in asked]

    async def _one(self, request: Request) -> tuple[int, Object]:
        async with user(self.logins[request.who]) as api:
            return await request.send(api, self.words)


@pytest.fixture(scope="module")
def stage(control_plane: LocalThread, installed: Installed) -> Iterator[Stage]:
    """One for a whole module: nobody changes it."""
    built = Stage(words(installed.settings.installation), logins(control_plane, installed))
    asyncio.run(build(built.logins, built.words))
    yield built
    asyncio.run(remove(built.logins, built.words))


async def build(everybody: dict[str, Path], scene: dict[str, str]) -> None:
    """Make it."""
    async with user(everybody["admin"]) as admin:
        for obj in _rights(scene):
            accepted(*await admin.call("POST", _where(obj), obj))
        for obj in _objects(scene):
            await admin.create(filled(obj, scene))
        lost = filled(thing("Namespace", "<lost>", labels=MARKS), scene)
        query = {"fieldManager": names.MANAGER, "force": "true"}
        accepted(*await admin.call("PATCH", path("Namespace", "", scene["lost"]), lost, APPLY, **query))
        await admin.edit("Namespace", scene["lost"], TAKEN)
        for name in TENANTS:
            await admin.edit("Tenant", scene[name], {"status": _status(name)}, status=True)
    async with user(everybody["eve"]) as eve:
        mine = approval("Tenant", "acme", "eve")
        await eve.create({**mine, "metadata": {"name": scene["any"]}})
        await eve.create({**agent_run(requestedBy="eve"), "metadata": {"name": scene["any"]}})


async def remove(everybody: dict[str, Path], scene: dict[str, str]) -> None:
    """Take it away."""
    async with user(everybody["admin"]) as admin:
        for kind in reversed(BY_KIND):
            await admin.delete(kind, scene["any"])
        for name in TENANTS:
            await admin.delete("Tenant", scene[name])
        for name in ("namespace", "longer", "foreign", "lost", "other", "pool", "elsewhere"):
            await admin.delete("Namespace", scene[name])
        for obj in _rights(scene):
            if "namespace" not in obj["metadata"]:
                await admin.call("DELETE", f"{_where(obj)}/{obj['metadata']['name']}")


def _where(obj: Object) -> str:
    return ROLES if obj["kind"] == "ClusterRole" else path(obj["kind"], obj["metadata"].get("namespace", ""))


def _rights(scene: dict[str, str]) -> list[Object]:
    """cluster-admin for all but the clerk, the warden, the reaper and the judge, who may write Approvals."""
    tag = f"admission-{scene['tenant']}"
    approve = {"apiGroups": ["paybill.dev"], "resources": ["approvals"], "verbs": ["create"]}
    adopt = {"apiGroups": ["paybill.dev"], "resources": ["tenants"], "verbs": ["adopt"], "resourceNames": ["acme"]}
    erase = {**adopt, "verbs": ["erase"]}
    judge = {"apiGroups": ["agents.paybill.dev"], "resources": ["agentruns"], "verbs": ["approve"],
             "resourceNames": ["refund-7"]}  # fmt: skip
    everything = [person("eve"), person("owner"), person(STRANGER), ACCOUNT]
    given = {
        "all": ("cluster-admin", everything),
        "approve": (f"{tag}-approve", [person(name) for name in ("clerk", "warden", "reaper", "judge")]),
        "adopt": (f"{tag}-adopt", [person("warden")]),
        "erase": (f"{tag}-erase", [person("reaper")]),
    }
    roles = [
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": f"{tag}-{name}"}, "rules": [rule]}
        for name, rule in (("approve", approve), ("adopt", adopt), ("erase", erase), ("judge", judge))
    ]
    bindings = [
        {**granted(f"{tag}-{name}", "", role, *subjects), "kind": "ClusterRoleBinding"}
        for name, (role, subjects) in given.items()
    ]
    return [*roles, *bindings]


def _objects(scene: dict[str, str]) -> list[Object]:
    """Namespaces of ours and of others with what is in them, an object of each kind, Tenants in all states."""
    pool = MARKS | {names.CELL_LABEL: "x"}
    found = [
        thing("Namespace", "<namespace>", labels=MARKS),
        thing("Namespace", "<other>", labels=MARKS),
        thing("Namespace", "<pool>", labels=pool),
        *(thing("Namespace", f"<{name}>") for name in ("longer", "foreign", "elsewhere")),
        *(thing(kind, "ours", "<namespace>", MARKS, **content) for kind, content in GUARDRAILS.items()),
        thing("ConfigMap", "ours", "<pool>", MARKS),
        thing("ConfigMap", "theirs", "<elsewhere>"),
        thing("Secret", "theirs", "<elsewhere>"),
        granted("theirs", "<namespace>", "view", person("eve")),
        # As a tenant's owners have it: in its namespace, and nowhere else.
        granted("judge", "<namespace>", "admission-<tenant>-judge", person("judge")),
        granted("paybill-owners", "<namespace>", "admin", person("eve"), labels=MARKS),
        samples.cell("<any>"),
        samples.plan("<any>"),
        samples.tenant("<any>"),
        samples.subscription("<any>", "<any>"),
        samples.ours("TenantBackup", "<any>", {"tenantRef": {"name": "<any>"}}),
        samples.ours("TenantRestore", "<any>", {"backupRef": {"name": "<any>"}}),
        {**agent_policy(), "metadata": {"name": "<any>"}},
        {**agent_workflow(), "metadata": {"name": "<any>"}},
    ]
    quota = next(obj for obj in found if obj["kind"] == "ResourceQuota")
    quota["metadata"]["annotations"] = {"paybill.dev/pods": "stopped"}
    for name in TENANTS:
        tenant = samples.tenant(f"<{name}>")
        marks = {"misnamed": "globex", "named": f"<{name}>"}
        tenant["metadata"]["annotations"] = {names.ALLOW_DELETE_ANNOTATION: marks[name]} if name in marks else {}
        tenant["metadata"]["labels"] = {"admission-test": scene["tenant"]} if name in LIVE else {}
        found.append(tenant)
    return found


def _status(name: str) -> Object:
    """As the operator writes it: of a live contract, of one that is over, and of one that was taken up again."""
    phase = name if name in LIVE or name == "Pending" else "Suspended" if name in (*OVER, "again") else "Active"
    over = "Ended" if name == "again" else name if name in OVER else ""
    ready = "False" if name in ("again", "Provisioning", "Pending") else "True"
    stood = [("Ready", ready, "Test"), *([("Suspended", "True", over or "Suspended")] if phase == "Suspended" else [])]
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": samples.moment()}
        for kind, status, reason in stood
    ]
    return {"phase": phase, "subscriptionRef": {"name": "contract", "uid": "1"}, "conditions": conditions}
