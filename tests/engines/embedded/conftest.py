"""One keeper for all tests of the engine; each test brings a tenant of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.embedded.keeping import Keeper, Tenant


@pytest.fixture(scope="module")
def module_keeper(short_folder: Path, request: pytest.FixtureRequest) -> Iterator[Keeper]:
    """The module's keeper, with the module's ENVIRONMENT."""
    keeper = Keeper(short_folder / f"kept-{request.module.__name__.rpartition('_')[2]}",
                    **getattr(request.module, "ENVIRONMENT", {}))  # fmt: skip
    keeper.start()
    yield keeper
    keeper.end()


@pytest.fixture
def keeper(module_keeper: Keeper) -> Keeper:
    """It runs, whatever the test before did to it."""
    module_keeper.start()
    return module_keeper


@pytest.fixture
def tenant(keeper: Keeper) -> Iterator[Tenant]:
    """A tenant without anything; whatever was made of it is gone afterwards."""
    tenant = keeper.tenant()
    yield tenant
    keeper.start()
    if (wanted := tenant.folder.wanted) is not None:
        owner = {"tenant_uid": wanted.tenant_uid, "installation": wanted.installation}
        tenant.ask("destroy", destroys_data=True, **owner)
