"""What the connections of the process are made of, for each world outside: the API server and every Postgres.

The composition root hands these to whoever opens a connection. The tests put their own in, to lose answers, to keep
silent, or to end the process between an effect and its answer; nothing else in the product knows of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import ClientMiddlewareType

from paybill.cluster.session import REQUEST_TIMEOUT
from paybill.postgres import PatientConnection


@dataclass(frozen=True, kw_only=True)
class Doors:
    """How the process reaches what is outside of it."""

    around_requests: tuple[ClientMiddlewareType, ...] = ()
    """aiohttp's middlewares around each request to the API server, the outermost first."""

    request_seconds: float = REQUEST_TIMEOUT
    """How long the API server may take to answer a request."""

    control: type[PatientConnection[Any]] = PatientConnection
    """What a session of the control database is; the audit log writes through the same ones."""

    servers: type[PatientConnection[Any]] = PatientConnection
    """What a session of a tenants' server is."""
