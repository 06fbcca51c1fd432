"""Certificates are made once, renewed in time, and follow their authority."""

import datetime as dt

import pytest
from cryptography import x509

from paybill.local.certificates import Certificates

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


@pytest.fixture
def certificates(tmp_path):
    made = Certificates(tmp_path)
    made.prepare(NOW)
    return made


def serial(pair):
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number


def test_nothing_changes_while_certificates_last(certificates):
    before = {path: path.read_bytes() for path in certificates.folder.iterdir()}
    certificates.prepare(NOW + dt.timedelta(days=300))
    assert before == {path: path.read_bytes() for path in certificates.folder.iterdir()}


def test_a_certificate_that_ends_within_thirty_days_is_renewed_under_the_same_authority(certificates):
    admin, authority = serial(certificates.admin), serial(certificates.authority)
    certificates.prepare(NOW + dt.timedelta(days=340))
    assert serial(certificates.admin) != admin
    assert serial(certificates.authority) == authority


def test_a_new_authority_brings_new_certificates(certificates):
    admin, etcd = serial(certificates.admin), serial(certificates.etcd)
    certificates.authority.key.unlink()
    certificates.prepare(NOW)
    assert serial(certificates.admin) != admin
    assert serial(certificates.etcd) == etcd


def test_a_broken_certificate_is_made_anew(certificates):
    certificates.admin.certificate.write_text("not a certificate")
    certificates.prepare(NOW)
    assert serial(certificates.admin)


def test_keys_are_readable_by_their_owner_only(certificates):
    assert {path.stat().st_mode & 0o077 for path in certificates.folder.iterdir()} == {0}


def test_the_admin_is_in_the_group_that_rbac_lets_do_everything(certificates):
    subject = x509.load_pem_x509_certificate(certificates.admin.certificate.read_bytes()).subject
    assert [each.value for each in subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)] == ["system:masters"]
