"""What a Tenant is told of its logins and their rotation, and when that is looked at next. Names and moments only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from paybill.api import conditions as c
from paybill.api import duration
from paybill.api.tenant import CredentialsStatus, LoginStatus
from paybill.control.claims import Claim
from paybill.desired import sql_names
from paybill.lifecycle import rotation
from paybill.lifecycle.rotation import KINDS, Kind, Login, Schedule
from paybill.reconcile.metrics import LoginSample
from paybill.reconcile.status import CREDENTIALS_FRESH, Fact
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World


def schedule(world: World, claim: Claim) -> Schedule:
    """How the tenant's Cell rotates; on demand only while the Cell is gone."""
    cell = world.declared.cells.get(claim.cell)
    if cell is None:
        return Schedule()
    told = cell.spec.rotation
    return Schedule(
        every=duration.parse(told.every) if told.every is not None else None,
        min_overlap=duration.parse(told.min_overlap),
        max_overlap=duration.parse(told.max_overlap),
    )


def wanted(world: World, claim: Claim) -> dict[Kind, datetime]:
    """When whose turn is."""
    issued = claim.ready_time or claim.created_time
    return rotation.wanted(rotation.read(claim.credentials), schedule(world, claim), claim.id, issued, claim.level)


def wakes(world: World, current: Pass) -> Iterator[datetime | None]:
    """When something is to be decided about each login."""
    claim = current.claim
    if claim is None or claim.ready_time is None:
        return
    span, due, now = schedule(world, claim), wanted(world, claim), world.now()
    for kind, one in rotation.read(claim.credentials).each():
        yield rotation.wake(one, span, due.get(kind), now)


def shown(world: World, claim: Claim | None) -> CredentialsStatus | None:
    """The part of the status that says which slots are in use; None for a tenant that was handed none yet."""
    if claim is None or claim.ready_time is None:
        return None
    logins, span = rotation.read(claim.credentials), schedule(world, claim)
    told = {
        kind: LoginStatus.model_validate(
            {
                "slot": one.slot,
                "since_time": one.since or claim.ready_time,
                "previous_until_time": rotation.closes(one, span) if one.replaced is not None else None,
            }
        )
        for kind, one in logins.each(rotation.kinds(claim.level))
    }
    return CredentialsStatus(acknowledged=logins.acknowledged[:256] or None, **told)


def fact(world: World, current: Pass) -> Fact | None:
    """The condition CredentialsFresh; None where there is nothing to say but that the Secrets were handed over."""
    claim = current.claim
    if claim is None or claim.ready_time is None:
        return None
    for trouble in (_unread, _refused, _suspected, _in_use, _waits):
        if (found := trouble(world, current, claim)) is not None:
            return found
    logins, span = rotation.read(claim.credentials), schedule(world, claim)
    if logins.replaced:
        said = "; ".join(_overlap(claim, kind, logins.of(kind), span) for kind in logins.replaced)
        return Fact(type=CREDENTIALS_FRESH, status=c.TRUE, reason="OldSlotOpen", message=said)
    since = [f"{kind} since {_moment(one.since)}" for kind, one in logins.each() if one.since is not None]
    return Fact(type=CREDENTIALS_FRESH, status=c.TRUE, reason="Rotated", message=", ".join(since)) if since else None


def _unread(world: World, current: Pass, claim: Claim) -> Fact | None:  # noqa: ARG001 - one of several
    failure = current.unread
    if failure is None:
        return None
    return Fact(type=CREDENTIALS_FRESH, status=c.FALSE, reason=failure.reason, message=failure.message)


def _refused(world: World, current: Pass, claim: Claim) -> Fact | None:  # noqa: ARG001 - one of several
    for _, one in rotation.read(claim.credentials).each():
        if one.refused is not None:
            again = (
                f"the one before stays in use; the new one is tried again at {_moment(one.refused + rotation.AGAIN)}"
            )
            message = f"a new login did not work at {_moment(one.refused)}, {again}: {one.because}"
            return Fact(type=CREDENTIALS_FRESH, status=c.FALSE, reason="NewLoginRefused", message=message)
    return None


def _suspected(world: World, current: Pass, claim: Claim) -> Fact | None:  # noqa: ARG001 - one of several
    """Somebody else may be in, and the brakes keep us from ending that."""
    logins = rotation.read(claim.credentials)
    open_ = [_old(claim, kind, one) for kind, one in logins.each(logins.replaced) if one.suspected]
    if not open_ or not world.brakes.holds_destruction(claim.cell):
        return None
    message = f"{', '.join(open_)} may be known to others and stays open while a halt or the Cell's breaker holds"
    return Fact(type=CREDENTIALS_FRESH, status=c.FALSE, reason="SuspectedSlotOpen", message=message)


def _in_use(world: World, current: Pass, claim: Claim) -> Fact | None:
    logins, span = rotation.read(claim.credentials), schedule(world, claim)
    said = [
        f"{count} sessions of {_old(claim, kind, one)}, closed at {_moment(rotation.closes(one, span))} at the latest"
        for kind, one in logins.each(logins.replaced)
        if (count := current.old_sessions.get(kind))
    ]
    if not said:
        return None
    message = f"{'; '.join(said)}: restart what holds them"
    return Fact(type=CREDENTIALS_FRESH, status=c.FALSE, reason="OldSlotInUse", message=message)


def _waits(world: World, current: Pass, claim: Claim) -> Fact | None:  # noqa: ARG001 - one of several
    open_ = rotation.opened(current.course.effect.access)
    waiting = [kind for kind, one in rotation.read(claim.credentials).each() if one.asked and kind not in open_]
    if not waiting:
        return None
    message = f"{', '.join(waiting)}: rotated as soon as the tenant may log in again; until then nobody can"
    return Fact(type=CREDENTIALS_FRESH, status=c.FALSE, reason="WaitsForAccess", message=message)


def _overlap(claim: Claim, kind: Kind, one: Login, span: Schedule) -> str:
    new = sql_names.role(claim.id, f"{kind}_{one.slot}")
    last = _moment(rotation.closes(one, span))
    return f"{new} took over at {_moment(one.since)}; {_old(claim, kind, one)} is open while it is used, until {last}"


def _old(claim: Claim, kind: Kind, one: Login) -> str:
    return sql_names.role(claim.id, f"{kind}_{one.other}")


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time is not None else "its making"


def samples(world: World) -> Iterator[LoginSample]:
    """What the gauges say of the logins of all tenants."""
    oldest: dict[Kind, datetime] = {}
    replaced = dict.fromkeys(KINDS, 0)
    for claim in world.registry.all():
        if claim.state != "claimed" or claim.ready_time is None:
            continue
        logins = rotation.read(claim.credentials)
        for kind, one in logins.each(rotation.kinds(claim.level)):
            since = one.since or claim.ready_time
            oldest[kind] = min(oldest.get(kind, since), since)
            replaced[kind] += one.replaced is not None
    now = world.now()
    for kind in KINDS:
        age = (now - oldest[kind]).total_seconds() if kind in oldest else 0.0
        yield LoginSample(login=kind, oldest_seconds=age, replaced=replaced[kind])
