"""What the commands about agents read: a tenant's database by a file with a connection string, and objects in files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import yaml

from paybill.api.agent_policy import AgentPolicy, AgentPolicySpec
from paybill.api.agent_workflow import AgentWorkflow, AgentWorkflowSpec
from paybill.api.failures import Invalid
from paybill.databases.failures import as_failure
from paybill.databases.server import Session
from paybill.postgres import PatientConnection


@contextlib.asynccontextmanager
async def connected(database: Path, uri: str) -> AsyncIterator[Session]:
    """A session by the connection string that ``database`` holds; raises ``Invalid("BadDsn")``."""
    with as_failure(database.name):
        try:
            session = await PatientConnection.connect(uri, autocommit=True, connect_timeout=5)
        except psycopg.ProgrammingError:
            # libpq's message may quote the part it could not read, and that part may be the password.
            raise Invalid("BadDsn", f"{database} holds no connection string that can be read") from None
        async with session:
            yield session


def policy_of(path: Path) -> AgentPolicySpec:
    """The AgentPolicy in a file; raises ``Invalid("InvalidObject")``."""
    return AgentPolicy.read(_object(path, "AgentPolicy")).spec


def workflow_of(path: Path) -> AgentWorkflowSpec:
    """The AgentWorkflow in a file; raises ``Invalid("InvalidObject")``."""
    return AgentWorkflow.read(_object(path, "AgentWorkflow")).spec


def _object(path: Path, kind: str) -> dict[str, Any]:
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Invalid("InvalidObject", f"{path} is no YAML") from error
    if not isinstance(written, dict):
        raise Invalid("InvalidObject", f"{path} holds no {kind}")
    return written
