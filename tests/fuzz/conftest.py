"""The operator against a control plane of its own: what is thrown at it here should be in no other test's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paybill.local import bootstrap
from paybill.local.bootstrap import Installed
from paybill.local.home import Home
from paybill.local.instance import Instance
from paybill.settings import Settings
from tests.cluster.api import Api, path
from tests.cluster.conftest import api, control_dsn, journal, module_operator, operator
from tests.conftest import LocalThread

__all__ = ["api", "control_dsn", "journal", "module_operator", "operator"]


@pytest.fixture(scope="package")
def control_plane(short_folder: Path) -> Iterator[LocalThread]:
    """In place of the one that all other tests share."""
    instance = Instance(Home(short_folder / "fuzz"), audit_log=short_folder / "fuzz-audit.log", fsync=False)
    with LocalThread(instance) as running:
        yield running


@pytest.fixture(scope="package")
def installed(control_plane: LocalThread) -> Installed:
    """CRDs, RBAC and the Cell ``local``."""
    made: Installed = control_plane.call(bootstrap.install(control_plane.instance, Settings(installation="fuzz")))
    return made


@pytest.fixture
async def local_cell(api: Api, installed: Installed) -> None:
    """The Cell ``local`` as it was installed, whatever was thrown at it before."""
    how = {"fieldManager": "kubectl", "force": "true"}
    code, answer = await api.call(
        "PATCH", path("Cell", name="local"), bootstrap.cell(), "application/apply-patch+yaml", **how
    )
    assert code < 300, answer
