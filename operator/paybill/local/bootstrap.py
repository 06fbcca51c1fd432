"""Makes a bare control plane into a Paybill installation: CRDs, RBAC, control database, Cell, and the operator itself.

The operator runs as a process of its own with exactly the ServiceAccount and rights that the chart gives it, so what
works here works on a cluster; nothing but this file uses the administrator's login.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from paybill.api.failures import Retry
from paybill.api.kinds import KINDS
from paybill.backups.sealing import new_key
from paybill.cluster import definitions
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired import admission, permissions
from paybill.desired.names import MANAGER
from paybill.desired.policy import Place
from paybill.desired.resource import Key
from paybill.engines.embedded.folder import kept
from paybill.local import ports
from paybill.local.home import write_private
from paybill.local.instance import Instance
from paybill.settings import Settings

SERVERS_SECRET = "paybill-servers"  # noqa: S105 - a name
BACKUP_SECRET = "paybill-backup-key"  # noqa: S105 - a name
CELL_SERVERS = {"schemas-1": "Schemas", "rows-1": "Rows", "databases-1": "Databases"}
CONTROL_DATABASE = "paybill_control"
TOKEN_SECONDS = 30 * 24 * 3600
PATIENCE = 20.0
"""Seconds that a server may say "not now" after it has got new kinds."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What was set up: who the operator is and where its files are."""

    settings: Settings
    operator_kubeconfig: Path
    control_file: Path


async def install(instance: Instance, settings: Settings | None = None) -> Installed:
    """Bring CRDs, RBAC, the control database and the Cell ``local`` to what this version wants; may be repeated."""
    settings = settings or Settings()
    async with open_session(instance.kubeconfig) as session:
        cluster = Cluster(session)
        await apply_crds(cluster)
        await _apply_all(cluster, system(settings))
        if settings.signup is None:
            await _take_back(cluster, Key("ClusterRoleBinding", "", permissions.SIGNUP_ROLE))
        control_file = await _control_database(instance)
        await _apply_all(cluster, _own(instance, settings.namespace))
        token = await _token(cluster, settings)
    kubeconfig = _kubeconfig(instance, token)
    return Installed(settings=settings, operator_kubeconfig=kubeconfig, control_file=control_file)


async def _take_back(cluster: Cluster, key: Key) -> None:
    """Take away a right that an installation of before gave, and this one does not."""
    found = await cluster.get(key)
    if found is not None:
        metadata = found["metadata"]
        await cluster.delete(key, uid=metadata["uid"], resource_version=metadata["resourceVersion"])


async def apply_crds(cluster: Cluster) -> None:
    """Bring every kind to this version and wait until the API server serves it; raises Blocked('UpgradeRefused')."""
    await definitions.carry_out(cluster, await definitions.look(cluster))


async def start_keeper(instance: Instance) -> None:
    """Run the keeper of the tenants' own Postgres servers; it starts those that ran when the instance was stopped."""
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-m", "paybill.local.keeper", str(instance.home.path)]

    async def lives() -> bool:
        return kept(instance.home.servers)

    await instance.supervise("keeper", argv, environment, ready=lives)


async def start_operator(instance: Instance, installed: Installed, more: Mapping[str, str] | None = None) -> int:
    """Run the operator as a supervised process, ``more`` being settings; returns its /metrics' port once it leads."""
    port = ports.choose(["operator"], {})["operator"]
    environment = {
        "KUBECONFIG": str(installed.operator_kubeconfig),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PAYBILL_NAMESPACE": installed.settings.namespace,
        "PAYBILL_CONTROL_DATABASE_FILE": str(installed.control_file),
        "PAYBILL_METRICS_PORT": str(port),
        "PAYBILL_EMBEDDED_HOME": str(instance.home.servers),
        "PAYBILL_BACKUP_FOLDER": str(instance.home.path / "backups"),
        "PAYBILL_OPERATIONS_FOLDER": str(instance.home.path / "operations"),
        # Alone on this machine: whoever held the Lease before is gone, so a short one costs nobody anything.
        "PAYBILL_LEASE_SECONDS": "3",
        **(more or {}),
    }

    async def leads() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    argv = [sys.executable, "-m", "paybill", "run"]
    await instance.supervise("operator", argv, environment, ready=leads)
    return port


def documents(folder: Path, substitute: Callable[[str], str] = lambda text: text) -> list[dict[str, Any]]:
    """Every object of the YAML files under a folder (or in one file), in the order that needs no waiting."""
    files = sorted(folder.rglob("*.yaml")) if folder.is_dir() else [folder]
    found = [doc for file in files for doc in yaml.safe_load_all(substitute(file.read_text())) if doc]
    order = {model.kind: number for number, model in enumerate(KINDS)}
    return sorted(found, key=lambda doc: (order.get(doc["kind"], -1), doc["metadata"]["name"]))


async def apply_documents(instance: Instance, objects: Sequence[dict[str, Any]]) -> None:
    """Apply objects as a user with kubectl would."""
    async with open_session(instance.kubeconfig) as session:
        cluster = Cluster(session)
        for obj in objects:
            await cluster.apply(obj, manager="kubectl")


