"""A restore that is killed before any of its steps is taken up again, and until the exchange nothing has changed."""

import contextlib

import pytest

from tests.databases.backing import take
from tests.databases.servers import start
from tests.databases.test_restore import STEPS, Killed, carry_out, filled, restore_of, schemas_of


@pytest.fixture(scope="module")
def at():
    """One server: the steps are the same on every one."""
    return start("Managed", 18)


@pytest.mark.parametrize("step", STEPS)
async def test_killed_before(step, acme, tmp_path):
    await filled(acme)
    known = await take(acme, tmp_path)
    acme.sql("DELETE FROM notes WHERE id > 10")

    def kill(reached: str) -> None:
        if reached == step:
            raise Killed

    with contextlib.suppress(Killed):
        await carry_out(acme, restore_of(acme, tmp_path, known, reached=kill))
    await acme.ensure(access="Full")
    after = STEPS.index(step) >= STEPS.index("switched")
    assert acme.sql("SELECT count(*) FROM notes") == [(300 if after else 10,)], "all or nothing"

    await carry_out(acme, restore_of(acme, tmp_path, known))

    assert acme.sql("SELECT count(*) FROM notes") == [(300,)]
    assert schemas_of(acme) == [acme.schema]
    assert await acme.differences() == ()
