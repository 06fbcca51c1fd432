"""helm, and a control plane of the chart's own: on the shared one other tests' roles and CRDs would be in its way."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from paybill.api.failures import Blocked
from paybill.local.home import Home
from paybill.local.instance import Instance
from tests.chart.helm import Helm, provide
from tests.cluster.api import Api, user
from tests.conftest import LocalThread


@pytest.fixture(scope="session")
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm, without a cluster."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def progress(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"\n{line}")

    try:
        program = asyncio.run(provide(progress))
    except Blocked as failure:
        pytest.skip(f"there is no helm on the PATH and none can be built: {failure.message}")
    return Helm(program=program, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="package")
def plane(short_folder: Path) -> Iterator[LocalThread]:
    """A control plane with nothing on it."""
    with LocalThread(Instance(Home(short_folder / "chart"), fsync=False)) as running:
        yield running


@pytest.fixture
def cluster(helm: Helm, plane: LocalThread) -> Iterator[Helm]:
    """helm against that control plane; whatever release a test leaves is taken away."""
    connected = helm.on(plane.kubeconfig)
    yield connected
    connected.uninstall()


@pytest.fixture
async def admin(plane: LocalThread) -> AsyncIterator[Api]:
    """The API server as an administrator."""
    async with user(plane.kubeconfig) as api:
        yield api
