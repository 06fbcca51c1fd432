"""What a Cell says of what its servers keep Paybill from."""

from __future__ import annotations

from paybill.api.base import SecretKeyReference
from paybill.api.cell import Server as ServerSpec
from paybill.databases.server import Limits, Server
from paybill.desired.database_facts import ServerTraits
from paybill.desired.database_tenant import PoolDatabase
from paybill.reconcile.isolation_report import _degraded
from paybill.reconcile.servers import Attached


def attached() -> Attached:
    traits = ServerTraits(version=180006, admin="cloud", superuser=False, settable=frozenset())
    server = Server("", name="eu/pool-1", installation="paybill", traits=traits, limits=Limits())
    spec = ServerSpec(name="pool-1", admin_secret_ref=SecretKeyReference(name="servers", key="pool-1"), holds="Schemas")
    pool = PoolDatabase(server="pool-1", cell="eu", name="pb_pool_1", holds="Schemas", installation="paybill")
    return Attached(cell="eu", spec=spec, dsn="", server=server, pool=pool)


def test_nothing_is_said_where_nothing_is_refused():
    assert _degraded([attached()]).status is None


def test_whose_sessions_the_watchdog_cannot_end_is_said_beside_what_else_is_refused():
    one = attached()
    one.refused = ("database postgres lets every login connect",)
    one.watchdog.refused = ("pb_acme0001_app_a",)

    fact = _degraded([one])

    assert (fact.status, fact.reason) == ("True", "ManagedServer")
    assert fact.message == (
        "server pool-1: database postgres lets every login connect; the watchdog may not act for pb_acme0001_app_a: "
        "what they do beyond their limits goes on"
    )
