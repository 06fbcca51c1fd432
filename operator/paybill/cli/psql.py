"""``paybill psql``: a session in a tenant's database as one of its logins, without the password on any command line.

The connection comes from the tenant's Secrets, read with the rights of who calls; psql gets it through its
environment, which other users of the machine cannot see.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import click

from paybill.api.failures import Blocked
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import tenant_named
from paybill.cli.output import reported
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.settings import Settings

LOGINS = ("app", "ro", "mig")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("tenant")
@click.option(
    "--login",
    type=click.Choice(LOGINS),
    default="app",
    show_default=True,
    help="app: what the tenant's app may. ro: reads. mig: makes tables.",
)
@kubeconfig_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- PSQL OPTIONS]")
def psql(*, tenant: str, login: str, kubeconfig: Path | None, words: tuple[str, ...]) -> None:
    """Open psql in TENANT's database: paybill psql acme -- -c 'SELECT 1'."""
    with reported("text"):
        uri = ask(kubeconfig, lambda cluster: _uri(cluster, tenant, login))
        program = _program()
        sys.stdout.flush()
        os.execve(program, [program, *words], {**os.environ, **environment(uri)})  # noqa: S606 - no shell is wanted


def environment(uri: str) -> Mapping[str, str]:
    """libpq's variables for a connection string."""
    parts = urlsplit(uri)
    query = parse_qs(parts.query)
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.removeprefix("/"),
        "PGSSLMODE": query.get("sslmode", ["prefer"])[0],
    }


async def _uri(cluster: Cluster, name: str, login: str) -> str:
    status = (await tenant_named(cluster, name)).status
    if status.id is None or status.binding is None or status.namespace is None:
        raise Blocked("NotProvisioned", f"Tenant {name} has no database yet: see `paybill describe {name}`")
    key, field = Key("Secret", status.namespace, status.binding.name), "uri"
    if login != "app":
        key, field = Key("Secret", Settings().namespace, names.provider_binding(status.id)), f"{login}-uri"
    secret = await cluster.get(key)
    if secret is None or field not in (secret.get("data") or {}):
        raise Blocked("NoLogin", f"{key} has no key {field}: see `paybill describe {name}`")
    return base64.b64decode(secret["data"][field]).decode()


def _program() -> str:
    """psql from PATH, else the one beside the Postgres that `paybill up` runs."""
    if (found := shutil.which("psql")) is not None:
        return found
    from paybill.local import postgres_binaries

    for distribution in asyncio.run(postgres_binaries.find()):
        if (found := shutil.which("psql", path=str(distribution.folder))) is not None:
            return found
    raise Blocked("NoPsql", "there is no psql on this machine: install PostgreSQL's client")
