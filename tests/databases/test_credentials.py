"""Passwords become verifiers here, and the verifiers are Postgres' own."""

import pytest

from paybill.databases.credentials import is_verifier, new_password, scram_verifier, verifies
from tests.databases.servers import start


def test_a_verifier_verifies_its_password_only():
    password = new_password()
    verifier = scram_verifier(password)

    assert is_verifier(verifier)
    assert verifies(password, verifier)
    assert not verifies(password + "x", verifier)
    assert password not in verifier


def test_the_same_password_never_has_the_same_verifier():
    assert scram_verifier("same") != scram_verifier("same")
    assert scram_verifier("same", salt=b"0" * 16) == scram_verifier("same", salt=b"0" * 16)


def test_libpq_makes_the_same_verifier():
    at = start("Superuser", 18)
    with at.superuser() as session:
        theirs = session.pgconn.encrypt_password(b"pencil", b"anyone", b"scram-sha-256").decode()
    assert is_verifier(theirs)
    assert verifies("pencil", theirs)
    assert not verifies("Pencil", theirs)


def test_the_server_makes_the_same_verifier():
    at = start("Superuser", 18)
    at.run("DROP ROLE IF EXISTS probe; CREATE ROLE probe PASSWORD 'pencil'")
    [(stored,)] = at.run("SELECT rolpassword FROM pg_authid WHERE rolname = 'probe'")
    assert verifies("pencil", stored)


@pytest.mark.parametrize(
    "text", ["", "hunter2", "md5" + "0" * 32, "SCRAM-SHA-256$4096:x", "SCRAM-SHA-256$4096:YQ==$YQ==:YQ==' ;"]
)
def test_other_texts_are_no_verifiers(text):
    assert not is_verifier(text)
    assert not verifies("hunter2", text)


@pytest.mark.parametrize("password", ["", "pass\u00e9", "tab\there"])
def test_passwords_that_would_need_normalising_are_refused(password):
    with pytest.raises(ValueError, match="ASCII"):
        scram_verifier(password)


def test_no_password_is_seen_in_the_servers_log():
    at = start("Superuser", 18)
    password = new_password()
    at.run("DROP ROLE IF EXISTS logged; CREATE ROLE logged LOGIN")
    with at.superuser() as session:
        session.execute("SET log_statement = 'all'")
        session.execute(f"ALTER ROLE logged PASSWORD '{scram_verifier(password)}'")
    log = (at.process.folder / "log").read_text()
    assert "ALTER ROLE logged PASSWORD" in log
    assert password not in log
