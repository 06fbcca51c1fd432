"""The instance's certificate authorities, serving and client certificates, and the service accounts' signing key.

Two authorities, because a client certificate that the API server's authority signed must not open etcd, where no
RBAC is. Every identity has a key of its own; all are made on the machine and leave it only by the owner's hand.
Authorities last ten years, certificates one, and a certificate that ends within thirty days is made anew by ``up``.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paybill.local.home import write_private

_AUTHORITY_DAYS = 3650
_CERTIFICATE_DAYS = 365
_RENEW_DAYS = 30
_SERVING_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_SERVING_ADDRESSES = ("127.0.0.1", "::1", "10.0.0.1")


@dataclass(frozen=True)
class Identity:
    """Who a certificate is for: the user and the groups that the API server reads from it."""

    user: str
    groups: tuple[str, ...] = ()
    serving: bool = False
    """Whether it also serves under the local names and addresses."""


ADMIN = Identity("paybill-local-admin", ("system:masters",))
# The group, because one set of rules for all controllers, each with its own service account, would be a second login
# per controller; the name stays, so the audit log shows who it is.
CONTROLLER_MANAGER = Identity("system:kube-controller-manager", ("system:masters",))
_API_SERVER = Identity("kube-apiserver", serving=True)
_ETCD = Identity("etcd", serving=True)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @classmethod
    def named(cls, folder: Path, name: str) -> "Pair":
        """The pair called ``name`` in ``folder``."""
        return cls(folder / f"{name}.crt", folder / f"{name}.key")


@dataclass(frozen=True)
class Certificates:
    """All of an instance's certificates; ``prepare`` makes what is missing or about to end."""

    folder: Path

    @property
    def authority(self) -> Pair:
        """Signs the API server and its clients."""
        return Pair.named(self.folder, "ca")

    @property
    def etcd_authority(self) -> Pair:
        """Signs etcd and its only client."""
        return Pair.named(self.folder, "etcd-ca")

    @property
    def api_server(self) -> Pair:
        """What the API server, and the controller-manager's health page, serve with."""
        return Pair.named(self.folder, "apiserver")

    @property
    def etcd(self) -> Pair:
        """What etcd serves with."""
        return Pair.named(self.folder, "etcd")

    @property
    def etcd_client(self) -> Pair:
        """With what the API server logs in to etcd."""
        return Pair.named(self.folder, "etcd-client")

    @property
    def admin(self) -> Pair:
        """The administrator's login."""
        return Pair.named(self.folder, "admin")

    @property
    def controller_manager(self) -> Pair:
        """The controller-manager's login."""
        return Pair.named(self.folder, "controller-manager")

    @property
    def service_account_key(self) -> Path:
        """Signs service account tokens; its public half lies beside it as ``.pub``."""
        return self.folder / "service-account.key"

    def prepare(self, now: dt.datetime) -> None:
        """Make what is missing, and certificates that end within thirty days of ``now`` (with a time zone)."""
        for authority, name in ((self.authority, "paybill-local"), (self.etcd_authority, "paybill-local-etcd")):
            if not authority.key.exists() or not _lasts(authority.certificate, now):
                _make_authority(authority, name, now)
        for pair, authority, identity in (
            (self.api_server, self.authority, _API_SERVER),
            (self.admin, self.authority, ADMIN),
            (self.controller_manager, self.authority, CONTROLLER_MANAGER),
            (self.etcd, self.etcd_authority, _ETCD),
            (self.etcd_client, self.etcd_authority, Identity("kube-apiserver")),
        ):
            if not pair.key.exists() or not _lasts(pair.certificate, now, signed_by=authority):
                issue(pair, authority, identity, now)
        if not self.service_account_key.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_private(self.service_account_key.with_suffix(".pub"), public)
            write_private(self.service_account_key, _pem(key))


def issue(pair: Pair, authority: Pair, identity: Identity, now: dt.datetime) -> None:
    """Make a key and a certificate for ``identity``, signed by ``authority``, good for a year from ``now``."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    signer = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{authority.key} is not one of our keys")
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.serving:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, identity.user))
    builder = (
        _builder(x509.Name(subject), issuer.subject, key, now, _CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if identity.serving:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in _SERVING_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _SERVING_ADDRESSES]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    write_private(pair.key, _pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _make_authority(pair: Pair, name: str, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, subject, key, now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(pair.key, _pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))  # clocks that were set back a little
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _lasts(path: Path, now: dt.datetime, *, signed_by: Pair | None = None) -> bool:
    """Whether the certificate is there, lasts beyond the renewal time, and still comes from its authority."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    if certificate.not_valid_after_utc < now + dt.timedelta(days=_RENEW_DAYS):
        return False
    if signed_by is None:
        return True
    authority = x509.load_pem_x509_certificate(signed_by.certificate.read_bytes())
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
