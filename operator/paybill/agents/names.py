"""Every name of the Framework inside a Postgres server.

They begin with ``pba_``, which no tenant's role does, so neither is taken for the other; the tenant's opaque id comes
next. An agent's name is a DNS label of at most 40 characters, so the longest name here has 55 of Postgres' 63 bytes.
"""

from typing import Final

from paybill.desired.sql_names import AGENTS, tenant_id

PREFIX: Final = AGENTS
SCHEMA: Final = "pb"
"""Runs, grants of steps, budgets and the journal."""
TRIGGER: Final = "pba_write"
"""What charges and journals a write, on every table that an agent may write."""
PASS: Final = "pba_pass"  # noqa: S105 - no password
"""The policy that lets everybody who could use a table before row security was enabled go on."""


def keeper(tenant: str) -> str:
    """Owns the schema ``pb`` and what is in it; nobody logs in as it and nobody is its member."""
    return f"{PREFIX}{tenant_id(tenant)}_keeper"


def login(tenant: str, agent: str) -> str:
    """What an agent logs in as."""
    return f"{PREFIX}{tenant_id(tenant)}_a_{agent}"


def gate(tenant: str, agent: str) -> str:
    """Owns the functions that an agent reads and writes through, and holds what these need; nobody logs in as it."""
    return f"{PREFIX}{tenant_id(tenant)}_g_{agent}"


def gates(agent: str) -> str:
    """The schema with these functions."""
    return f"{PREFIX}{agent}"


def counter(agent: str) -> str:
    """The sequence in ``pb`` that counts what an agent has read: no rollback gives back a number."""
    return f"reads_{agent}"


def policy(agent: str, what: str) -> str:
    """A row policy of an agent: ``what`` is open, fence, create or update."""
    return f"{PREFIX}{agent}_{what}"
