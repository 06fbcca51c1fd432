"""Where libpq finds the public certificate authorities."""

from __future__ import annotations

import ssl

import pytest

from paybill.databases import authorities

PATHS = ssl.DefaultVerifyPaths("/etc/all.pem", "/etc/each", "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")


@pytest.mark.parametrize(
    ("before", "known", "after"),
    [
        ({}, PATHS, {"SSL_CERT_FILE": "/etc/all.pem", "SSL_CERT_DIR": "/etc/each"}),
        ({}, PATHS._replace(cafile=None), {"SSL_CERT_DIR": "/etc/each"}),
        ({}, PATHS._replace(cafile=None, capath=None), {}),
        ({"SSL_CERT_FILE": "/ours"}, PATHS, {"SSL_CERT_FILE": "/ours"}),
        ({"SSL_CERT_DIR": "/ours"}, PATHS, {"SSL_CERT_DIR": "/ours"}),
    ],
    ids=["both", "a folder alone", "a machine without any", "a file was named", "a folder was named"],
)
def test_the_systems_are_named_unless_somebody_named_others(monkeypatch, before, known, after):
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: known)
    authorities.show_the_systems(before)
    assert before == after
