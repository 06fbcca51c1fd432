"""Which of a login's two slots is in use, and when the other takes over: the anchors and what follows from them. Pure.

A password is never changed under those who use it. The idle slot is made a login with a new password, it is logged in
with, and only then do the Secrets name it; the old slot stays open beside it until nobody is in it any more, or until
its time is over. On suspicion it is closed at once. All of it follows from moments in the registry, so that a crash
anywhere is mended by deciding again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from paybill.api.failures import Invalid
from paybill.lifecycle.phases import Access

Kind = Literal["app", "ro", "mig"]

KINDS: Final[tuple[Kind, ...]] = ("app", "ro", "mig")
SPREAD = 0.25
"""The greatest share of the span by which a tenant's turn comes later: those made on one day do not rotate together."""
AGAIN = timedelta(minutes=10)
"""Until a new login is tried again that the server refused."""
SOONEST = timedelta(minutes=1)
LOOKS = 0.25
"""An old slot that is in use is looked at again after this share of the time that it has been old."""
SUSPECTED = "suspected"
_TIMES: Final = frozenset({"since", "filling", "replaced", "asked", "refused"})


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a cell rotates: every so often (None: on demand only), and how long the old slot stays beside the new."""

    every: timedelta | None = None
    min_overlap: timedelta = timedelta(hours=1)
    max_overlap: timedelta = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Login:
    """One kind of login. ``since``: when its slot was handed out, None for the one that the tenant came with.

    ``filling``: since when the idle slot is being made a login. ``replaced``: when the slot in use took over from the
    other, which is still open. ``asked``: a person wants it rotated, ``suspected`` because somebody else may have it.
    ``refused``: when the server last refused a new login, and ``because`` of what.
    """

    slot: str = "a"
    since: datetime | None = None
    filling: datetime | None = None
    replaced: datetime | None = None
    asked: datetime | None = None
    suspected: bool = False
    refused: datetime | None = None
    because: str = ""

    @property
    def other(self) -> str:
        """The slot that is idle, or on its way in or out."""
        return "b" if self.slot == "a" else "a"

    @property
    def handed(self) -> str:
        """The slot whose password the Secret holds, or is about to."""
        return self.slot if self.filling is None else self.other

    @property
    def leaving(self) -> str | None:
        """The slot that is open though no Secret names it any more, or soon."""
        if self.filling is not None:
            return self.slot
        return self.other if self.replaced is not None else None


@dataclass(frozen=True, kw_only=True)
class Logins:
    """All of a tenant's logins; ``acknowledged`` is the last request of a person that was taken up."""

    app: Login = field(default_factory=Login)
    ro: Login = field(default_factory=Login)
    mig: Login = field(default_factory=Login)
    acknowledged: str = ""

    def of(self, kind: Kind) -> Login:
        """The login of a kind."""
        found: Login = getattr(self, kind)
        return found

    def each(self, kinds: Collection[Kind] = KINDS) -> Iterator[tuple[Kind, Login]]:
        """The logins of these kinds with their names, always in the same order."""
        return ((kind, self.of(kind)) for kind in KINDS if kind in kinds)

    def changed(self, kinds: Collection[Kind], **changes: Any) -> Logins:
        """The same with anchors of some logins changed."""
        return self.put({kind: replace(one, **changes) for kind, one in self.each(kinds)})

    def put(self, logins: Mapping[Kind, Login]) -> Logins:
        """The same with some logins in place of what they were."""
        given: dict[str, Any] = {str(kind): one for kind, one in logins.items()}
        return replace(self, **given)

    @property
    def filling(self) -> tuple[Kind, ...]:
        """The kinds whose idle slot is being made a login."""
        return tuple(kind for kind, one in self.each() if one.filling is not None)

    @property
    def replaced(self) -> tuple[Kind, ...]:
        """The kinds whose old slot is open beside the new one."""
        return tuple(kind for kind, one in self.each() if one.replaced is not None)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What follows the tenant's id in the names of all open slots."""
        return tuple(f"{kind}_{slot}" for kind, one in self.each() for slot in (one.handed, one.leaving) if slot)

    @property
    def leaving(self) -> tuple[str, ...]:
        """Those among ``suffixes`` whose passwords are nobody's to hand out any more."""
        return tuple(f"{kind}_{one.leaving}" for kind, one in self.each() if one.leaving)


class Step(StrEnum):
    """What is to be done about a login now."""

    FILL = "Fill"
    ABANDON = "Abandon"
    CLOSE = "Close"


def kinds(level: str) -> tuple[Kind, ...]:
    """The kinds of login at a level: tables that tenants share are nobody's to migrate."""
    return tuple(kind for kind in KINDS if kind != "mig" or level != "Rows")


