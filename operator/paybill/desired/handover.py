"""What a tenant's app is handed: the Secret that binds it to its database, the ConfigMap of its entitlements.

The Secret follows servicebinding.io, with the extra keys that other operators' users look for. It lives in the
tenant's own namespace, or in the cell's pool namespace when compute is Shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from paybill.desired import names
from paybill.desired.resource import encoded
from paybill.desired.stack import DatabaseOutput, StackOutputs
from paybill.lifecycle.entitlements import Entitlement


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a tenant's database is reached. ``sslmode`` is libpq's."""

    host: str
    port: int
    database: str
    sslmode: str
    ca: str | None = None


def binding_data(endpoint: Endpoint, username: str, password: str) -> dict[str, str]:
    """The keys of the binding Secret, in clear; ``binding`` encodes them."""
    login = f"{quote(username, safe='')}:{quote(password, safe='')}"
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    place = f"{host}:{endpoint.port}/{quote(endpoint.database, safe='')}"
    query = urlencode({"sslmode": endpoint.sslmode})
    jdbc = urlencode({"user": username, "password": password, "sslmode": endpoint.sslmode})
    data = {
        "type": "postgresql",
        "provider": "paybill",
        "host": endpoint.host,
        "port": str(endpoint.port),
        "database": endpoint.database,
        "username": username,
        "password": password,
        "uri": f"postgresql://{login}@{place}?{query}",
        "jdbc-uri": f"jdbc:postgresql://{place}?{jdbc}",
        "sslmode": endpoint.sslmode,
    }
    return data | ({"ca.crt": endpoint.ca} if endpoint.ca else {})


def binding(identity: names.Identity, namespace: str, data: dict[str, str]) -> dict[str, Any]:
    """The binding Secret of one tenant."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.binding(identity.id),
            "namespace": namespace,
            "labels": names.labels(identity),
            "annotations": names.tenant_annotations(identity),
        },
        "type": "servicebinding.io/postgresql",
        "data": encoded(data),
    }


def provider_data(endpoint: Endpoint, logins: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The keys of the provider's Secret: for each login kind (``ro``, ``mig``) its username, password and URI.

    Beside them the certificate of the server's authority, where it has one.
    """
    data: dict[str, str] = {"ca.crt": endpoint.ca} if endpoint.ca else {}
    for kind, (username, password) in sorted(logins.items()):
        full = binding_data(endpoint, username, password)
        data |= {f"{kind}-{name}": full[name] for name in ("username", "password", "uri")}
    return data


def provider_binding(identity: names.Identity, operator_namespace: str, data: dict[str, str]) -> dict[str, Any]:
    """The provider's Secret of one tenant: its migration and read-only logins."""
    secret = binding(identity, operator_namespace, data)
    return {**secret, "metadata": {**secret["metadata"], "name": names.provider_binding(identity.id)}}


def admin_uri(database: DatabaseOutput) -> str:
    """The administrator's connection URI of a tenant's own server.

    Without a certificate of its own authority the server's is a public one's, and libpq has to be told to look there:
    by itself it takes ``~/.postgresql/root.crt`` and refuses to connect where there is none (libpq 16 and newer). For
    verify-ca it takes no public authorities, which would vouch for anybody: that needs a certificate.
    """
    login = f"{quote(database.admin_user, safe='')}:{quote(database.admin_password or '', safe='')}"
    host = f"[{database.host}]" if ":" in database.host else database.host
    query: dict[str, str] = {"sslmode": database.sslmode}
    if database.sslmode == "verify-full" and database.ca is None:
        query["sslrootcert"] = "system"
    return f"postgresql://{login}@{host}:{database.port}/postgres?{urlencode(query)}"


def stack_secret(identity: names.Identity, operator_namespace: str, outputs: StackOutputs) -> dict[str, Any]:
    """What a tenant's own stack handed over, for the operator alone."""
    data = {name: value for name, value in outputs.model_dump(exclude={"database"}).items() if isinstance(value, str)}
    database = outputs.database
    if database is not None and database.admin_password is not None:
        data["admin-uri"] = admin_uri(database)
    if database is not None and database.ca is not None:
        data["ca.crt"] = database.ca
    secret = binding(identity, operator_namespace, data)
    metadata = {**secret["metadata"], "name": names.own_server_secret(identity.id)}
    return {**secret, "metadata": metadata, "type": "Opaque"}


def entitlements(
    identity: names.Identity, namespace: str, phase: str, access: str, granted: Iterable[Entitlement]
) -> dict[str, Any]:
    """The entitlements ConfigMap: the phase, the access it allows and one ``feature.<name>`` key per entitlement."""
    features = {f"feature.{one.name}": one.text for one in granted}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.entitlements(identity.id),
            "namespace": namespace,
            "labels": names.labels(identity),
            "annotations": names.tenant_annotations(identity),
        },
        "data": {"phase": phase, "access": access} | dict(sorted(features.items())),
    }
