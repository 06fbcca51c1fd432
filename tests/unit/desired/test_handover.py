"""What a tenant's app is handed: it must open its database with it as it is, whatever the password holds."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from paybill.desired import handover
from paybill.desired.stack import DatabaseOutput
from tests.unit.desired.tenants import ACME, ENDPOINT, ENTITLEMENTS


@pytest.mark.parametrize("host", ["10.20.30.40", "pg.databases.svc", "fd00::7"])
@pytest.mark.parametrize("password", ["plain", "p@ss:w/rd?#[]", "50% of 100%", "späce and ünicode", "'\"\\"])
def test_libpq_reads_the_uri_as_it_was_meant(host, password):
    data = handover.binding_data(replace(ENDPOINT, host=host), "pb_k3x9m2qd_app", password)
    assert conninfo_to_dict(data["uri"]) == {
        "host": host,
        "port": "5432",
        "dbname": "pb_k3x9m2qd",
        "user": "pb_k3x9m2qd_app",
        "password": password,
        "sslmode": "verify-full",
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_any_password_survives_the_uri_and_the_jdbc_uri(password):
    data = handover.binding_data(ENDPOINT, "app", password)
    assert conninfo_to_dict(data["uri"])["password"] == password
    jdbc = urlsplit(data["jdbc-uri"].removeprefix("jdbc:"))
    assert parse_qs(jdbc.query, keep_blank_values=True) == {
        "user": ["app"],
        "password": [password],
        "sslmode": ["verify-full"],
    }


def test_the_keys_are_those_of_the_specification_and_the_certificate_only_where_there_is_one():
    keys = {"type", "provider", "host", "port", "database", "username", "password", "uri", "jdbc-uri", "sslmode"}
    assert set(handover.binding_data(ENDPOINT, "app", "x")) == keys | {"ca.crt"}
    assert set(handover.binding_data(replace(ENDPOINT, ca=None), "app", "x")) == keys


def test_the_secret_holds_the_data_encoded_and_its_type_says_what_it_is():
    secret = handover.binding(ACME, "somewhere", {"password": "ü"})
    assert base64.b64decode(secret["data"]["password"]).decode() == "ü"
    assert (secret["type"], secret["metadata"]["namespace"]) == ("servicebinding.io/postgresql", "somewhere")


def test_the_provider_keeps_its_logins_at_home_and_apart():
    data = handover.provider_data(ENDPOINT, {"ro": ("r", "x"), "mig": ("m", "y")})
    logins = {f"{kind}-{key}" for kind in ("ro", "mig") for key in ("username", "password", "uri")}
    assert set(data) == logins | {"ca.crt"}
    assert set(handover.provider_data(replace(ENDPOINT, ca=None), {"ro": ("r", "x"), "mig": ("m", "y")})) == logins
    assert conninfo_to_dict(data["mig-uri"])["user"] == "m"
    secret = handover.provider_binding(ACME, "home", data)
    assert secret["metadata"] | {"labels": None, "annotations": None} == {
        "name": "t-k3x9m2qd-db-provider",
        "namespace": "home",
        "labels": None,
        "annotations": None,
    }


def test_the_entitlements_are_text_in_order_beside_phase_and_access():
    made = handover.entitlements(ACME, "somewhere", "PastDue", "full", reversed(ENTITLEMENTS))
    assert list(made["data"].items()) == [
        ("phase", "PastDue"),
        ("access", "full"),
        ("feature.region", "eu"),
        ("feature.seats", "40"),
        ("feature.sso", "true"),
    ]


def test_a_feature_cannot_take_the_place_of_phase_or_access():
    granted = [replace(ENTITLEMENTS[0], name=name, value="full") for name in ("access", "phase")]
    made = handover.entitlements(ACME, "somewhere", "Suspended", "suspended", granted)
    assert (made["data"]["phase"], made["data"]["access"]) == ("Suspended", "suspended")


@pytest.mark.parametrize(
    ("sslmode", "ca", "sslrootcert", "why"),
    [
        ("verify-full", None, "system", "a public authority's: libpq looks for a file in the home folder by itself"),
        ("verify-full", "PEM", None, "the certificate is put in a file, which is named then"),
        ("verify-ca", None, None, "libpq takes no public authorities for it: they would vouch for anybody"),
        ("verify-ca", "PEM", None, "the certificate is put in a file, which is named then"),
        ("require", None, None, "nobody is checked"),
        ("disable", None, None, "nobody is checked"),
    ],
)
def test_the_administrator_checks_who_answers_by_the_right_authority(sslmode, ca, sslrootcert, why):
    given = DatabaseOutput(host="db.example", admin_user="paybill", admin_password="x/y", sslmode=sslmode, ca=ca)
    read = conninfo_to_dict(handover.admin_uri(given))
    assert (read["host"], read["user"], read["password"]) == ("db.example", "paybill", "x/y")
    assert (read["sslmode"], read.get("sslrootcert")) == (sslmode, sslrootcert), why
