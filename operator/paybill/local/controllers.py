"""The controller-manager's command line: the controllers that tenancy needs, at a speed that fits one machine.

Left out is what belongs to nodes, volumes, load balancers and services, none of which exist here.
"""

from pathlib import Path

from paybill.local.certificates import Certificates
from paybill.local.process import Command, command_line

CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "resourcequota-controller",
    "clusterrole-aggregation-controller",  # fills admin, edit and view
    "validatingadmissionpolicy-status-controller",  # type-checks our admission policies
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "cronjob-controller",
    "disruption-controller",
    "ttl-after-finished-controller",
)
STOCK_QPS = 20
STOCK_BURST = 30
RAISED_QPS = 300
RAISED_BURST = 600


def command(
    binary: Path,
    *,
    log: Path,
    kubeconfig: Path,
    certificates: Certificates,
    port: int,
    qps: int = RAISED_QPS,
    burst: int = RAISED_BURST,
) -> Command:
    """The command that runs the controllers; ``port`` serves its health page only.

    ``qps`` and ``burst`` bound each controller's requests. With the stock 20 and 30, about 20 quotas a second become
    enforced, with 300 and 600 about 146 (measured, docs/concepts): a bench prints both.
    """
    options = {
        "kubeconfig": str(kubeconfig),
        "controllers": ",".join(CONTROLLERS),
        "bind-address": "127.0.0.1",
        "secure-port": str(port),
        "tls-cert-file": str(certificates.api_server.certificate),
        "tls-private-key-file": str(certificates.api_server.key),
        "leader-elect": "false",
        "profiling": "false",
        "use-service-account-credentials": "false",
        "service-account-private-key-file": str(certificates.service_account_key),
        "root-ca-file": str(certificates.authority.certificate),
        "kube-api-qps": str(qps),
        "kube-api-burst": str(burst),
    }
    return Command(name="kube-controller-manager", argv=command_line([str(binary)], options), log=log)
