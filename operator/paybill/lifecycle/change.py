"""Which revision of which Plan a Tenant is to be on now.

The wanted revision is what its Subscription names. Between wanting and having stand: a hold on changes, debt, the wave
of the rollout, and a change of isolation, which is a move of data and not a setting. While something stands between,
the Tenant stays on what it has, and the answer says what it waits for.
"""

from __future__ import annotations

from dataclasses import dataclass

from paybill.lifecycle.move import refusal


@dataclass(frozen=True, kw_only=True)
class PlanPoint:
    """One revision of one Plan, with the isolation it calls for."""

    name: str
    revision: str
    isolation: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """The answer: the point to be on, and why it is not the wanted one (reason and message), if it is not.

    ``moves_to``: the wanted one, where a move leads there.
    """

    point: PlanPoint
    reason: str | None = None
    message: str = ""
    moves_to: PlanPoint | None = None


def choose(
    has: PlanPoint | None, wanted: PlanPoint, *, held: str | None, admitted: bool, later: str | None = None
) -> Change:
    """The point to be on.

    ``admitted`` says whether the rollout's wave includes this Tenant now, ``later`` what another Plan waits for.
    """
    if has is None or (has.name, has.revision) == (wanted.name, wanted.revision):
        return Change(point=wanted)
    if held is not None:
        return Change(point=has, reason="ChangeHeld", message=f"stays on Plan {has.name} {has.revision}: {held}")
    if later is not None and has.name != wanted.name:
        stays = f"stays on Plan {has.name} {has.revision} until it gets Plan {wanted.name}: {later}"
        return Change(point=has, reason="ChangePending", message=stays)
    if has.name == wanted.name and not admitted:
        return Change(
            point=has,
            reason="WaitingForWave",
            message=f"revision {wanted.revision} of Plan {wanted.name} is being rolled out in waves",
        )
    if has.isolation != wanted.isolation:
        return _moved(has, wanted)
    return Change(point=wanted)


def _moved(has: PlanPoint, wanted: PlanPoint) -> Change:
    means = (
        f"Plan {wanted.name} {wanted.revision} means isolation {'/'.join(wanted.isolation)}, the tenant has "
        f"{'/'.join(has.isolation)}"
    )
    why_not = refusal(has.isolation, wanted.isolation)
    if why_not is not None:
        stays = f"{means}: {why_not}; it stays on {has.name} {has.revision}"
        return Change(point=has, reason="MoveNotSupported", message=stays)
    return Change(point=has, reason="Moving", message=f"{means}: its data is moved first", moves_to=wanted)
