"""``paybill psql``: a session in a tenant's database as one of its logins, without the password on any command line.

The connection comes from the tenant's Secrets, read with the rights of who calls; psql gets it through its
environment, which other users of the machine cannot see. The certificate of the server's authority goes into a file of
its own for as long as psql runs, because libpq takes it from nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
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
from paybill.desired.resource import Key, texts
from paybill.files import write_private
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
        uri, authority = ask(kubeconfig, lambda cluster: _connection(cluster, tenant, login))
        program = _program()
        sys.stdout.flush()
        sys.exit(run([program, *words], uri, authority))


def run(argv: list[str], uri: str, authority: str | None) -> int:
    """Run psql to its end and return its exit status; ``authority``: the certificate (PEM) that vouches for the server.

    Ctrl-C is psql's alone: it cancels a query with it.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with tempfile.TemporaryDirectory(prefix="paybill-psql-") as folder:
            file = None if authority is None else write_private(Path(folder) / "authority.crt", authority)
            code = subprocess.call(argv, env={**os.environ, **environment(uri, file)})  # noqa: S603 - psql, no shell
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def environment(uri: str, authority: Path | None = None) -> Mapping[str, str]:
    """libpq's variables for a connection string, and the file with the certificate of the server's authority.

    Where the server's name must be right and there is no such file, a public authority vouches for it.
    """
    parts = urlsplit(uri)
    query = parse_qs(parts.query)
    mode = query.get("sslmode", ["prefer"])[0]
    root = str(authority) if authority is not None else "system" if mode == "verify-full" else None
    return ({"PGSSLROOTCERT": root} if root is not None else {}) | {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.removeprefix("/"),
        "PGSSLMODE": mode,
    }


async def _connection(cluster: Cluster, name: str, login: str) -> tuple[str, str | None]:
    """The connection string of a login, and the certificate of the server's authority where it has one."""
    status = (await tenant_named(cluster, name)).status
    if status.id is None or status.binding is None or status.namespace is None:
        raise Blocked("NotProvisioned", f"Tenant {name} has no database yet: see `paybill describe {name}`")
    key, field = Key("Secret", status.namespace, status.binding.name), "uri"
    if login != "app":
        key, field = Key("Secret", Settings().namespace, names.provider_binding(status.id)), f"{login}-uri"
    secret = await cluster.get(key)
    data = texts(secret)
    if field not in data:
        raise Blocked("NoLogin", f"{key} has no key {field}: see `paybill describe {name}`")
    return data[field], data.get("ca.crt")


def _program() -> str:
    """psql from PATH, else the one beside the Postgres that `paybill up` runs."""
    if (found := shutil.which("psql")) is not None:
        return found
    from paybill.local import postgres_binaries

    for distribution in asyncio.run(postgres_binaries.find()):
        if (found := shutil.which("psql", path=str(distribution.folder))) is not None:
            return found
    raise Blocked("NoPsql", "there is no psql on this machine: install PostgreSQL's client")
