"""The Secret with everything that a tenant's gateway is given: for each agent that is let in, three files.

    AGENT.policy.yaml       its AgentPolicy
    AGENT.schema.json       the tables that its policy was carried out with
    AGENT.uri               how its login reaches the database

One Secret per tenant, because one gateway serves a tenant, and it is mounted whole: an agent is there as long as it has
files. It lives in the operator's namespace. In the tenant's own its owners read and write Secrets
(desired/permissions.py): they could act as an agent, and the journal would say that the agent did it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import yaml

from paybill.api.agent_policy import AgentPolicy
from paybill.api.failures import Blocked
from paybill.desired import names
from paybill.desired.handover import Endpoint, binding_data
from paybill.desired.resource import encoded

POLICY: Final = ".policy.yaml"
SCHEMA: Final = ".schema.json"
URI: Final = ".uri"
AUTHORITY: Final = "ca.crt"
"""The certificate of the database server's authority, where it has one of its own."""
LARGEST: Final = 1_000_000
"""Bytes of all files together: what a Secret holds (1 MiB), and a little less."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One agent: ``tables`` is the JSON of the tables that its policy names, ``password`` its login's."""

    policy: AgentPolicy
    tables: str
    endpoint: Endpoint
    login: str
    password: str = field(repr=False)


def files(entry: Entry) -> dict[str, str]:
    """The files of one agent, in clear."""
    policy, agent = entry.policy, entry.policy.spec.agent
    written = {
        "apiVersion": policy.api_version,
        "kind": policy.kind,
        "metadata": {"name": policy.metadata.name, "namespace": policy.metadata.namespace},
        "spec": policy.spec.wire(),
    }
    found = {
        agent + POLICY: yaml.safe_dump(written, sort_keys=True),
        agent + SCHEMA: entry.tables,
        agent + URI: _uri(entry),
    }
    return found | ({AUTHORITY: entry.endpoint.ca} if entry.endpoint.ca else {})


def _uri(entry: Entry) -> str:
    """Without an authority of its own the server's certificate is a public one's, which libpq has to be told."""
    endpoint = entry.endpoint
    uri = binding_data(endpoint, entry.login, entry.password)["uri"]
    return f"{uri}&sslrootcert=system" if endpoint.sslmode == "verify-full" and endpoint.ca is None else uri


def let_in(data: Mapping[str, str], entry: Entry) -> dict[str, str]:
    """The Secret's data with this agent in it; raises Blocked when that is more than a Secret holds."""
    agent = entry.policy.spec.agent
    whole = shut_out(data, agent) | files(entry)
    size = sum(len(name) + len(text.encode()) for name, text in whole.items())
    if size > LARGEST:
        raise Blocked(
            "AgentsTooLarge",
            f"with agent {agent} the policies and tables of the tenant's agents take {size} bytes, and a Secret holds"
            f" {LARGEST}: name fewer tables, or remove another AgentPolicy",
        )
    return whole


def shut_out(data: Mapping[str, str], agent: str) -> dict[str, str]:
    """The Secret's data without this agent; nothing at all when it was the last one."""
    mine = {agent + POLICY, agent + SCHEMA, agent + URI}
    left = {name: text for name, text in data.items() if name not in mine}
    return left if agents(left) else {}


def agents(data: Mapping[str, str]) -> tuple[str, ...]:
    """The agents that are let in."""
    return tuple(sorted(name.removesuffix(URI) for name in data if name.endswith(URI)))


def password(data: Mapping[str, str], agent: str) -> str:
    """The password of an agent's login; "" where it is not let in, or somebody wrote what is no URI."""
    try:
        return unquote(urlsplit(data.get(agent + URI, "")).password or "")
    except ValueError:
        return ""


def secret(identity: names.Identity, operator_namespace: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The Secret of one tenant's agents."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.agents(identity.id),
            "namespace": operator_namespace,
            "labels": names.labels(identity),
            "annotations": names.tenant_annotations(identity),
        },
        "type": "Opaque",
        "data": encoded(dict(sorted(data.items()))),
    }
