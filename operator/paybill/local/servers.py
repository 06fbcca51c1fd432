"""The four servers of an instance as children to start: where the parts' command lines meet home, ports and logins."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paybill.local import account as accounts
from paybill.local import apiserver, controllers, etcd, kubeconfig, postgres, postgres_binaries, probes
from paybill.local.binaries import Binaries
from paybill.local.certificates import CONTROLLER_MANAGER, Certificates, Pair
from paybill.local.children import Child, Probe
from paybill.local.home import Home, write_private

PORT_NAMES = ("api", "etcd", "etcd-peer", "controllers", "postgres")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an instance is run; every field has the value that users get."""

    audit_log: Path | None = None
    """A file that gets one JSON line per API request, never a body."""
    controllers_qps: int = controllers.RAISED_QPS
    controllers_burst: int = controllers.RAISED_BURST
    fsync: bool = True
    """Off, etcd and Postgres forget recent writes when the machine crashes: for tests and benches."""
    postgres: bool = True


@dataclass(frozen=True)
class Servers:
    """Makes the children; starting them in order is instance.py's."""

    home: Home
    ports: Mapping[str, int]
    options: Options

    @property
    def certificates(self) -> Certificates:
        """The instance's certificates."""
        return Certificates(self.home.certificates)

    @property
    def api_url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self.ports['api']}"

    def render_kubeconfig(self, login: Pair, user: str) -> str:
        """A kubeconfig of this instance for ``user``, logging in with ``login``."""
        authority = self.certificates.authority.certificate
        return kubeconfig.render(
            api_url=self.api_url, authority=authority, login=login, cluster=f"paybill-{self.home.name}", user=user
        )

    def write_files(self) -> None:
        """Write what the servers and their users read: kubeconfigs and the audit policy."""
        write_private(self.home.kubeconfig, self.render_kubeconfig(self.certificates.admin, "admin"))
        login = self.render_kubeconfig(self.certificates.controller_manager, CONTROLLER_MANAGER.user)
        write_private(self._controllers_kubeconfig, login)
        write_private(self._audit_policy, apiserver.AUDIT_METADATA_POLICY)

    @property
    def _controllers_kubeconfig(self) -> Path:
        return self.home.path / "controller-manager.kubeconfig"

    @property
    def _audit_policy(self) -> Path:
        return self.home.path / "audit-policy.yaml"

    def etcd(self, binaries: Binaries) -> Child:
        """etcd, ready when it has a leader (itself) and serves reads."""
        command = etcd.command(
            binaries.etcd,
            data=self.home.etcd,
            log=self.home.logs / "etcd.log",
            certificates=self.certificates,
            port=self.ports["etcd"],
            peer_port=self.ports["etcd-peer"],
            fsync=self.options.fsync,
        )
        authority = self.certificates.etcd_authority.certificate
        context = probes.client_context(authority=authority, login=self.certificates.etcd_client)
        return Child(command, ready=probes.https_ok(self.ports["etcd"], "/readyz", context))

    def api_server(self, binaries: Binaries) -> Child:
        """The API server, ready when it says so: its built-in roles and namespaces are there then."""
        command = apiserver.command(
            binaries.kube_apiserver,
            log=self.home.logs / "kube-apiserver.log",
            certificates=self.certificates,
            port=self.ports["api"],
            etcd_port=self.ports["etcd"],
            audit_log=self.options.audit_log,
            audit_policy=self._audit_policy,
        )
        return Child(command, ready=self._admin_probe("api", "/readyz"))

    def controllers(self, binaries: Binaries) -> Child:
        """The controller-manager, ready when its controllers run."""
        command = controllers.command(
            binaries.kube_controller_manager,
            log=self.home.logs / "kube-controller-manager.log",
            kubeconfig=self._controllers_kubeconfig,
            certificates=self.certificates,
            port=self.ports["controllers"],
            qps=self.options.controllers_qps,
            burst=self.options.controllers_burst,
        )
        return Child(command, ready=self._admin_probe("controllers", "/healthz"))

    def _admin_probe(self, port: str, path: str) -> Probe:
        authority = self.certificates.authority.certificate
        context = probes.client_context(authority=authority, login=self.certificates.admin)
        return probes.https_ok(self.ports[port], path, context)

    async def postgres(self) -> tuple[Child, postgres.Server, str | None]:
        """Postgres with its data made, what it is, and a warning about its version if there is one."""
        account = accounts.unprivileged_account()
        data = accounts.data_folder(self.home.postgres, account)
        chosen = postgres_binaries.choose(await postgres_binaries.find(), postgres_binaries.major_of(data))
        distribution = await asyncio.to_thread(postgres_binaries.within_reach, chosen, account)
        server = await postgres.prepare(
            self.home, distribution, data, port=self.ports["postgres"], account=account, fsync=self.options.fsync
        )
        command = postgres.command(server, log=self.home.logs / "postgres.log", fsync=self.options.fsync)
        return Child(command, ready=probes.postgres_ok(server.dsn)), server, chosen.warning