def _own(instance: Instance, namespace: str) -> list[dict[str, Any]]:
    return [_servers_secret(instance, namespace), _backup_secret(instance, namespace), cell()]


def cell() -> dict[str, Any]:
    """The Cell of this machine: its one Postgres, three times, because a server holds rows, schemas or databases."""
    servers = [
        {"name": name, "holds": holds, "adminSecretRef": {"name": SERVERS_SECRET, "key": name}}
        for name, holds in CELL_SERVERS.items()
    ]
    return {
        "apiVersion": "paybill.dev/v1alpha1",
        "kind": "Cell",
        "metadata": {"name": "local"},
        "spec": {
            "provider": "Embedded",
            "default": True,
            "notices": "EventsOnly",
            "servers": servers,
            "engine": {"type": "Embedded"},
            "backup": {
                "store": {"type": "Directory"},
                "keySecretRef": {"name": BACKUP_SECRET, "key": "current"},
            },
        },
    }


def system(settings: Settings) -> list[dict[str, Any]]:
    """The operator's namespace, account, roles and bindings, and the admission policies: what the chart makes too."""
    place = Place(
        namespace=settings.namespace,
        service_account=settings.service_account,
        installation=settings.installation,
    )
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": settings.service_account, "namespace": settings.namespace},
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.namespace}},
        account,
        *permissions.cluster_roles(signup=settings.signup is not None),
        permissions.namespace_role(settings.namespace),
        *permissions.bindings(settings.namespace, settings.service_account, signup=settings.signup is not None),
        *_gateways(settings),
        *admission.build(place),
    ]


def _gateways(settings: Settings) -> list[dict[str, Any]]:
    """The account of the gateways of agents, and what it takes to run them; nothing where that is not set."""
    pods = settings.agent_gateway
    if pods is None:
        return []
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": pods.service_account_name, "namespace": settings.namespace},
        "automountServiceAccountToken": False,
    }
    return [
        account,
        *permissions.gateways(settings.namespace, settings.service_account, pods.service_account_name),
    ]


def _servers_secret(instance: Instance, namespace: str) -> dict[str, Any]:
    dsn = base64.b64encode(_with_sslmode(instance.postgres_dsn).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SERVERS_SECRET, "namespace": namespace},
        "data": dict.fromkeys(CELL_SERVERS, dsn),
    }


def _backup_secret(instance: Instance, namespace: str) -> dict[str, Any]:
    """The key that seals this machine's backups: made once, because without it nobody can open them again."""
    file = instance.home.path / "backup.key"
    if not file.exists():
        write_private(file, new_key())
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": BACKUP_SECRET, "namespace": namespace},
        "data": {"current": base64.b64encode(file.read_bytes()).decode()},
    }


def _with_sslmode(dsn: str) -> str:
    """The wheel's Postgres has no TLS and listens on loopback only: say so, instead of trying at each connection."""
    return make_conninfo(dsn, sslmode="disable")


async def _apply_all(cluster: Cluster, objects: Sequence[dict[str, Any]]) -> None:
    """Apply in order; a server that has just got new kinds says "not now" for a moment."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    for obj in objects:
        while True:
            try:
                await cluster.apply(obj, manager=f"{MANAGER}-local")
                break
            except Retry as failure:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(failure.after or 0.2)


async def _control_database(instance: Instance) -> Path:
    """A database and a login of its own for the control database; its URI goes into a private file."""
    path = instance.home.control_database
    password = secrets.token_urlsafe(24)
    async with await psycopg.AsyncConnection.connect(instance.postgres_dsn, autocommit=True) as connection:
        await login(connection, CONTROL_DATABASE, password)
        owner = sql.Identifier(CONTROL_DATABASE)
        found = await connection.execute("SELECT FROM pg_database WHERE datname = %s", (CONTROL_DATABASE,))
        if await found.fetchone() is None:
            await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))
        # The tenants' logins are on the same server.
        await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(owner))
    parts: dict[str, Any] = conninfo_to_dict(_with_sslmode(instance.postgres_dsn))
    parts |= {"user": CONTROL_DATABASE, "password": password, "dbname": CONTROL_DATABASE}
    return write_private(path, make_conninfo(**parts))


async def login(connection: psycopg.AsyncConnection[Any], name: str, password: str) -> None:
    """A role that logs in with a password, which the server never sees in clear; may be repeated."""
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    roles = await connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
    verb = sql.SQL("CREATE" if await roles.fetchone() is None else "ALTER")
    made = sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(name), sql.Literal(verifier.decode()))
    await connection.execute(made)


async def _token(cluster: Cluster, settings: Settings) -> str:
    answer = await cluster.token(settings.namespace, settings.service_account, TOKEN_SECONDS)
    return str(answer["status"]["token"])


def _kubeconfig(instance: Instance, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "paybill",
        "contexts": [{"name": "paybill", "context": {"cluster": "local", "user": "operator"}}],
        "clusters": [
            {"name": "local", "cluster": {"server": instance.api_url, "certificate-authority": str(instance.ca_path)}}
        ],
        "users": [{"name": "operator", "user": {"token": token}}],
    }
    return write_private(instance.home.path / "operator.kubeconfig", yaml.safe_dump(config))
