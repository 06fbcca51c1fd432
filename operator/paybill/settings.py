"""Everything that can be set from outside, read once from the environment at start, for the operator and the receiver.

Each field is one variable, ``PAYBILL_`` and its name in capitals. What belongs to a tenant, a plan or a cell is not
here but on its object. Secrets come as files, because an environment is readable by whoever can look at the process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from paybill.api.failures import Invalid
from paybill.api.rules import LABEL_PATTERN, LABEL_WORDS
from paybill.desired import gateway
from paybill.desired.gateway import GatewayPods
from paybill.desired.job import OperationPods, pods_of
from paybill.lifecycle.signup import Signup, signup_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The operator's settings."""

    namespace: str = "paybill-system"
    """The operator's own namespace: its Lease, the Plans' revisions, the Secrets that Cells refer to."""

    installation: str = "paybill"
    """The mark on all that this installation makes. A cluster has one installation, and so has a Postgres server."""

    service_account: str = "paybill-operator"
    """The ServiceAccount the operator runs as; it binds this account in each tenant's namespace."""

    control_database_file: Path | None = None
    """A file that holds the URI of the control database."""

    control_database_url: str = ""
    """The URI itself, where a file is not at hand. The file wins."""

    workers: int = 16
    """How many reconciles run at a time."""

    database_resync_seconds: float = 60.0
    """How often the catalogs of each database server are compared with what is declared."""

    isolation_settle_seconds: float = 30.0
    """How long a database server is left alone before its isolation is first proved; spread to twice as long."""

    accept_postgres: str = ""
    """Releases such as "16.4,17.0" that are refused because they do not keep tenants apart, and taken all the same."""

    lease_seconds: float = 10.0
    """How long the Lease holds when its holder falls silent; it is renewed four times as often."""

    settle_seconds: float = 2.0
    """How long a suspension or deletion waits after it fell due, so that a mass change shows before it is done."""

    suspensions_per_hour: int | None = None
    """How many suspensions this operator begins in an hour over all its Cells; absent: each Cell's own limit alone."""

    deletions_per_hour: int | None = None
    """The same for deletions of tenants' data: drops, archives and last backups."""

    embedded_home: Path | None = None
    """The folder of the tenants' own Postgres servers on this machine; absent: a Cell cannot use engine Embedded."""

    backup_folder: Path | None = None
    """The folder of the backups of Cells whose store is a Directory; absent: a Cell cannot use one."""

    operations_folder: Path | None = None
    """Where operations of engines work: a private folder that outlives the operator; absent: one in the temporary
    folder, and an operation of an operator that was killed is recovered instead of taken over."""

    operation_pods: OperationPods | None = None
    """What pods of operations are made of where a Cell has runner Job, in JSON: image, resources and what else the
    chart's operations say; absent: no Cell can have it."""

    agent_gateway: GatewayPods | None = None
    """What the gateways of tenants' agents are made of, in JSON: image, resources and what else the chart's
    agents.gateway says; absent: the operator runs none, and keeps what one would be given."""

    stripe_key_file: Path | None = None
    """A file with the key of Stripe's API (sk_… or rk_…); absent: a Subscription cannot have provider Stripe."""

    stripe_account: str = ""
    """The connected account (acct_…) that is asked; absent: the key's own."""

    stripe_url: str = "https://api.stripe.com"
    """Where Stripe's API is."""

    stripe_poll_seconds: float = 300.0
    """How often Stripe is asked for events that did not come by the webhook."""

    stripe_pause_hours: float = 0.0
    """How long a tenant must be impossible to make until Stripe is told to pause collecting for it; 0: Paybill changes
    nothing at Stripe."""

    signup: Signup | None = None
    """The template of those who sign up by paying at a Stripe checkout, in JSON: plans and what else the chart's signup
    says; absent: nobody can, and the operator may not make a Tenant."""

    events_url: str = ""
    """Where each transition of a contract is sent to, as a CloudEvent; absent: nobody is told, and nothing is kept."""

    events_secret_file: Path | None = None
    """A file with the secret that those messages are signed by: whsec_ and base64."""

    webhook_role: str = ""
    """The role of `paybill webhook` in the control database; it is granted to add to the inbox, and nothing else."""

    metrics_port: int = 0
    """The port of /metrics, /healthz, /standbyz and /readyz; 0 picks a free one and logs it."""

    metrics_host: str = "127.0.0.1"
    """The address /metrics listens on; the chart sets 0.0.0.0."""

    tenant_metrics: bool = False
    """Whether /metrics shows what each tenant uses: four series per tenant, so not for fleets of thousands."""

    log_format: str = "json"
    """json or text."""

    log_level: str = "INFO"
    """The standard library's level name."""

    @property
    def accepted_releases(self) -> frozenset[str]:
        """The releases of Postgres that are taken knowingly."""
        return frozenset(word.strip() for word in self.accept_postgres.split(",") if word.strip())

    def control_database(self) -> str:
        """The URI of the control database; raises Invalid when none is set."""
        return _control_database(self.control_database_file, self.control_database_url)


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """The settings of the webhook receiver."""

    installation: str = "paybill"
    """The operator's installation, whose inbox it is."""

    control_database_file: Path | None = None
    """A file that holds the URI of the control database, with the receiver's own role (`PAYBILL_WEBHOOK_ROLE`)."""

    control_database_url: str = ""
    """The URI itself, where a file is not at hand. The file wins."""

    stripe_signing_file: Path | None = None
    """A file with the endpoint's signing secret (whsec_…); two, one a line, while one takes over from the other."""

    stripe_live: bool = True
    """Whether events of live mode are taken, and those of test mode refused; false: the other way round."""

    stripe_account: str = ""
    """The connected account (acct_…) that events must be of; absent: the account's own events."""

    webhook_port: int = 0
    """The port that Stripe's events come to, at /stripe; 0 picks a free one and logs it."""

    webhook_host: str = "127.0.0.1"
    """The address of that port; the chart sets 0.0.0.0."""

    metrics_port: int = 0
    """The port of /metrics, /healthz and /readyz; 0 picks a free one and logs it."""

    metrics_host: str = "127.0.0.1"
    """The address /metrics listens on; the chart sets 0.0.0.0."""

    log_format: str = "json"
    """json or text."""

    log_level: str = "INFO"
    """The standard library's level name."""

    def control_database(self) -> str:
        """The URI of the control database; raises Invalid when none is set."""
        return _control_database(self.control_database_file, self.control_database_url)