def opened(access: Access) -> tuple[Kind, ...]:
    """The kinds that may log in: only what can be logged in with can be proved to work."""
    return {Access.FULL: KINDS, Access.READ_ONLY: KINDS[:2], Access.NONE: ()}[access]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for: which logins, and whether somebody else may have them."""

    kinds: tuple[Kind, ...]
    suspected: bool = False


def turns(
    logins: Logins, schedule: Schedule, wanted: Mapping[Kind, datetime], now: datetime, *, open_: Collection[Kind],
    sessions: Mapping[Kind, int],
) -> dict[Kind, Step]:  # fmt: skip
    """What is to be done now, by kind. ``wanted``: whose turn comes when; ``open_``: who may log in.

    ``sessions``: how many there are in old slots; a kind that nobody has looked at is not in it.
    """
    found: dict[Kind, Step] = {}
    for kind, one in logins.each():
        if one.filling is not None:
            turn = None if kind in open_ else Step.ABANDON
        elif one.replaced is not None:
            gone = sessions.get(kind) == 0 and now >= one.replaced + schedule.min_overlap
            turn = Step.CLOSE if one.suspected or gone or now >= closes(one, schedule) else None
        else:
            turn = Step.FILL if kind in open_ and kind in wanted and wanted[kind] <= now else None
        if turn is not None:
            found[kind] = turn
    return found


def taken(logins: Logins, turn: Step, chosen: Collection[Kind], now: datetime) -> Logins:
    """The logins after a turn of some of them."""
    match turn:
        case Step.FILL:
            return logins.changed(chosen, filling=now)
        case Step.ABANDON:
            return logins.changed(chosen, filling=None)
        case Step.CLOSE:
            return logins.put({
                kind: replace(one, replaced=None, suspected=one.suspected and one.asked is not None)
                for kind, one in logins.each(chosen)
            })  # fmt: skip


def switched(logins: Logins, now: datetime) -> Logins:
    """Every login that was filled is in use from now on: it was logged in with, and the Secrets name it."""
    return logins.put({
        kind: replace(one, slot=one.other, since=now, filling=None, replaced=now, asked=None, refused=None, because="")
        for kind, one in logins.each(logins.filling)
    })  # fmt: skip


def refused(logins: Logins, because: str, now: datetime) -> Logins:
    """One of those that were filled does not work: all stay with what they have, for now."""
    return logins.changed(logins.filling, filling=None, refused=now, because=because)


def asked(logins: Logins, value: str, request: Request, level: str, now: datetime) -> Logins:
    """A person's request is taken up: the same annotation asks for nothing again."""
    meant = [kind for kind in request.kinds if kind in kinds(level)]
    logins = logins.changed(meant, asked=now, refused=None, because="")
    if request.suspected:
        logins = logins.changed(meant, suspected=True)
    return replace(logins, acknowledged=value)


def closes(login: Login, schedule: Schedule) -> datetime:
    """When the old slot is closed at the latest, whoever is in it; of a login that was replaced."""
    assert login.replaced is not None  # noqa: S101 - of a login that was replaced
    return login.replaced + max(schedule.min_overlap, schedule.max_overlap)


def looked_for(login: Login, schedule: Schedule, now: datetime) -> bool:
    """Whether it matters now who is in the old slot."""
    return login.replaced is not None and now >= login.replaced + schedule.min_overlap


def wanted(logins: Logins, schedule: Schedule, tenant_id: str, issued: datetime, level: str) -> dict[Kind, datetime]:
    """When whose turn is, of those that anybody wants rotated. ``issued``: when the tenant's first ones were made."""
    found = {kind: _due(one, schedule, tenant_id, issued) for kind, one in logins.each(kinds(level))}
    return {kind: due for kind, due in found.items() if due is not None}


def _due(login: Login, schedule: Schedule, tenant_id: str, issued: datetime) -> datetime | None:
    moments = [login.asked] if login.asked is not None else []
    if schedule.every is not None:
        share = int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:4], "big") / 2**32
        moments.append((login.since or issued) + schedule.every * (1 + SPREAD * share))
    if not moments:
        return None
    return min(moments) if login.refused is None else max(min(moments), login.refused + AGAIN)


def wake(login: Login, schedule: Schedule, due: datetime | None, now: datetime) -> datetime | None:
    """When something is to be decided about a login next."""
    if login.replaced is None:
        return due
    first, last = login.replaced + schedule.min_overlap, closes(login, schedule)
    if login.suspected or now >= last:
        return now + SOONEST  # a halt or the Cell's breaker keeps it open
    if now < first:
        return first
    return min(last, now + max(SOONEST, (now - login.replaced) * LOOKS))


def request(value: str) -> Request:
    """Read a request: a word of one's own, then perhaps kinds of login and ``suspected``: ``20261128 app suspected``.

    Without a kind all are meant. Raises Invalid (``BadRotateRequest``) for any other word.
    """
    words = value.replace(",", " ").split()[1:]
    unknown = [word for word in words if word not in {*KINDS, SUSPECTED}]
    if unknown:
        raise Invalid(
            "BadRotateRequest",
            f"{unknown[0][:40]!r} is no kind of login: after a word of your own write any of {', '.join(KINDS)} and "
            f"{SUSPECTED}",
        )
    named = tuple(kind for kind in KINDS if kind in words)
    return Request(kinds=named or KINDS, suspected=SUSPECTED in words)


def read(stored: Mapping[str, Any]) -> Logins:
    """The logins as the registry keeps them; all that is not said is as it was when the tenant was made."""
    return Logins(
        acknowledged=stored.get("acknowledged", ""), **{kind: _login(stored[kind]) for kind in KINDS if kind in stored}
    )


def written(logins: Logins) -> dict[str, Any]:
    """What ``read`` reads; without what is as it was when the tenant was made."""
    told = {kind: _written(one) for kind, one in logins.each()}
    kept: dict[str, Any] = {kind: said for kind, said in told.items() if said}
    return kept | ({"acknowledged": logins.acknowledged} if logins.acknowledged else {})


def _login(told: Mapping[str, Any]) -> Login:
    read_: dict[str, Any] = {
        name: datetime.fromisoformat(value) if name in _TIMES else value for name, value in told.items()
    }
    return Login(**read_)


def _written(login: Login) -> dict[str, Any]:
    untold = Login()
    values = ((one.name, getattr(login, one.name)) for one in fields(login))
    told = ((name, value) for name, value in values if value != getattr(untold, name))
    return {name: value.isoformat() if name in _TIMES else value for name, value in told}
