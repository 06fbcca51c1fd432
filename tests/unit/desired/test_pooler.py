"""The files of a pooler: read back as they were written, with nobody's line able to be another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.failures import Blocked, Invalid
from paybill.databases.credentials import scram_verifier
from paybill.desired.pooler import DATABASES, RULES, USERS, Alias, console_login, files, parse

VERIFIER = scram_verifier("secret", iterations=16)
ADMIN = ("console", VERIFIER)
ACME = Alias(id="k3x9m2qd", host="db.example.com", port=5432, database="pb_pool_0123456789ab", mode="Transaction",
             most=20, users=(("pb_k3x9m2qd_app_a", VERIFIER),))  # fmt: skip

aliases = st.builds(
    Alias,
    id=st.from_regex("[0-9a-z]{8}", fullmatch=True),
    host=st.sampled_from(["127.0.0.1", "fd00::7", "/var/run/postgresql", "pool-1.db.svc"]),
    port=st.integers(min_value=1, max_value=65_535),
    database=st.from_regex("pb_t_[0-9a-z]{8}", fullmatch=True),
    mode=st.sampled_from(["Session", "Transaction"]),
    most=st.integers(min_value=1, max_value=10_000),
).flatmap(
    lambda one: st.sets(st.sampled_from("ab")).map(
        lambda slots: replace(one, users=tuple((f"pb_{one.id}_app_{slot}", VERIFIER) for slot in sorted(slots)))
    )
)


@given(st.lists(aliases, max_size=4))
def test_what_was_written_is_read_back(found):
    wanted = {one.id: one for one in found}
    data = files(wanted.values(), ADMIN)

    assert parse(data) == (wanted, ADMIN)
    assert files(reversed(list(wanted.values())), ADMIN) == data, "whatever the order"


def test_the_files_as_they_are():
    data = files([ACME], ADMIN)
    assert data[DATABASES] == (
        "t_k3x9m2qd = host=db.example.com port=5432 dbname=pb_pool_0123456789ab pool_mode=transaction pool_size=20"
        " max_db_connections=20\n"
    )
    assert data[USERS] == f'"console" "{VERIFIER}"\n"pb_k3x9m2qd_app_a" "{VERIFIER}"\n'
    assert data[RULES].splitlines() == [
        "host pgbouncer console 0.0.0.0/0 scram-sha-256",
        "host pgbouncer console ::/0 scram-sha-256",
        "host t_k3x9m2qd pb_k3x9m2qd_app_a 0.0.0.0/0 scram-sha-256",
        "host t_k3x9m2qd pb_k3x9m2qd_app_a ::/0 scram-sha-256",
    ]


def test_who_has_no_login_has_no_rule_that_lets_everybody_in():
    assert "t_k3x9m2qd" not in files([replace(ACME, users=())], ADMIN)[RULES]


@pytest.mark.parametrize("host", ["a b", "a,b", "a\nb", "a'b", ""])
def test_a_host_that_would_be_more_than_a_host_is_refused(host):
    with pytest.raises(Invalid, match="PgBouncer"):
        replace(ACME, host=host)


@pytest.mark.parametrize("login", ["", "Console", "a b", 'a"b', "pb_k3x9m2qd_app_a"])
def test_a_console_login_that_a_file_cannot_name_is_refused(login):
    with pytest.raises(Invalid, match="plain name"):
        console_login(login)


def test_more_than_a_secret_holds_is_refused():
    many = [replace(ACME, id=f"{number:08}", users=((f"pb_{number:08}_app_a", VERIFIER),)) for number in range(3000)]
    files(many[:2300], ADMIN)
    with pytest.raises(Blocked, match="more than 1000000"):
        files(many, ADMIN)


def test_lines_of_others_are_dropped():
    data = files([ACME], ADMIN)
    noise = {name: f"# hello\n{text}stranger = host=evil\n" for name, text in data.items()}
    assert parse(noise) == ({ACME.id: ACME}, ADMIN)
