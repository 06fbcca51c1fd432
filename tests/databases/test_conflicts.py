"""What carries a tenant's name and is not the tenant's stops the work before anything is changed."""

import pytest

from paybill.api.failures import Blocked
from paybill.databases.drop import drop
from paybill.databases.pools import ensure_pool
from paybill.databases.tenants import ensure
from tests.databases.tenancy import desired, new_id, pool

EVERYTHING = """
SELECT 'role', rolname::text, rolcanlogin::text FROM pg_roles WHERE rolname LIKE 'pb%%'
UNION ALL SELECT 'schema', nspname::text, nspacl::text FROM pg_namespace
UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text FROM pg_auth_members
UNION ALL SELECT 'database', datname::text, datacl::text FROM pg_database ORDER BY 1, 2, 3
"""


async def always(session):
    """A fence that holds."""


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("", "not marked"),
        ("COMMENT ON ROLE {role} IS 'hands off'", "hands off"),
        ("COMMENT ON ROLE {role} IS 'paybill:test-installation:another-uid'", "another-uid"),
        ("COMMENT ON ROLE {role} IS 'paybill:another-installation:{uid}'", "another-installation"),
    ],
)
async def test_a_foreign_role_is_left_alone(at, server, schemas, comment, words):
    wanted = desired(schemas)
    role = f"pb_{wanted.id}_rw"
    at.run(f"CREATE ROLE {role};" + comment.format(role=role, uid=wanted.uid))
    before = at.run(EVERYTHING, schemas.name)

    for act in (ensure(server, schemas, wanted), drop(server, schemas, wanted.id, wanted.uid, fence=always)):
        with pytest.raises(Blocked) as failure:
            await act
        assert failure.value.reason == "NameConflict"
        assert words in failure.value.message

    assert at.run(EVERYTHING, schemas.name) == before
    at.run(f"DROP ROLE {role}")


async def test_a_foreign_schema_is_left_alone(at, server, schemas):
    wanted = desired(schemas)
    at.run(f"CREATE SCHEMA t_{wanted.id}; CREATE TABLE t_{wanted.id}.precious ()", schemas.name)
    before = at.run(EVERYTHING, schemas.name)

    for act in (ensure(server, schemas, wanted), drop(server, schemas, wanted.id, wanted.uid, fence=always)):
        with pytest.raises(Blocked) as failure:
            await act
        assert failure.value.reason == "NameConflict"

    assert at.run(EVERYTHING, schemas.name) == before


async def test_another_tenant_of_the_same_id_is_left_alone(at, server, schemas, acme):
    twin = desired(schemas, id=acme.id)
    before = at.run(EVERYTHING, schemas.name)

    with pytest.raises(Blocked):
        await ensure(server, schemas, twin)

    assert at.run(EVERYTHING, schemas.name) == before
    assert await acme.differences() == ()


async def test_a_foreign_database_of_a_pools_name_is_left_alone(at, server, schemas):
    where = pool("Schemas", cell=new_id())
    at.run(f"CREATE DATABASE {where.name}")
    before = at.run(EVERYTHING)

    with pytest.raises(Blocked) as failure:
        await ensure_pool(server, where)

    assert failure.value.reason == "NameConflict"
    assert at.run(EVERYTHING) == before
    at.run(f"DROP DATABASE {where.name}")


async def test_a_foreign_role_of_a_pools_name_is_left_alone(at, server, schemas):
    where = pool("Rows", cell=new_id())
    at.run(f"CREATE ROLE {where.name}")
    before = at.run(EVERYTHING)

    with pytest.raises(Blocked):
        await ensure_pool(server, where)

    assert at.run(EVERYTHING) == before
    at.run(f"DROP ROLE {where.name}")


async def test_a_pool_cut_short_after_its_database_was_made_is_finished(at, server, schemas):
    where = pool("Schemas", cell=new_id())
    at.run(f"CREATE DATABASE {where.name} OWNER pb_admin TEMPLATE template0 ALLOW_CONNECTIONS false")

    await ensure_pool(server, where)

    assert (await ensure_pool(server, where)).changed == ()
    at.run(f"DROP DATABASE {where.name} WITH (FORCE)")


@pytest.mark.parametrize("expect_absent", [True, False])
async def test_a_role_that_was_not_expected_fails_the_creation_as_a_whole(at, server, schemas, expect_absent):
    wanted = desired(schemas)
    at.run(f"CREATE ROLE pb_{wanted.id}_mig_a")
    before = at.run(EVERYTHING, schemas.name)

    with pytest.raises(Blocked, match="NameConflict"):
        await ensure(server, schemas, wanted, expect_absent=expect_absent)

    assert at.run(EVERYTHING, schemas.name) == before
    at.run(f"DROP ROLE pb_{wanted.id}_mig_a")


async def test_what_a_crash_left_is_completed_though_nothing_was_expected(at, server, schemas):
    wanted = desired(schemas)
    await ensure(server, schemas, wanted)

    again = await ensure(server, schemas, wanted, expect_absent=True)

    assert again.changed == ()
