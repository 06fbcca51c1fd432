"""What was observed of thousands of tenants, kept so that tenants who have the same cost next to nothing.

One tenant's roles, memberships, settings and grants are some forty facts and 15 kB. Between two tenants of one Plan
they differ by the id in every name and by the mark in the comments. With both taken out all such tenants share one
observation; what is left of each is its mark and its logins' verifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, fields, replace
from typing import Any

from paybill.desired.database_facts import Facts, ObservedDatabase

_ID = "\0"
"""Stands for the tenant's id. Postgres knows no such character, so what is put back is exactly what was taken out."""
_SHARED_AT_MOST = 1024
_FIELDS: dict[type[Any], tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class _Sight:
    """One tenant: the observation it shares, and what is its own."""

    shared: ObservedDatabase
    mark: str | None
    """The comment on everything of the tenant; None when they differ, then the shared part holds them."""
    verifiers: tuple[str, ...] | None
    """The passwords of the logins that the shared part names, in that order."""
    sessions: dict[str, int] | None


class Sights(MutableMapping[str, ObservedDatabase]):
    """Observations by tenant id; each is put together when it is asked for."""

    def __init__(self) -> None:
        self._sights: dict[str, _Sight] = {}
        self._shared: dict[tuple[Any, ...], ObservedDatabase] = {}

    def __getitem__(self, tenant_id: str) -> ObservedDatabase:
        sight = self._sights[tenant_id]
        shared = sight.shared
        marks = shared.marks if sight.mark is None else dict.fromkeys(shared.marks, sight.mark)
        passwords = None
        if sight.verifiers is not None and shared.passwords is not None:
            passwords = dict(zip(_named(shared.passwords, _ID, tenant_id), sight.verifiers, strict=True))
        return ObservedDatabase(
            id=tenant_id,
            traits=shared.traits,
            facts=_named(shared.facts, _ID, tenant_id),
            marks={_named(what, _ID, tenant_id): mark for what, mark in marks.items()},
            strays=_named(shared.strays, _ID, tenant_id),
            sessions=dict(sight.sessions or {}),
            passwords=passwords,
        )

    def __setitem__(self, tenant_id: str, observed: ObservedDatabase) -> None:
        self._sights[tenant_id] = self._sight(observed)

    def __delitem__(self, tenant_id: str) -> None:
        del self._sights[tenant_id]

    def __contains__(self, tenant_id: object) -> bool:
        return tenant_id in self._sights

    def __iter__(self) -> Iterator[str]:
        return iter(self._sights)

    def __len__(self) -> int:
        return len(self._sights)

    def take(self, tenant_id: str, observed: ObservedDatabase) -> bool:
        """Put an observation; whether it is another than before, whoever has a session open."""
        before, after = self._sights.get(tenant_id), self._sight(observed)
        self._sights[tenant_id] = after
        return before is None or replace(before, sessions=None) != replace(after, sessions=None)

    def connected(self, sessions: dict[str, dict[str, int]]) -> None:
        """Take up who has how many sessions open now: tenant id → login → number."""
        for tenant_id, sight in self._sights.items():
            now = sessions.get(tenant_id)
            if sight.sessions != now:
                self._sights[tenant_id] = replace(sight, sessions=now)

    def _sight(self, observed: ObservedDatabase) -> _Sight:
        marks = set(observed.marks.values())
        mark = marks.pop() if len(marks) == 1 else None
        named = {
            _named(what, observed.id, _ID): "" if mark is not None else words
            for what, words in sorted(observed.marks.items())
        }
        passwords = observed.passwords
        logins = sorted(passwords) if passwords is not None else []
        shared = ObservedDatabase(
            id=_ID,
            traits=observed.traits,
            facts=_named(observed.facts, observed.id, _ID),
            marks=named,
            strays=_named(observed.strays, observed.id, _ID),
            passwords=dict.fromkeys(_named(tuple(logins), observed.id, _ID), "") if passwords is not None else None,
        )
        verifiers = tuple(passwords[login] for login in logins) if passwords is not None else None
        return _Sight(self._share(shared), mark, verifiers, dict(observed.sessions) or None)

    def _share(self, shared: ObservedDatabase) -> ObservedDatabase:
        # What is not shared costs its memory, no more: forgetting all of it now and then keeps this from growing.
        if len(self._shared) >= _SHARED_AT_MOST:
            self._shared.clear()
        passwords = None if shared.passwords is None else tuple(shared.passwords)
        key = (shared.traits, shared.facts, tuple(shared.marks.items()), shared.strays, passwords)
        return self._shared.setdefault(key, shared)


def _named(value: Any, old: str, new: str) -> Any:
    """A fact, or a collection of facts, with one id in place of another."""
    match value:
        case str():
            return value.replace(old, new)
        case Facts():
            return Facts(*(_named(getattr(value, name), old, new) for name in _fields(Facts)))
        case frozenset():
            return frozenset(_named(one, old, new) for one in value)
        case tuple():
            return tuple(_named(one, old, new) for one in value)
        case dict():
            return {_named(name, old, new): one for name, one in value.items()}
        case bool() | int() | None:
            return value
        case _:
            return type(value)(*(_named(getattr(value, name), old, new) for name in _fields(type(value))))


def _fields(kind: type[Any]) -> tuple[str, ...]:
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return known