def _control_database(file: Path | None, url: str) -> str:
    if file is not None:
        return file.read_text().strip()
    if url:
        return url
    raise Invalid(
        "NoControlDatabase",
        "set PAYBILL_CONTROL_DATABASE_FILE to a file with the URI of a Postgres database (any version from 15)",
    )


def _whether(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


_READERS: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "int | None": _count,
    "float": float,
    "bool": _whether,
    "Path | None": Path,
    "OperationPods | None": pods_of,
    "GatewayPods | None": gateway.pods_of,
    "Signup | None": signup_of,
}


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The operator's settings; raises Invalid that names the variable and the value."""
    return Settings(**_read(Settings, environment))  # type: ignore[arg-type]  # each went through its field's reader


def webhook_from_environment(environment: Mapping[str, str] = os.environ) -> WebhookSettings:
    """The webhook receiver's settings; raises Invalid that names the variable and the value."""
    return WebhookSettings(**_read(WebhookSettings, environment))  # type: ignore[arg-type]  # as above


def _read(kind: type[Settings | WebhookSettings], environment: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for field in fields(kind):
        variable = f"PAYBILL_{field.name.upper()}"
        text = environment.get(variable)
        if not text:
            continue
        try:
            values[field.name] = _READERS[str(field.type)](text)
        except ValueError:
            raise Invalid("InvalidSetting", f"{variable}={text!r} is not a {field.type}") from None
    if not re.fullmatch(r"([0-9]{2}\.[0-9]{1,3}( *, *[0-9]{2}\.[0-9]{1,3})*)?", str(values.get("accept_postgres", ""))):
        said = values["accept_postgres"]
        raise Invalid("InvalidSetting", f"PAYBILL_ACCEPT_POSTGRES={said!r} must be releases, such as 16.4,17.0")
    mark = str(values.get("installation", Settings.installation))
    if len(mark) > 63 or not re.fullmatch(LABEL_PATTERN, mark):
        raise Invalid("InvalidSetting", f"PAYBILL_INSTALLATION={mark!r} must be a label's value: {LABEL_WORDS}")
    return values
