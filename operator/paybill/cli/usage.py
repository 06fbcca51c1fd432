"""How to use a running instance: lines that work when pasted into a shell on this machine.

Passwords stay in their Secrets: a line reads the connection string when it runs. Where kubectl is missing, Paybill's
own commands do the same.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paybill.desired import names
from paybill.local.home import DEFAULT_NAME
from paybill.settings import Settings

if TYPE_CHECKING:
    from paybill.local.agents_demo import Shown
    from paybill.local.board import Row
    from paybill.local.running import RunningInstance

_TABLE = "CREATE TABLE IF NOT EXISTS notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)"
_INSERT = "INSERT INTO notes (body) VALUES ($$hello$$) RETURNING *"
_PAID = '{"spec":{"payment":{"paidUntilTime":"2099-01-01T00:00:00Z"}}}'


@dataclass(frozen=True, kw_only=True)
class Use:
    """One thing to do, and the line that does it."""

    what: str
    line: str


def usage(instance: RunningInstance, rows: Sequence[Row], agents: Shown | None = None) -> tuple[Use, ...]:
    """The lines for an instance, the tenants that are in it, and the agents that were shown."""
    found = [
        Use(what="this shell uses this cluster", line=f"export KUBECONFIG={shlex.quote(str(instance.kubeconfig))}")
    ]
    kubectl, paybill = shutil.which("kubectl") is not None, own_command()
    if kubectl:
        found.append(Use(what="the objects", line="kubectl get tenants,subscriptions"))
    found.append(Use(what="the tenants with what comes next", line=f"{paybill} tenants"))
    found += _on_tenants(rows, kubectl=kubectl, paybill=paybill, instance=instance)
    found += _on_agents(agents, kubectl=kubectl, paybill=paybill) if agents is not None else ()
    name = instance.home.name
    if name == DEFAULT_NAME:
        found.append(Use(what="whether the log of all that was done is whole", line=f"{paybill} audit verify"))
    if instance.psql:
        found.append(Use(what="the Postgres server as its superuser", line=instance.psql))
    down = f"{paybill} down" if name == DEFAULT_NAME else f"{paybill} down --name {name}"
    found.append(Use(what="stop it; its data stays", line=down))
    return tuple(found)


def own_command() -> str:
    """How this very program is called from the user's shell."""
    called = shutil.which(sys.argv[0])
    if called is None or Path(called).name not in {"paybill", "kubectl-paybill"}:
        return f"{shlex.quote(sys.executable)} -m paybill"
    on_path = shutil.which("paybill")
    same = on_path is not None and Path(on_path).resolve() == Path(called).resolve()
    return "paybill" if same else shlex.quote(str(Path(called).absolute()))


def _on_tenants(rows: Iterable[Row], *, kubectl: bool, paybill: str, instance: RunningInstance) -> Iterator[Use]:
    trial = next((row for row in rows if row.phase == "Trialing"), None)
    if trial is not None:
        yield Use(
            what=f"what will become of {trial.tenant} if it never pays", line=f"{paybill} forecast {trial.tenant}"
        )
    user = next((row for row in rows if row.ready and row.phase == "Active" and row.database == "Schema"), None)
    if user is not None:
        mig, app = (_psql(user, login, kubectl=kubectl, paybill=paybill, instance=instance) for login in ("mig", "app"))
        yield Use(what=f"{user.tenant}'s database, as its migrations", line=f"{mig} -c {shlex.quote(_TABLE)}")
        yield Use(what="the same as its app", line=f"{app} -c {shlex.quote(_INSERT)}")
    stopped = next((row for row in rows if row.phase == "Suspended" and row.subscription), None)
    if stopped is not None and kubectl:
        patch = f"kubectl patch subscription {stopped.subscription} --type merge -p {shlex.quote(_PAID)}"
        yield Use(what=f"{stopped.tenant} pays: it resumes with the same logins", line=patch)


def _on_agents(agents: Shown, *, kubectl: bool, paybill: str) -> Iterator[Use]:
    if kubectl:
        line = f"kubectl get agentpolicies,agentworkflows,agentruns --namespace {agents.namespace}"
        yield Use(what=f"{agents.tenant}'s agent: its policy, workflows and runs", line=line)
    database = shlex.quote(str(agents.database))
    yield Use(what="everything that agents did", line=f"{paybill} agents journal {database}")
    replay = f"{paybill} agents replay {database} --run {agents.runs[0]}"
    yield Use(what="whether the refund was just what its workflow comes to", line=replay)


def _psql(row: Row, login: str, *, kubectl: bool, paybill: str, instance: RunningInstance) -> str:
    """A session of one login of one tenant."""
    if not kubectl or row.id is None:
        return f"{paybill} psql {row.tenant} --login {login} --"
    secret, namespace, key = row.binding, row.namespace, "uri"
    if login != "app":
        secret, namespace, key = names.provider_binding(row.id), Settings().namespace, f"{login}-uri"
    template = f'{{{{index .data "{key}" | base64decode}}}}'
    uri = f"kubectl get secret {secret} --namespace {namespace} --output go-template={shlex.quote(template)}"
    return f'{_program(instance)} "$({uri})"'


def _program(instance: RunningInstance) -> str:
    """psql as the shell finds it, else the one beside the instance's Postgres."""
    if shutil.which("psql") is not None or not instance.psql:
        return "psql"
    words = shlex.split(instance.psql)
    return shlex.quote(next(word for word in words if "=" not in word))
