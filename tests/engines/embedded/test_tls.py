"""Where the programs have TLS, a tenant's own server is reached by it alone, and proves who it is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.cli import psql
from paybill.desired.handover import admin_uri
from paybill.local.certificates import Certificates
from paybill.local.home import Home
from tests.engines.embedded.keeping import Keeper, Tenant, answer, login, until

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
"""The wheel's programs have no TLS; Debian's have."""
ENVIRONMENT = {"PAYBILL_POSTGRES_BIN": str(PROGRAMS)}
SECURED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "postgres").exists(), reason=f"{PROGRAMS} is not there: no Postgres with TLS on this machine"
)


def test_a_login_by_what_the_stack_hands_over_is_secured_and_by_another_authority_refused(
    keeper: Keeper, tenant: Tenant, tmp_path: Path
) -> None:
    where = tenant.up()
    assert where.sslmode == "verify-full"
    assert where.ca is not None
    (tmp_path / "ca.crt").write_text(where.ca)
    assert answer(where, SECURED, sslrootcert=str(tmp_path / "ca.crt")) is True
    assert answer(where, "SHOW ssl_min_protocol_version", sslrootcert=str(tmp_path / "ca.crt")) == "TLSv1.2"

    home = Home(tmp_path / "other")
    home.create()
    other = Certificates(home.certificates)
    other.prepare(dt.datetime.now(dt.UTC))
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        login(where, sslrootcert=str(other.authority.certificate))

    # Whoever kept the authority's certificate needs no other one after a restart.
    keeper.end()
    keeper.start()
    until(lambda: _secured(tenant, tmp_path / "ca.crt"))
    assert tenant.up() == where


def test_psql_is_given_the_authority_and_without_it_refuses(keeper: Keeper, tenant: Tenant, capfd: Any) -> None:
    where = tenant.up()
    argv = [str(PROGRAMS / "psql"), "-At", "-c", SECURED]
    assert psql.run(argv, admin_uri(where), where.ca) == 0
    assert capfd.readouterr().out == "t\n"
    assert psql.run(argv, admin_uri(where), None) == 2
    assert "root certificate" in capfd.readouterr().err


def _secured(tenant: Tenant, authority: Path) -> bool:
    try:
        return bool(answer(tenant.up(), SECURED, sslrootcert=str(authority)))
    except psycopg.OperationalError:
        return False
