"""What a tenant should have in Postgres, and how a difference is said."""

from dataclasses import replace

import pytest

from paybill.api.failures import Invalid
from paybill.desired.database import (
    ObservedDatabase,
    PoolDatabase,
    TenantDatabase,
    conflicts,
    degraded,
    differences,
    pool_database_name,
    wanted,
)
from paybill.desired.database_facts import Grant, Membership, Role, ServerTraits, Setting, Stray

NEW = ServerTraits(180006, "postgres", superuser=True, settable=frozenset({"temp_file_limit", "log_statement"}))
OLD = replace(NEW, version=150018)
CLOUD = replace(NEW, admin="cloud", superuser=False, settable=frozenset())
TENANT = TenantDatabase(
    id="k3x9m2qd",
    uid="uid-1",
    installation="inst",
    level="Schema",
    database="pb_pool_0123456789ab",
    access="Full",
    connections=20,
    statement_timeout_ms=30_000,
    temp_files_kb=1_048_576,
)


def observed(tenant: TenantDatabase = TENANT, traits: ServerTraits = NEW, **changes) -> ObservedDatabase:
    """A tenant that is exactly as it should be, with ``changes``."""
    facts = wanted(tenant, traits)
    in_place = ObservedDatabase(
        id=tenant.id,
        traits=traits,
        facts=facts,
        marks={f"role {role.name}": tenant.mark for role in facts.roles},
        passwords=dict.fromkeys(tenant.login_names, "verifier") if traits.superuser else None,
    )
    return replace(in_place, **changes)


@pytest.mark.parametrize("traits", [NEW, OLD, CLOUD], ids=["18", "15", "managed"])
@pytest.mark.parametrize("level", ["Rows", "Schema"])
@pytest.mark.parametrize("access", ["Full", "ReadOnly", "None"])
def test_what_is_wanted_differs_in_nothing_from_itself(traits, level, access):
    tenant = replace(TENANT, level=level, access=access)
    assert differences(tenant, observed(tenant, traits)) == ()


@pytest.mark.parametrize(
    ("access", "app_in", "open_logins"),
    [
        ("Full", "rw", {"app_a", "ro_a", "mig_a"}),
        ("ReadOnly", "r", {"app_a", "ro_a"}),
        ("None", "r", set()),
    ],
)
def test_access_is_logins_and_membership(access, app_in, open_logins):
    facts = wanted(replace(TENANT, access=access), NEW)

    assert {role.name[12:] for role in facts.roles if "LOGIN" in role.attributes} == open_logins
    [group] = [m.role for m in facts.memberships if m.member == "pb_k3x9m2qd_app_a"]
    assert group == f"pb_k3x9m2qd_{app_in}"


@pytest.mark.parametrize("access", ["Full", "ReadOnly", "None"])
def test_no_login_depends_on_a_setting_for_its_access(access):
    settings = {s for s in wanted(replace(TENANT, access=access), NEW).settings if s.role.endswith("app_a")}
    assert settings == {s for s in wanted(TENANT, NEW).settings if s.role.endswith("app_a")}


def test_a_row_tenant_owns_nothing_and_has_no_migration_login():
    tenant = replace(TENANT, level="Rows")
    facts = wanted(tenant, NEW)

    assert {role.name[12:] for role in facts.roles} == {"rw", "r", "app_a", "ro_a"}
    assert facts.schemas == facts.grants == facts.default_grants == frozenset()
    assert tenant.login_names == ("pb_k3x9m2qd_app_a", "pb_k3x9m2qd_ro_a")


def test_before_postgres_16_the_migration_login_connects_by_a_grant_of_its_own():
    connect = Grant("DATABASE", TENANT.database, "pb_k3x9m2qd_mig_a", ("CONNECT",))

    assert connect in wanted(TENANT, OLD).grants
    assert connect not in wanted(TENANT, NEW).grants


def test_a_managed_server_is_told_from_what_it_refuses():
    assert degraded(TENANT, NEW) == ()
    assert [text.split()[0] for text in degraded(TENANT, CLOUD)] == ["log_statement", "temp_file_limit"]
    assert not any(s.name == "temp_file_limit" for s in wanted(TENANT, CLOUD).settings)


