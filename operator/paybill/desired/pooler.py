"""What a Cell's PgBouncer is configured with: an alias for each tenant, its logins with their verifiers, and its rule.

One alias per tenant, because PgBouncer pauses, counts and limits by database: so a tenant's move stops that tenant
alone, and its limit holds over both slots of its login. A rule lets nobody else use an alias, and so use it up. The
verifiers are those that the servers have, letter by letter: PgBouncer then logs in with what the client proved to know,
and holds no password (pgbouncer.ini, auth_file).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from paybill.api.cell import Pooler
from paybill.api.failures import Blocked, Invalid
from paybill.desired import names
from paybill.desired import sql_names as sql
from paybill.desired.handover import Endpoint
from paybill.desired.resource import encoded

DATABASES: Final = "databases.ini"
USERS: Final = "userlist.txt"
RULES: Final = "hba.conf"
LARGEST: Final = 1_000_000
"""Bytes of all files together: what a Secret holds (1 MiB), and a little less."""

PoolMode = Literal["Session", "Transaction"]

_DATABASE = re.compile(
    r"t_(?P<id>[0-9a-z]{8}) = host=(?P<host>\S+) port=(?P<port>[0-9]+) dbname=(?P<database>[0-9a-z_]+)"
    r" pool_mode=(?P<mode>session|transaction) pool_size=(?P<most>[0-9]+) max_db_connections=(?P=most)"
)
_USER = re.compile(r'"(?P<login>pb_(?P<id>[0-9a-z]{8})_app_[ab])" "(?P<verifier>SCRAM-SHA-256\$[^"\s]+)"')
_ADMIN = re.compile(r'"(?P<login>[^"\s]+)" "(?P<verifier>SCRAM-SHA-256\$[^"\s]+)"')


@dataclass(frozen=True, kw_only=True)
class Alias:
    """One tenant's entry: where its database is, and the logins that may use it with their verifiers, by name."""

    id: str
    host: str
    port: int
    database: str
    mode: PoolMode
    most: int
    users: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        # What libpq takes for several hosts, or a host with a blank, would be another line of the file.
        if not re.fullmatch(r"[-.:0-9A-Za-z_/]+", self.host):
            raise Invalid("BadPoolerHost", f"PgBouncer cannot be told to connect to host {self.host!r}")

    @property
    def name(self) -> str:
        """The name that clients connect to, whatever the database behind it is."""
        return sql.schema(self.id)

    def line(self) -> str:
        """Its line of ``databases.ini``."""
        return (
            f"{self.name} = host={self.host} port={self.port} dbname={self.database} pool_mode={self.mode.lower()}"
            f" pool_size={self.most} max_db_connections={self.most}"
        )

    def rule(self) -> str:
        """Its lines of ``hba.conf``: its own logins, and nobody else's."""
        return _rule(self.name, ",".join(sorted(login for login, _ in self.users)))


def _rule(database: str, logins: str) -> str:
    # Until 1.21 PgBouncer does not know the address "all".
    return "".join(f"host {database} {logins} {anywhere} scram-sha-256\n" for anywhere in ("0.0.0.0/0", "::/0"))


def console_login(login: str) -> str:
    """The console's login, if the files can name it; raises Invalid."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", login) or login.startswith("pb_"):
        raise Invalid("BadPoolerLogin", "the console's login must be a plain name in small letters, and no tenant's")
    return login


def endpoint(pooler: Pooler, tenant_id: str) -> Endpoint:
    """Where a tenant's app reaches its database."""
    sslmode = {"Disabled": "disable", "Preferred": "prefer", "Required": "require"}[pooler.tls]
    return Endpoint(host=pooler.host, port=pooler.port, database=sql.schema(tenant_id), sslmode=sslmode)


def files(aliases: Iterable[Alias], admin: tuple[str, str]) -> dict[str, str]:
    """The files; ``admin`` is the console's login with its verifier. Raises Blocked when they are too large."""
    ordered = sorted(aliases, key=lambda alias: alias.id)
    databases = "".join(f"{alias.line()}\n" for alias in ordered)
    users = "".join(f'"{login}" "{verifier}"\n' for alias in ordered for login, verifier in sorted(alias.users))
    rules = "".join(alias.rule() for alias in ordered if alias.users)
    found = {
        DATABASES: databases,
        USERS: f'"{admin[0]}" "{admin[1]}"\n{users}',
        RULES: f"{_rule('pgbouncer', admin[0])}{rules}",
    }
    size = sum(map(len, found.values()))
    if size > LARGEST:
        raise Blocked("PoolerFull", f"{len(ordered)} tenants behind one pooler take {size} bytes, more than {LARGEST}")
    return found


def parse(data: Mapping[str, str]) -> tuple[dict[str, Alias], tuple[str, str] | None]:
    """What ``files`` wrote: the aliases by tenant id and the console's login; any other line is dropped."""
    found: dict[str, Alias] = {}
    for line in data.get(DATABASES, "").splitlines():
        if (match := _DATABASE.fullmatch(line)) is not None:
            mode: PoolMode = "Session" if match["mode"] == "session" else "Transaction"
            found[match["id"]] = Alias(
                id=match["id"], host=match["host"], port=int(match["port"]), database=match["database"], mode=mode,
                most=int(match["most"]),
            )  # fmt: skip
    admin: tuple[str, str] | None = None
    for line in data.get(USERS, "").splitlines():
        user, other = _USER.fullmatch(line), _ADMIN.fullmatch(line)
        if user is not None and user["id"] in found:
            alias = found[user["id"]]
            found[alias.id] = replace(alias, users=(*alias.users, (user["login"], user["verifier"])))
        elif user is None and other is not None:
            admin = (other["login"], other["verifier"])
    return found, admin


def secret(cell: str, namespace: str, installation: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The Secret that a Cell's PgBouncer mounts."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.pooler(cell),
            "namespace": namespace,
            "labels": names.cell_labels(cell, installation),
        },
        "type": "Opaque",
        "data": encoded(dict(sorted(data.items()))),
    }
