"""A connection string becomes psql's environment, so that no password is on a command line."""

import psycopg
import pytest

from paybill.cli.psql import environment
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
