"""What the gateway is given: a folder with one set of files for each agent of one tenant, as a mounted Secret has them.

    AGENT.policy.yaml       its AgentPolicy
    AGENT.schema.json       the tables that the policy was compiled against (agents/facts.py, Schema)
    AGENT.uri               how its login reaches the database
    ca.crt                  the authority of that database's server, where it has one of its own

That is the Secret of desired/agent_files.py. An agent's name has no dot, so a file's begins with it. An agent that
reads its columns itself (``reads: Grant``) is none of the gateway's, which calls gates and nothing else. The files are
read again while the gateway runs, because logins are rotated and policies change; whatever cannot be read leaves what
was there before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import ValidationError

from paybill.agents import names
from paybill.agents.facts import Schema
from paybill.api.agent_policy import AgentPolicy, AgentPolicySpec
from paybill.api.failures import Invalid
from paybill.desired.agent_files import AUTHORITY, POLICY, SCHEMA, URI
from paybill.gateway.toolbox import Toolbox, toolbox

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of one file; a Secret has 1 MiB."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """One agent: what it may do and how its login reaches the database."""

    policy: AgentPolicySpec
    schema: Schema
    uri: str = field(repr=False)
    toolbox: Toolbox

    @property
    def name(self) -> str:
        """Its name."""
        return self.policy.agent


def differ_in_password(one: Agent, other: Agent) -> bool:
    """Whether nothing but the password of the login is another one, so that its sessions can go on."""
    places = [{**conninfo_to_dict(agent.uri), "password": None} for agent in (one, other)]
    return one.policy == other.policy and places[0] == places[1] and one.uri != other.uri


@dataclass(frozen=True)
class Mounted:
    """All agents of the tenant by name, and by the user name of each ServiceAccount."""

    agents: Mapping[str, Agent]
    subjects: Mapping[str, Agent]
    digest: str

    def agent_of(self, user: str) -> Agent | None:
        """Whose calls those of this user are; None: nobody's."""
        return self.subjects.get(user)


def digest_of(folder: Path) -> str:
    """The hash of all files: whether anything changed."""
    whole = hashlib.sha256()
    for path in _files(folder):
        whole.update(f"{path.name}\0{hashlib.sha256(_bytes(path)).hexdigest()}\n".encode())
    return whole.hexdigest()


def read(folder: Path, tenant: str) -> Mounted:
    """The agents of ``tenant`` (its opaque id). Raises Invalid with the file that is wrong, and nothing out of it."""
    before = digest_of(folder)
    agents: dict[str, Agent] = {}
    subjects: dict[str, Agent] = {}
    for path in _files(folder):
        if path.name.endswith(POLICY):
            agent = _agent(path, tenant)
            if agent is None:
                continue
            agents[agent.name] = agent
            for subject in agent.policy.subjects:
                user = subject.service_account.username
                if user in subjects:
                    raise Invalid(
                        "SubjectOfTwoAgents", f"{user} is a subject of agent {subjects[user].name} and of {agent.name}"
                    )
                subjects[user] = agent
    return Mounted(agents, subjects, before)


def _files(folder: Path) -> list[Path]:
    try:
        # Kubernetes' own names in a mounted volume begin with dots.
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError as error:
        raise Invalid("MountUnreadable", f"the folder {folder} cannot be read: {error.strerror}") from None


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise Invalid("MountUnreadable", f"{path.name} has more than {LARGEST} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Invalid("MountUnreadable", f"{path.name} cannot be read: {error.strerror}") from None


def _agent(path: Path, tenant: str) -> Agent | None:
    name = path.name.removesuffix(POLICY)
    policy = _policy(path)
    if policy.agent != name:
        raise Invalid("MountUnreadable", f"{path.name} holds the policy of agent {policy.agent}")
    if policy.enforcement.reads != "Gate":
        return None
    try:
        schema = Schema.model_validate_json(_bytes(path.with_name(name + SCHEMA)))
    except ValidationError:
        raise Invalid("MountUnreadable", f"{name}{SCHEMA} holds no tables") from None
    uri = _bytes(path.with_name(name + URI)).decode(errors="replace").strip()
    _checked(uri, names.login(tenant, name), name)
    uri = _with_authority(uri, path.with_name(AUTHORITY))
    return Agent(policy=policy, schema=schema, uri=uri, toolbox=toolbox(policy, schema))


def _with_authority(uri: str, file: Path) -> str:
    """The connection string, with the certificate that is beside it; one that names its own keeps that."""
    if not file.is_file() or conninfo_to_dict(uri).get("sslrootcert"):
        return uri
    return make_conninfo(uri, sslrootcert=str(file))


def _policy(path: Path) -> AgentPolicySpec:
    try:
        written = yaml.safe_load(_bytes(path))
    except yaml.YAMLError:
        raise Invalid("MountUnreadable", f"{path.name} is no YAML") from None
    if not isinstance(written, dict):
        raise Invalid("MountUnreadable", f"{path.name} holds no AgentPolicy")
    return AgentPolicy.read(written).spec


def _checked(uri: str, login: str, name: str) -> None:
    """A gateway that was given another login than the agent's would be a way around everything."""
    try:
        user = str(conninfo_to_dict(uri).get("user") or "")
    except ProgrammingError:
        # libpq's message may quote the password.
        raise Invalid("MountUnreadable", f"{name}{URI} holds no connection string that can be read") from None
    if user != login and not user.startswith(f"{login}_"):
        raise Invalid("MountUnreadable", f"{name}{URI} is not of the login of agent {name}")
