"""A scratch database goes when its job is over, whatever the server itself does in it."""

from datetime import UTC, datetime, timedelta

import pytest

from paybill.api.failures import Blocked
from paybill.backups.scratch import left_over, scratch
from tests.cluster.waiting import until
from tests.databases.tenancy import new_id

SLOW = (
    "CREATE TABLE public.much WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1,"
    " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1) AS SELECT generate_series(1, 300000) AS i"
)
AT_WORK = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = %s"


@pytest.fixture
def diligent(at):
    """The server looks for tables to clean up every second."""
    at.run("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    at.run("SELECT pg_reload_conf()")
    yield at
    at.run("ALTER SYSTEM RESET autovacuum_naptime")
    at.run("SELECT pg_reload_conf()")


async def test_autovacuum_in_it_keeps_it_from_nothing(diligent, server):
    async with scratch(server, f"job {new_id()}", (), until=datetime.now(UTC) + timedelta(hours=1)) as login:
        diligent.run(SLOW, login.database)
        diligent.run("DELETE FROM public.much WHERE i % 2 = 0", login.database)
        await until(lambda: diligent.run(AT_WORK, values=[login.database]), seconds=90)
        if diligent.profile == "Managed":
            with pytest.raises(Blocked, match=r"process is being terminated|terminate process"):
                async with server.session() as admin:
                    await admin.execute(f"DROP DATABASE {login.database} WITH (FORCE)".encode())

    assert await left_over(server) == []
    assert diligent.run("SELECT 1 FROM pg_database WHERE datname = %s", values=[login.database]) == []
