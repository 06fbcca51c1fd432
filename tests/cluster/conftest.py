"""The operator in process against the real control plane; each module has a control database of its own.

All modules share one installation, because roles are a Postgres server's and not a database's. Names are unique per
test, and what a test applied is taken away after it, so that no test sees another one's tenants.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from paybill.audit.chain import verify
from paybill.audit.reading import rows
from paybill.doors import Doors
from paybill.local import bootstrap
from paybill.local.bootstrap import Installed
from paybill.settings import Settings
from tests.cluster.admission_scene import stage  # noqa: F401 - a fixture
from tests.cluster.api import Api, Object, Reference, user
from tests.cluster.customers import Customers
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

ACCOUNT = "system:serviceaccount:paybill-system:paybill-operator"
ORDER = (
    "AgentRun", "AgentWorkflow", "AgentPolicy", "TenantRestore", "Subscription", "Tenant", "TenantBackup", "Plan",
    "Cell",
)  # fmt: skip


@pytest.fixture(scope="session")
def installed(control_plane: LocalThread) -> Installed:
    """CRDs, RBAC and the Cell ``local``, whose hourly budgets do not run out during the tests."""
    settings = Settings(installation=f"tests-{secrets.token_hex(3)}")
    made: Installed = control_plane.call(bootstrap.install(control_plane.instance, settings))
    control_plane.call(bootstrap.apply_documents(control_plane.instance, [_unlimited()]))
    return made


def _unlimited() -> Object:
    budgets = {"suspensionsPerHour": 100_000, "deletionsPerHour": 100_000, "massChangeFloor": 100_000}
    cell = bootstrap.cell()
    return {**cell, "spec": {**cell["spec"], "limits": budgets}}


@pytest.fixture(scope="session")
def keeper(control_plane: LocalThread) -> None:
    """The keeper of the tenants' own Postgres servers, as `paybill up` runs it."""
    control_plane.call(bootstrap.start_keeper(control_plane.instance))


@pytest.fixture(scope="module")
def control_dsn(control_plane: LocalThread) -> str:
    """A control database of the module's own."""
    name = f"control_{secrets.token_hex(4)}"
    with psycopg.connect(control_plane.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        # Tenants are on this server as well: an agent's login would get in.
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    return make_conninfo(control_plane.postgres_dsn, dbname=name, sslmode="disable")


@pytest.fixture(scope="module")
def module_operator(
    installed: Installed, control_dsn: str, control_plane: LocalThread, tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Operator]:  # fmt: skip
    """The module's operator, set as the module's SETTINGS say."""
    chosen: dict[str, Any] = {"lease_seconds": 3.0, "database_resync_seconds": 600.0, "settle_seconds": 0.0}
    chosen |= {"isolation_settle_seconds": 3600.0}  # test_isolation.py has its own
    chosen |= {
        "embedded_home": control_plane.instance.home.servers,
        "operations_folder": tmp_path_factory.mktemp("operations"),
        "backup_folder": tmp_path_factory.mktemp("backups"),
    }
    chosen |= getattr(request.module, "SETTINGS", {})
    settings = Settings(installation=installed.settings.installation, control_database_url=control_dsn, **chosen)
    operator = Operator(settings, installed.operator_kubeconfig)
    yield operator
    operator.stop()
    with psycopg.connect(control_dsn) as connection:
        report = verify(rows(connection))
    assert report.problems == (), "whatever the module's tests did, its audit log is whole"


@pytest.fixture
def operator(module_operator: Operator) -> Iterator[Operator]:
    """The operator, running, with the real clock and without faults, whatever the test before did to it."""
    if not module_operator.running:
        module_operator.start()
    yield module_operator
    module_operator.clock.reset()
    module_operator.made = lambda _: None
    module_operator.doors = Doors


@pytest.fixture
async def api(control_plane: LocalThread, installed: Installed) -> AsyncIterator[Api]:
    """The API server as an administrator; what was applied is gone afterwards."""
    async with user(control_plane.kubeconfig) as admin:
        yield admin
        await _tidy(admin)


async def _tidy(api: Api) -> None:
    namespaces = set()
    for reference in sorted(api.made, key=lambda one: ORDER.index(one.kind) if one.kind in ORDER else -1):
        found = await api.get(*reference)
        if found is None:
            continue
        namespaces.add(found.get("status", {}).get("namespace"))
        await api.delete(*reference)
        if reference.kind in ORDER:
            await until(lambda reference=reference: _gone(api, reference))
    for namespace in namespaces - {None}:
        if namespace.startswith("t-"):
            await api.delete("Namespace", namespace)


async def _gone(api: Api, reference: Reference) -> bool:
    await api.strip(reference.kind, reference.name, reference.namespace)
    return await api.get(*reference) is None


@pytest.fixture
def journal(control_plane: LocalThread) -> Journal:
    """What the operator asks of the API server, from now on."""
    journal = Journal(control_plane.audit_log, ACCOUNT)
    journal.begin()
    return journal


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"c{secrets.token_hex(4)}"


@pytest.fixture
def customers(api: Api, operator: Operator, name: str) -> Customers:
    """Tenants with their Plans and Subscriptions, in one word."""
    return Customers(api, operator, name)


@pytest.fixture
async def postgres(control_plane: LocalThread) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A superuser's session on the maintenance database."""
    async with await psycopg.AsyncConnection.connect(control_plane.postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def control(control_dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A session on the module's control database."""
    async with await psycopg.AsyncConnection.connect(control_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def coming(operator: Operator) -> str:
    """The id that the next tenant gets, known before anything is made."""
    chosen = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))

    def choose(world: Any) -> None:
        usual = world.registry._new_id

        def once() -> str:
            world.registry._new_id = usual
            return chosen

        world.registry._new_id = once

    operator.call(choose)
    return chosen
