"""Observations kept together: each comes out exactly as it went in, and equal tenants share one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from paybill.databases import sights
from paybill.databases.sights import Sights
from paybill.desired.database_facts import SUPERUSER_SETTINGS, Facts, ObservedDatabase, Role, ServerTraits, Stray
from paybill.desired.database_tenant import TenantDatabase
from paybill.desired.database_wanted import wanted

SUPERUSER = ServerTraits(version=180006, admin="postgres", superuser=True, settable=frozenset(SUPERUSER_SETTINGS))
MANAGED = replace(SUPERUSER, superuser=False)


def observed(tenant_id: str, traits: ServerTraits = SUPERUSER, **changes) -> ObservedDatabase:
    desired = TenantDatabase(
        id=tenant_id, uid=f"uid-{tenant_id}", installation="paybill", level="Schema", database="pb_pool_0",
        access="Full", connections=10, statement_timeout_ms=60_000, temp_files_kb=100_000_000,
    )  # fmt: skip
    facts = wanted(desired, traits)
    marks = {f"role {role.name}": desired.mark for role in facts.roles} | {f"schema t_{tenant_id}": desired.mark}
    passwords = {login: f"SCRAM-{login}" for login in desired.login_names} if traits.superuser else None
    return replace(ObservedDatabase(tenant_id, traits, facts, marks, passwords=passwords), **changes)


def test_what_is_asked_for_is_what_was_put():
    kept = Sights()
    for number, traits in enumerate((SUPERUSER, MANAGED)):
        one = observed(f"k3x9m2q{number}", traits)
        kept[one.id] = one
        assert kept[one.id] == one


def test_equal_tenants_share_their_facts():
    kept = Sights()
    for tenant_id in ("aaaaaaaa", "bbbbbbbb"):
        kept[tenant_id] = observed(tenant_id)
    assert kept._sights["aaaaaaaa"].shared is kept._sights["bbbbbbbb"].shared
    assert kept["aaaaaaaa"].marks != kept["bbbbbbbb"].marks


def test_an_id_that_is_a_number_of_a_setting_as_well_stays_exact():
    one = observed("00000000")
    kept = Sights()
    kept["00000000"] = one
    assert kept["00000000"] == one
    assert any(setting.value == "100000000" for setting in kept["00000000"].facts.settings)


def test_one_foreign_mark_is_not_lost_among_the_others():
    one = observed("k3x9m2qd")
    marks = dict(one.marks) | {"role pb_k3x9m2qd_app_a": "somebody's", "schema t_k3x9m2qd": ""}
    kept = Sights()
    kept[one.id] = replace(one, marks=marks)
    assert kept[one.id].marks == marks


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(
    st.from_regex(r"[0-9a-z]{8}", fullmatch=True),
    st.frozensets(st.builds(Role, words, st.tuples(words), st.integers(-1, 9)), max_size=3),
    st.frozensets(st.builds(Stray, words, words, words, words, st.booleans()), max_size=3),
    st.dictionaries(words, words, max_size=3),
    st.none() | st.dictionaries(words, words, max_size=3),
    st.dictionaries(words, st.integers(1, 5), max_size=2),
)
def test_whatever_the_catalogs_say_comes_back(tenant_id, roles, strays, marks, passwords, sessions):
    one = ObservedDatabase(tenant_id, SUPERUSER, Facts(roles=roles), marks, strays, sessions, passwords)
    kept = Sights()
    kept[tenant_id] = one
    assert kept[tenant_id] == one


def test_it_is_told_whether_another_answer_was_given_whoever_is_connected():
    one = observed("k3x9m2qd")
    kept = Sights()
    assert kept.take(one.id, one)
    assert not kept.take(one.id, one)
    assert not kept.take(one.id, replace(one, sessions={"pb_k3x9m2qd_app_a": 3}))
    assert kept[one.id].sessions == {"pb_k3x9m2qd_app_a": 3}
    assert kept.take(one.id, replace(one, passwords={}))


def test_who_is_connected_is_taken_up_for_all():
    kept = Sights()
    for tenant_id in ("aaaaaaaa", "bbbbbbbb"):
        kept[tenant_id] = observed(tenant_id, sessions={f"pb_{tenant_id}_app_a": 1})
    kept.connected({"aaaaaaaa": {"pb_aaaaaaaa_ro_a": 2}})
    assert kept["aaaaaaaa"].sessions == {"pb_aaaaaaaa_ro_a": 2}
    assert kept["bbbbbbbb"].sessions == {}


def test_what_was_shared_once_does_not_pile_up(monkeypatch):
    monkeypatch.setattr(sights, "_SHARED_AT_MOST", 4)
    kept = Sights()
    for number in range(20):
        one = observed("k3x9m2qd", facts=Facts(roles=frozenset({Role("r", (), number)})))
        kept[one.id] = one
        assert kept[one.id] == one
    assert len(kept._shared) <= 4
