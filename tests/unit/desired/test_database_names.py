"""Names inside Postgres: made from ids only, never colliding, and parsed by one pattern."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.failures import Invalid
from paybill.desired import sql_names as names

IDS = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=8)


@given(st.text())
def test_only_an_id_makes_a_name(text):
    if re.fullmatch(r"[0-9a-z]{8}", text, re.ASCII):
        assert names.schema(text) == f"t_{text}"
        return
    for make in (names.tenant_id, names.schema, names.role_names):
        with pytest.raises(Invalid):
            make(text)


@given(IDS, IDS)
def test_two_tenants_share_no_name(one, other):
    if one != other:
        assert not names.role_names(one) & names.role_names(other)
        assert names.schema(one) != names.schema(other)


@given(IDS)
def test_row_security_knows_a_tenant_by_its_logins_only(tenant):
    served = {name for name in names.role_names(tenant) if re.search(names.TENANT_OF_SESSION, name)}

    assert served == {names.role(tenant, f"{kind}_{slot}") for kind in ("app", "ro", "bak", "job") for slot in "ab"}
    assert all(name[3:11] == tenant for name in served)


@given(st.text(), st.text())
def test_a_pools_name_is_an_identifier_that_no_tenants_role_has(cell, server):
    name = names.pool_database_name(cell, server)

    assert re.fullmatch(r"pb_pool_[0-9a-f]{12}", name)
    assert not re.search(names.TENANT_OF_SESSION, names.pool_owner(name))


@pytest.mark.parametrize("shared", [names.ADMIN, names.TENANTS, names.ROWS_READ, names.ROWS_WRITE])
def test_a_shared_role_is_no_tenants_role(shared):
    assert not re.match(r"pb_[0-9a-z]{8}_", shared)


@pytest.mark.parametrize("suffix", ["", "app", "app_c", "root", "app_a; --", "app_a\n"])
def test_a_tenant_has_no_other_roles(suffix):
    with pytest.raises(Invalid):
        names.role("k3x9m2qd", suffix)


@pytest.mark.parametrize("part", ["", "a:b", "it's", "a\nb", "x" * 129])
def test_a_mark_cannot_be_forged_by_its_parts(part):
    with pytest.raises(Invalid):
        names.mark(part, "uid")
    with pytest.raises(Invalid):
        names.mark("installation", part)