DIFFERENCES = {
    "role missing": (
        lambda f: replace(f, roles=frozenset(r for r in f.roles if not r.name.endswith("_rw"))),
        "missing",
    ),
    "role stronger": (
        lambda f: replace(
            f, roles=f.roles - {Role("pb_k3x9m2qd_r", ("INHERIT",))} | {Role("pb_k3x9m2qd_r", ("SUPERUSER",))}
        ),
        "SUPERUSER",
    ),
    "membership": (
        lambda f: replace(f, memberships=f.memberships | {Membership("pb_zzzzzzzz_rw", "pb_k3x9m2qd_app_a")}),
        "pb_zzzzzzzz_rw",
    ),
    "setting": (
        lambda f: replace(f, settings=f.settings | {Setting("pb_k3x9m2qd_app_a", "", "work_mem", "1GB")}),
        "work_mem=1GB",
    ),
    "grant": (
        lambda f: replace(f, grants=f.grants | {Grant("SCHEMA", "t_k3x9m2qd", "", ("USAGE",))}),
        "USAGE on schema t_k3x9m2qd for PUBLIC",
    ),
    "schema": (lambda f: replace(f, schemas=frozenset()), "schema t_k3x9m2qd"),
    "defaults": (lambda f: replace(f, default_grants=frozenset()), "default"),
}


@pytest.mark.parametrize(("change", "words"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_a_difference_is_named(change, words):
    found = differences(TENANT, observed(facts=change(wanted(TENANT, NEW))))

    assert found
    assert any(words in text for text in found)


def test_strays_sessions_and_passwords_are_differences():
    closed = replace(TENANT, access="None")
    stray = Stray("pb_zzzzzzzz_r", "table", "t_k3x9m2qd.notes", TENANT.database, inside=True)

    assert differences(TENANT, observed(strays=frozenset({stray}))) == (str(stray),)
    assert "open sessions" in differences(closed, observed(closed, sessions={"pb_k3x9m2qd_app_a": 2}))[0]
    assert differences(TENANT, observed(sessions={"pb_k3x9m2qd_app_a": 2})) == ()
    assert len(differences(TENANT, observed(passwords={}))) == 3
    assert differences(TENANT, observed(passwords=None)) == ()


def test_the_backup_login_is_its_jobs_business():
    facts = wanted(TENANT, NEW)
    backup = Role("pb_k3x9m2qd_bak_a", ("INHERIT", "LOGIN"), 1)
    held = Membership("pb_k3x9m2qd_r", "pb_k3x9m2qd_bak_a")

    seen = replace(facts, roles=facts.roles | {backup}, memberships=facts.memberships | {held})

    assert differences(TENANT, observed(facts=seen)) == ()


def test_another_mark_is_a_conflict():
    role = "role pb_k3x9m2qd_rw"
    for mark in ("", "paybill:inst:uid-2", "paybill:other:uid-1", "mine"):
        assert len(conflicts(TENANT, observed(marks={role: mark}))) == 1
    assert conflicts(TENANT, observed()) == ()


def test_an_observation_does_not_show_verifiers():
    assert "SCRAM" not in repr(observed(passwords={"pb_k3x9m2qd_app_a": "SCRAM-SHA-256$4096:a$b:c"}))


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "K3X9M2QD"},
        {"id": "k3x9m2q'"},
        {"uid": "a:b"},
        {"uid": ""},
        {"connections": 0},
        {"logins": ("bak_a",)},
        {"logins": ("app_c",)},
    ],
)
def test_what_cannot_be_is_invalid(bad):
    with pytest.raises(Invalid):
        replace(TENANT, **bad)


def test_a_pool_is_named_after_its_cell_and_server():
    name = pool_database_name("eu-west-1", "pool-1")

    assert name == pool_database_name("eu-west-1", "pool-1")
    assert name != pool_database_name("eu-west-1", "pool-2")
    assert pool_database_name("a", "bc") != pool_database_name("ab", "c")
    assert PoolDatabase("pool-1", "eu-west-1", name, "Schemas", "inst").name.startswith("pb_pool_")
