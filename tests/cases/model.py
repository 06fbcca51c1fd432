"""What a case is: an object that the API server must take or refuse, with the reason for having it in the table.

The same tables serve the unit tests (which look for rules that no case reaches) and the tests against a real API
server (which apply every case), so a rule cannot be written without being seen to fire.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from paybill.api.kinds import BY_KIND

Object = dict[str, Any]


class Case(NamedTuple):
    """One write: ``refused`` is part of the answer's message, ``None`` when the object must be accepted."""

    kind: str
    reason: str
    object: Object
    refused: str | None


class Change(NamedTuple):
    """One update of an object that exists: ``before`` with ``status``, then ``after``."""

    kind: str
    reason: str
    before: Object
    after: Object
    refused: str | None
    status: Object | None = None


def named(kind: str, name: str, spec: Object) -> Object:
    """An object of ``kind``."""
    return {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
