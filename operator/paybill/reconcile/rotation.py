"""Rotates a tenant's logins: what is decided is written to the registry, and the rest of the reconcile makes it so.

A slot that is to be filled is a login that lacks a password, like one whose Secret was lost: provisioning makes and
hands over what is missing as it always does. Between the two stands the proof: each new login is logged in with, by the
address that the Secrets name, and when one of them is refused everything stays with the old ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paybill.api.failures import Invalid
from paybill.cluster.events import News
from paybill.desired import names, sql_names
from paybill.lifecycle import rotation
from paybill.lifecycle.rotation import Logins
from paybill.reconcile import metrics
from paybill.reconcile.database import Credentials, hand_over
from paybill.reconcile.queue import Work
from paybill.reconcile.rotation_report import schedule, wanted
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World


async def decide(world: World, current: Pass, site: Site) -> Site:
    """Note in the registry what is to be done about each login now; the place by that."""
    await _look(world, current, site)
    if world.brakes.halt.observing:
        return site
    site = await _ask(world, current, site)
    if site.claim.ready_time is None:
        return site
    turns = rotation.turns(
        site.logins,
        schedule(world, site.claim),
        wanted(world, site.claim),
        world.now(),
        open_=rotation.opened(current.course.effect.access),
        sessions=current.old_sessions,
    )
    held = world.brakes.holds_destruction(site.claim.cell)
    for turn in (rotation.Step.CLOSE, rotation.Step.ABANDON, rotation.Step.FILL):
        kinds = [kind for kind, its in turns.items() if its is turn]
        if kinds and not (held and turn is rotation.Step.CLOSE):
            after = rotation.taken(site.logins, turn, kinds, world.now())
            action = f"credentials.{turn.value.lower()}"
            site = await _note(world, current, site, action, after, destructive=turn is rotation.Step.CLOSE)
    return site


async def _look(world: World, current: Pass, site: Site) -> None:
    """Count who is still in old slots, once that matters: only while a login is being replaced is anybody asked."""
    span, now = schedule(world, site.claim), world.now()
    looked_for = [kind for kind, one in site.logins.each() if rotation.looked_for(one, span, now)]
    if not looked_for:
        return
    observed = await site.attached.look(site.claim.id)
    for kind in looked_for:
        old = sql_names.role(site.claim.id, f"{kind}_{site.logins.of(kind).other}")
        current.old_sessions[kind] = observed.sessions.get(old, 0) if observed is not None else 0


async def _ask(world: World, current: Pass, site: Site) -> Site:
    """Take up what a person asks for; what is being made for the first time is as new as it can be."""
    value = current.tenant.metadata.annotations.get(names.ROTATE_ANNOTATION, "")
    if value in ("", site.logins.acknowledged):
        return site
    try:
        request = rotation.request(value)
    except Invalid as unread:
        current.unread = unread
        return site
    after = replace(site.logins, acknowledged=value)
    if site.claim.ready_time is not None:
        after = rotation.asked(site.logins, value, request, site.claim.level, world.now())
    return await _note(world, current, site, "credentials.ask", after, destructive=False)


async def _note(world: World, current: Pass, site: Site, action: str, after: Logins, *, destructive: bool) -> Site:
    """Write the logins to the registry, as a step: from there on whatever comes makes them so."""
    told = rotation.written(after)
    step = Step(
        action=action,
        target=f"Tenant/{site.tenant.metadata.name}",
        act=lambda: world.registry.update(site.claim.id, epoch=world.epoch, credentials=told),
        inputs=told,
        destructive=destructive,
    )
    current.claim = (await take(world, site.scope, [step]))[0]
    return replace(site, claim=current.claim)


async def switch(world: World, site: Site, credentials: Credentials, *, fresh: bool) -> dict[str, Any]:
    """Log in with each new login and hand them over, or keep the old ones; returns the registry's changes."""
    passwords = await credentials.known(fresh=fresh)
    for login in site.filled:
        if (refusal := await site.refusal(login, passwords[login])) is not None:
            return await _keep(world, site, login, refusal)
    handed = await hand_over(world, site, credentials, fresh=fresh)
    after = rotation.switched(site.logins, world.now())
    await world.registry.update(site.claim.id, epoch=world.epoch, **handed, credentials=rotation.written(after))
    _announce(world, site, after)
    if any(after.of(kind).suspected for kind in site.logins.filling):
        _again(world, site, "the old logins are closed at once")
    return {**handed, "credentials": rotation.written(after)}


async def _keep(world: World, site: Site, login: str, refusal: str) -> dict[str, Any]:
    """A new login does not work: the old ones stay in use, and the idle slots are closed by the next look."""
    after = rotation.refused(site.logins, f"{login}: {refusal}"[:512], world.now())
    for kind in site.logins.filling:
        metrics.ROTATIONS.labels(kind, "refused").inc()
    message = f"the new login {login} does not work, the one before stays in use: {refusal}"
    world.events.post(News(about=site.tenant, reason="NewLoginRefused", message=message, warning=True))
    _again(world, site, "a new login was refused")
    return {"credentials": rotation.written(after)}


def _announce(world: World, site: Site, after: Logins) -> None:
    said = []
    for kind in site.logins.filling:
        metrics.ROTATIONS.labels(kind, "ok").inc()
        said.append(sql_names.role(site.claim.id, f"{kind}_{after.of(kind).slot}"))
    message = f"{', '.join(said)} took over: the Secrets name {'it' if len(said) == 1 else 'them'}"
    world.events.post(News(about=site.tenant, reason="CredentialsRotated", message=message))


def _again(world: World, site: Site, cause: str) -> None:
    world.queue.add(Work("Tenant", site.tenant.metadata.name), cause)
