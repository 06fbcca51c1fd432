"""The cluster that a command reads: the one of the kubeconfig, or the instance that runs on this machine.

Every command that reads asks as the user who calls it, with that user's rights; Paybill has no server of its own
beside the Kubernetes API.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.local import running
from paybill.local.home import Home

Answer = TypeVar("Answer")

kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Default: $KUBECONFIG, the pod's own account, ~/.kube/config, else the instance that `paybill up` runs.",
)


def ask(kubeconfig: Path | None, question: Callable[[Cluster], Awaitable[Answer]]) -> Answer:
    """Run one question against the cluster; raises the failures of the client."""

    async def asked() -> Answer:
        async with open_session(kubeconfig or _local_one()) as session:
            return await question(Cluster(session))

    return asyncio.run(asked())


def _local_one() -> Path | None:
    """The local instance's kubeconfig where nothing else names a cluster; None leaves the choice to the client."""
    named = "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" in os.environ
    if named or (Path.home() / ".kube" / "config").exists():
        return None
    instance = running.find(Home.of())
    return instance.kubeconfig if instance is not None else None
