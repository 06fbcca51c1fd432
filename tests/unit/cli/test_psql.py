"""A connection string becomes psql's environment, so that no password is on a command line."""

import sys
from pathlib import Path

import psycopg
import pytest

from paybill.cli.psql import environment, run
from paybill.desired.handover import Endpoint, binding_data


@pytest.mark.parametrize("password", ["plain", "p@ss:w/rd%?#&'\" ü"])
def test_the_environment_says_what_the_connection_string_says(password):
    uri = binding_data(Endpoint(host="127.0.0.1", port=5433, database="pb_x", sslmode="disable"), "t_a", password)[
        "uri"
    ]
    expected = psycopg.conninfo.conninfo_to_dict(uri)
    assert environment(uri) == {
        "PGHOST": expected["host"],
        "PGPORT": expected["port"],
        "PGUSER": expected["user"],
        "PGPASSWORD": password,
        "PGDATABASE": expected["dbname"],
        "PGSSLMODE": expected["sslmode"],
    }


def test_without_a_certificate_a_public_authority_vouches_for_a_name_that_must_be_right():
    endpoint = Endpoint(host="db.example.com", port=5432, database="pb_x", sslmode="verify-full")
    assert environment(binding_data(endpoint, "t_a", "x")["uri"])["PGSSLROOTCERT"] == "system"


@pytest.mark.parametrize(("ends", "expected"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 15)", 128 + 15)])
def test_the_authoritys_certificate_is_in_a_private_file_for_as_long_as_psql_runs(capfd, ends, expected):
    endpoint = Endpoint(host="db", port=5432, database="pb_x", sslmode="verify-ca", ca="PEM")
    script = "import os, sys; p = os.environ['PGSSLROOTCERT']; print(p, open(p).read(), oct(os.stat(p).st_mode)[-3:])"

    code = run(
        [sys.executable, "-c", f"{script}; sys.stdout.flush(); {ends}"],
        binding_data(endpoint, "t_a", "x")["uri"],
        endpoint.ca,
    )

    path, content, mode = capfd.readouterr().out.split()
    assert (code, content, mode) == (expected, "PEM", "600")
    assert not Path(path).parent.exists()
