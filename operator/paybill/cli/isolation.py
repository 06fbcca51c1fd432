"""``paybill isolation check``: attack the tenants' database servers as a tenant would, and show what came of it.

It asks nobody for a verdict: it reads the Cells and the administrators' URIs with the rights of whoever calls it, makes
two canaries on each server, tries every attack from their logins and removes them again. So it needs to reach the
servers; where only the cluster can, it is called in the operator's pod.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from paybill.api.cell import Cell, ServerHolds
from paybill.api.failures import Failure, Invalid, Retry
from paybill.api.tenant import Tenant
from paybill.cli import isolation_destructive
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, columns, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.databases.server import Server, Session
from paybill.desired import names
from paybill.desired.database_tenant import PoolDatabase
from paybill.desired.resource import Key, texts
from paybill.desired.sql_names import pool_database_name
from paybill.isolation.attacks import Level
from paybill.isolation.check import check as attack
from paybill.isolation.results import Proof, counted
from paybill.settings import from_environment

OWN_ADMIN_KEY, OWN_AUTHORITY_KEY = "admin-uri", "ca.crt"
LEVELS: Mapping[ServerHolds, Level] = {"Rows": "Rows", "Schemas": "Schema", "Databases": "Database"}
"""What the tenants of a server have, by what it holds."""
TURNS = 6
"""How often it is tried to have a server for oneself."""
COLUMNS = ("SERVER", "LEVEL", "NO.", "ATTACK", "RESULT", "EVIDENCE")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server to check, and the Secret with its administrator's URI."""

    cell: str
    server: str
    level: Level
    secret: Key
    field: str

    @property
    def name(self) -> str:
        """As a person says it."""
        return f"{self.cell}/{self.server}"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came of one server: its proof, or why there is none."""

    place: Place
    proof: Proof | None = None
    failure: Failure | None = None
    profile: str | None = None
    version: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is proved that tenants are apart."""
        return self.proof is not None and self.proof.holds

    def wire(self) -> dict[str, object]:
        """As programs read it."""
        failure = self.failure
        return {
            "cell": self.place.cell,
            "server": self.place.server,
            "level": self.place.level,
            "profile": self.profile,
            "version": self.version,
            "isolated": self.holds if self.proof is not None else None,
            "attacks": counted(self.proof.results) if self.proof is not None else None,
            "findings": [
                {"rule": one.rule, "object": one.subject, "wrong": one.broken.wrong, "instead": one.broken.instead}
                for one in (self.proof.findings if self.proof is not None else ())
            ],
            "refused": list(self.proof.refused) if self.proof is not None else [],
            "warnings": list(self.warnings),
            "error": {"reason": failure.reason, "message": failure.message} if failure is not None else None,
        }


@click.group()
def isolation() -> None:
    """Prove that tenants of a shared server cannot reach each other."""


@isolation.command()
@click.option("--cell", metavar="NAME", help="Only the servers of this Cell.")
@click.option("--server", metavar="NAME", help="Only the server of this name.")
@click.option(
    "--destructive",
    is_flag=True,
    help="Attacks 31 to 47 at all four levels, on Postgres servers that are made for it on this machine and thrown "
    "away; no server of a Cell is touched.",
)
@text_output
@kubeconfig_option
def check(*, cell: str | None, server: str | None, destructive: bool, output: str, kubeconfig: Path | None) -> None:
    """Attack every server as a tenant would.

    Exits with 1 when an attack succeeds or cannot be tried, or a shared object breaks a rule.
    """
    if destructive:
        if cell or server:
            raise click.UsageError("--destructive works on servers of its own: name neither a Cell nor a server")
        isolation_destructive.check(output)
        return
    with reported(output):
        checked = ask(kubeconfig, lambda cluster: _check(cluster, cell, server))
    if output == JSON:
        attacks = [result.wire() for one in checked if one.proof is not None for result in one.proof.results]
        click.echo(document({"attacks": attacks, "servers": [one.wire() for one in checked]}))
    else:
        for line in _lines(checked):
            click.echo(line)
    sys.exit(0 if all(one.holds for one in checked) else 1)


