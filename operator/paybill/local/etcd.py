"""etcd's command line: one member, reached only with a certificate of its own authority."""

from pathlib import Path

from paybill.local.certificates import Certificates
from paybill.local.process import Command, command_line

# Twice etcd's default: ten thousand tenants with their objects and the events of a bench run fit.
_QUOTA_BYTES = 4 * 1024**3


def command(
    binary: Path, *, data: Path, log: Path, certificates: Certificates, port: int, peer_port: int, fsync: bool = True
) -> Command:
    """The command that serves ``data`` on ``port``.

    ``fsync=False`` may lose data when the machine (not the process) crashes; for tests and benches only.
    """
    client, peer = f"https://127.0.0.1:{port}", f"https://127.0.0.1:{peer_port}"
    options = {
        "name": "local",
        "data-dir": str(data),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"local={peer}",
        "client-cert-auth": "true",
        "trusted-ca-file": str(certificates.etcd_authority.certificate),
        "cert-file": str(certificates.etcd.certificate),
        "key-file": str(certificates.etcd.key),
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": str(certificates.etcd_authority.certificate),
        "peer-cert-file": str(certificates.etcd.certificate),
        "peer-key-file": str(certificates.etcd.key),
        "quota-backend-bytes": str(_QUOTA_BYTES),
        "log-level": "warn",
    }
    if not fsync:
        options["unsafe-no-fsync"] = "true"
    return Command(name="etcd", argv=command_line([str(binary)], options), log=log)
