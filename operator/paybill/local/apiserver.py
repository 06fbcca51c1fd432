"""The API server's command line: TLS, RBAC, no anonymous requests, and an audit log for those who count requests."""

from pathlib import Path

from paybill.local.certificates import Certificates
from paybill.local.process import Command, command_line

SERVICE_RANGE = "10.0.0.0/24"
ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIT_METADATA_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
# One line per finished request: who, verb, object, result; never a body, so no Secret ends up in the log.
omitStages: [RequestReceived]
rules:
- level: Metadata
"""
# The summed limit is what priority and fairness shares out. The defaults (400 + 200) let one bench run of ours
# starve the controllers beside it; on one machine there are no strangers to protect.
_READS_IN_FLIGHT = 1200
_WRITES_IN_FLIGHT = 600
GARBAGE_PERCENT = "200"
"""Go's own default of 100 spends 15 % of a loaded API server's time on collecting; memory is what one machine has."""


def command(
    binary: Path,
    *,
    log: Path,
    certificates: Certificates,
    port: int,
    etcd_port: int,
    audit_log: Path | None = None,
    audit_policy: Path | None = None,
) -> Command:
    """The command that serves the Kubernetes API on ``port``; with ``audit_log``, requests are logged there."""
    options = {
        "bind-address": "127.0.0.1",
        "secure-port": str(port),
        "advertise-address": "127.0.0.1",
        "endpoint-reconciler-type": "none",  # a loopback address is no valid endpoint
        "etcd-servers": f"https://127.0.0.1:{etcd_port}",
        "etcd-cafile": str(certificates.etcd_authority.certificate),
        "etcd-certfile": str(certificates.etcd_client.certificate),
        "etcd-keyfile": str(certificates.etcd_client.key),
        "tls-cert-file": str(certificates.api_server.certificate),
        "tls-private-key-file": str(certificates.api_server.key),
        "client-ca-file": str(certificates.authority.certificate),
        "authorization-mode": "RBAC",
        "anonymous-auth": "false",
        "profiling": "false",
        "service-account-issuer": ISSUER,
        "service-account-key-file": str(certificates.service_account_key.with_suffix(".pub")),
        "service-account-signing-key-file": str(certificates.service_account_key),
        "service-cluster-ip-range": SERVICE_RANGE,
        "max-requests-inflight": str(_READS_IN_FLIGHT),
        "max-mutating-requests-inflight": str(_WRITES_IN_FLIGHT),
    }
    if audit_log is not None and audit_policy is not None:
        options |= _audited(audit_log, audit_policy)
    environment = {"GOGC": GARBAGE_PERCENT}
    return Command(name="kube-apiserver", argv=command_line([str(binary)], options), log=log, env=environment)


def _audited(log: Path, policy: Path) -> dict[str, str]:
    """Blocking mode: a request is in the log before its answer leaves, so a test can count without waiting."""
    return {
        "audit-log-path": str(log),
        "audit-policy-file": str(policy),
        "audit-log-mode": "blocking",
        "audit-log-maxsize": "0",
    }