async def _check(cluster: Cluster, cell: str | None, server: str | None) -> list[Checked]:
    places = [one for one in await _places(cluster) if cell in (None, one.cell) and server in (None, one.server)]
    if not places:
        asked = " and ".join(f"{what} {name}" for what, name in (("Cell", cell), ("server", server)) if name)
        raise Invalid("NotFound", f"there is no database server to check{f' for {asked}' if asked else ''}")
    return [await _checked(cluster, place) for place in places]


async def _places(cluster: Cluster) -> list[Place]:
    """The servers of the Cells, and those of single tenants."""
    namespace = from_environment().namespace
    found = [
        Place(
            cell=cell.metadata.name,
            server=server.name,
            level=LEVELS[server.holds],
            secret=Key("Secret", namespace, server.admin_secret_ref.name),
            field=server.admin_secret_ref.key,
        )
        for cell in await all_of(cluster, Cell)
        for server in cell.spec.servers
    ]
    for tenant in await all_of(cluster, Tenant):
        status = tenant.status
        if status.id and status.isolation and status.placement and status.isolation.database == "Server":
            secret = Key("Secret", namespace, names.own_server_secret(status.id))
            place, server = status.placement.cell, names.own_server(status.id)
            found.append(Place(cell=place, server=server, level="Server", secret=secret, field=OWN_ADMIN_KEY))
    return found


async def _checked(cluster: Cluster, place: Place) -> Checked:
    try:
        secret = await cluster.get(place.secret)
        uri = _value(secret, place.field)
        if uri is None:
            raise Invalid("SecretMissing", f"server {place.name}: {place.secret} has no key {place.field}")
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as authority:
            if place.level == "Server" and (certificate := _value(secret, OWN_AUTHORITY_KEY)) is not None:
                authority.write(certificate)
                authority.flush()
                uri = f"{uri}&sslrootcert={authority.name}"
            return await _attacked(place, uri)
    except Failure as failure:
        return Checked(place=place, failure=failure)


async def _attacked(place: Place, uri: str) -> Checked:
    settings = from_environment()
    installation = settings.installation
    server = await Server.connect(uri, name=place.name, installation=installation, accepted=settings.accepted_releases)
    pool = PoolDatabase(
        server=place.server,
        cell=place.cell,
        name=pool_database_name(place.cell, place.server),
        holds="Rows" if place.level == "Rows" else "Schemas",
        installation=installation,
    )
    traits = server.traits
    reached = Checked(
        place=place,
        profile=traits.profile,
        version=traits.release,
        warnings=server.warnings,
    )
    try:
        return replace(reached, proof=await _in_turn(server, pool, place.level))
    except Failure as failure:
        return replace(reached, failure=failure)
    finally:
        await server.close()


async def _in_turn(server: Server, pool: PoolDatabase, level: Level) -> Proof:
    """The check, once nobody else makes one there: the operator's takes seconds."""
    for _ in range(TURNS):
        try:
            return await attack(server, pool, level, fence=_alone)
        except Retry as failure:
            if failure.reason != "IsolationCheckRuns":
                raise
            await asyncio.sleep(failure.after or 1.0)
    return await attack(server, pool, level, fence=_alone)


async def _alone(session: Session) -> None:
    """Nobody follows a person who calls a command: the lock of the check is what keeps two apart."""


def _value(secret: dict[str, Any] | None, field: str) -> str | None:
    return texts(secret).get(field, "").strip() or None


def _lines(checked: list[Checked]) -> Iterator[str]:
    rows = [
        (one.place.name, result.level, result.number, result.name, result.result, result.evidence)
        for one in checked
        if one.proof is not None
        for result in one.proof.results
    ]
    if rows:
        yield from columns(COLUMNS, rows)
    for one in checked:
        yield from _verdict(one)


def _verdict(one: Checked) -> Iterator[str]:
    where = f"{one.place.name} (Postgres {one.version}, {one.profile})" if one.version else one.place.name
    if one.proof is None:
        reason = f"{one.failure.reason}: {one.failure.message}" if one.failure is not None else ""
        yield f"{where}: not proved: {reason}"
        return
    numbers = ", ".join(f"{number} {ending}" for ending, number in counted(one.proof.results).items())
    yield f"{where}: {'isolated' if one.holds else 'NOT ISOLATED'}: {numbers}"
    for finding in one.proof.findings:
        yield f"  {finding}: {finding.broken.wrong}; instead: {finding.broken.instead}"
    for said in (*one.proof.refused, *one.warnings):
        yield f"  {said}"
