"""One AgentPolicy: compiled against its tenant's database, carried out there, and looked after.

The database holds the limits, so what is asked at every look is whether it still does. Nothing of that is put right by
itself: a login whose database is not as its plan left it stays closed until the policy is changed, or somebody who has
looked writes the hash of what was found on the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from paybill.agents import changed, drift, names, runs, standing, watchdog
from paybill.agents.carrying_out import carry_out
from paybill.agents.drift import State
from paybill.agents.facts import Facts
from paybill.agents.introspection import introspect
from paybill.agents.plan import Plan
from paybill.agents.plan import plan as compiled
from paybill.agents.standing import Known
from paybill.api import conditions as c
from paybill.api.agent_policy import AgentPolicy, AgentPolicyStatus, FilesReference
from paybill.api.canonical import digest
from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.databases.server import Session
from paybill.desired.names import PAUSED_ANNOTATION, RENEW_ANNOTATION
from paybill.desired.sql_names import schema as schema_of
from paybill.lifecycle.phases import Access
from paybill.reconcile import agent_gateway, agent_login, report
from paybill.reconcile.agent_gateway import Given
from paybill.reconcile.agent_place import place_of, released
from paybill.reconcile.site import Site
from paybill.reconcile.status import Fact
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

LOOK_EVERY: Final = timedelta(minutes=1)
"""How often a database is compared with what its agents' plans left."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What one look at the database of an agent goes by."""

    policy: AgentPolicy
    place: Site
    facts: Facts
    wanted: Plan
    known: Known | None


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Bring one AgentPolicy into its tenant's database, or out of it; returns when to look again."""
    policy = world.declared.policies.get(name)
    if policy is None or policy.metadata.annotations.get(PAUSED_ANNOTATION) == "true":
        return None
    if policy.metadata.deletion_timestamp is not None:
        await _remove(world, policy, cause)
        return None
    status = policy.status
    try:
        place = await _place(world, policy, cause)
        await report.hold(world, policy)
        async with world.letting_in[place.claim.id]:
            status = await _bring(world, policy, place)
    except Failure as failure:
        shut = not isinstance(failure, Retry)
        closed = {"open": False, "binding": None, "endpoint": None} if shut else {}
        await _tell(world, policy, status.model_copy(update=closed), failure)
        raise
    await _tell(world, policy, status, None)
    return min(world.now() + LOOK_EVERY, _midnight(world.now()))


async def _bring(world: World, policy: AgentPolicy, place: Site) -> AgentPolicyStatus:
    """Carry the policy out, unless its tenant's contract lets nobody in."""
    access = world.access.get(place.claim.id)
    if access is None:
        raise Retry("TenantNotReady", f"Tenant {place.claim.tenant_name} was not looked at yet", after=1.0)
    attached, tenant = place.attached, place.claim.id
    async with attached.server.session(attached.pool.name) as session:
        facts = await introspect(session, attached.pool.name, schema_of(tenant), tenant)
        wanted = await _compiled(world, session, policy, place, facts)
        look = _Look(
            policy=policy,
            place=place,
            facts=facts,
            wanted=wanted,
            known=await standing.known(session, wanted.login),
        )
        if access is not Access.FULL:
            return await _out(world, look)
        accepted = await _refuse_drift(world, session, look)
        if policy.spec.suspend or _expired(world, policy):
            # Closed before anything else is carried out: that alone would leave its sessions.
            await _shut(world, session, place, policy.spec.agent, "PolicyClosed")
            if not _expired(world, policy):
                await _carry_out(world, session, look, None, accepted)
            return _status(look, None)
        given = await _let_in(world, session, look)
        await _carry_out(world, session, look, given.verifier, accepted)
        await runs.open_day(session, wanted.login)
        await _end_overdue(world, session, look)
    return _status(look, given)


def _expired(world: World, policy: AgentPolicy) -> bool:
    """Whether its time is over; carried out, its login could be closed by the server's clock alone."""
    ends = policy.spec.expires_time
    return ends is not None and ends <= world.now()


async def _place(world: World, policy: AgentPolicy, cause: str) -> Site:
    """Its tenant's place; a tenant that was moved to where no agent can be has no files for one either."""
    try:
        return place_of(world, policy, cause)
    except Blocked as failure:
        tenant = world.declared.tenants.get(policy.spec.tenant_ref.name)
        claim = world.registry.by_uid(tenant.metadata.uid) if tenant is not None else None
        if failure.reason == "IsolationTooLow" and claim is not None:
            async with world.letting_in[claim.id]:
                scope = Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)
                await agent_gateway.shut_out(world, claim, scope, policy.spec.agent)
        raise


async def _out(world: World, look: _Look) -> AgentPolicyStatus:
    """Its login is closed: so nothing is left of it for the gateway."""
    await agent_gateway.shut_out(world, look.place.claim, look.place.scope, look.policy.spec.agent)
    return _status(look, None)


async def _let_in(world: World, session: Session, look: _Look) -> Given:
    """Have the gateway know the agent; where that cannot be, the login is closed before it is raised."""
    login = look.wanted.login
    shown = await standing.verifier(session, login)
    try:
        return await agent_gateway.let_in(world, look.place, look.policy, look.facts.schema_, login, shown)
    except (Blocked, Invalid) as failure:
        await _shut(world, session, look.place, look.policy.spec.agent, failure.reason)
        raise


async def _compiled(world: World, session: Session, policy: AgentPolicy, place: Site, facts: Facts) -> Plan:
    """What the policy comes to; where it can be carried out no more, its login is closed before that is raised."""
    try:
        return compiled(policy.spec, facts, place.claim.id)
    except (Blocked, Invalid) as failure:
        await _shut(world, session, place, policy.spec.agent, failure.reason)
        raise


async def _shut(world: World, session: Session, place: Site, agent: str, because: str) -> None:
    """Close the login of an agent, if it is open, and take its files from the gateway."""
    login = names.login(place.claim.id, agent)
    if login in await standing.open_logins(session, place.claim.id):
        step = Step(
            action="agent.close",
            target=f"Database/{place.attached.pool.name}/{place.claim.id}",
            act=lambda: standing.shut(session, place.attached.server.traits, [login]),
            inputs={"agent": agent, "because": because},
            destructive=True,
        )
        await take(world, place.scope, [step])
    await agent_gateway.shut_out(world, place.claim, place.scope, agent)


async def _refuse_drift(world: World, session: Session, look: _Look) -> State | None:
    """Close the login and raise where the database is not as the plan of this very policy left it.

    Returns how it was found; None where the plan is made anew from whatever there is.
    """
    known, place, agent = look.known, look.place, look.policy.spec.agent
    if known is None or known.policy != look.wanted.policy:
        return None  # nothing was carried out yet, or somebody changed the policy: its plan is made anew
    database, schema = look.facts.database, look.facts.schema_.name
    found = await drift.scan(session, place.claim.id, agent, schema, database)
    parts = [part for part, now in found.items() if known.state.get(part) != now]
    if "tables" in parts and known.tables is not None and not _concerned(look, known):
        parts.remove("tables")  # a migration of what no policy of this agent rests on
    if "functions" in parts and known.books != look.wanted.books:
        parts.remove("functions")  # of another version: another agent's plan made them anew, as this one's is about to
    renewed = digest({"state": dict(found)})
    if not parts or look.policy.metadata.annotations.get(RENEW_ANNOTATION) == renewed:
        return found
    await _shut(world, session, place, agent, "AgentDrifted")
    raise Blocked("AgentDrifted", _drifted(look, parts, renewed))


def _concerned(look: _Look, known: Known) -> bool:
    before = known.tables or look.facts.schema_
    return changed.concerns(look.policy.spec, before) != changed.concerns(look.policy.spec, look.facts.schema_)


def _drifted(look: _Look, parts: list[str], renewed: str) -> str:
    said = [f"its {part} are others" for part in parts]
    if "tables" in parts and look.known is not None and look.known.tables is not None:
        spec = look.policy.spec
        before, now = changed.concerns(spec, look.known.tables), changed.concerns(spec, look.facts.schema_)
        said = [*changed.changes(before, now), *(one for one in said if one != "its tables are others")]
    return (
        f"the database of agent {look.policy.spec.agent} is not as its plan left it: {'; '.join(said)}. So its login is"
        " closed. Put that right, or change the policy; or, if this is as it should be: kubectl annotate agentpolicy"
        f" {look.policy.metadata.name} {RENEW_ANNOTATION}={renewed}"
    )


async def _carry_out(world: World, session: Session, look: _Look, verifier: str | None, accepted: State | None) -> None:
    """Make it so where it is not; a steady database is only looked at."""
    place, spec = look.place, look.policy.spec
    database, schema = look.facts.database, look.facts.schema_.name
    if verifier is None and await _stands(session, look, place.claim.id, schema, database):
        return
    step = Step(
        action="agent.apply",
        target=f"Database/{database}/{place.claim.id}",
        act=lambda: carry_out(session, spec, place.claim.id, look.facts, verifier=verifier, accepted=accepted),
        inputs={"agent": spec.agent, "plan": look.wanted.digest, "password": verifier is not None},
    )
    await take(world, place.scope, [step])


async def _end_overdue(world: World, session: Session, look: _Look) -> None:
    """End sessions that override their timeout, where the Cell's watchdog does not look: on a server of one tenant."""
    place, login = look.place, look.wanted.login
    if place.claim.level != "Server" or not (late := await watchdog.overdue(session, login)):
        return
    step = Step(
        action="session.terminate",
        target=f"Login/{login}",
        act=lambda: watchdog.end_overdue(session, login),
        inputs={"server": place.attached.server.name, "said": f"{late} sessions went on past their statement timeout"},
    )
    await take(world, place.scope, [step])


async def _stands(session: Session, look: _Look, tenant: str, schema: str, database: str) -> bool:
    if look.known is None or look.known.plan != look.wanted.digest:
        return False
    opened = look.wanted.login in await standing.open_logins(session, tenant)
    return opened == bool(look.wanted.last) and not await drift.drifted(
        session, tenant, look.policy.spec.agent, schema, database
    )


def _status(look: _Look, given: Given | None) -> AgentPolicyStatus:
    return look.policy.status.model_copy(
        update={
            "policy_hash": look.wanted.policy,
            "schema_hash": look.wanted.schema,
            "plan_hash": look.wanted.digest,
            "login": look.wanted.login,
            "binding": FilesReference(name=given.secret) if given is not None else None,
            "endpoint": given.endpoint if given is not None else None,
            "rotated": agent_login.asked(look.policy) if given is not None else look.policy.status.rotated,
            "open": given is not None,
            "warnings": tuple(said[:1024] for said in look.wanted.warnings[:50]),
        }
    )


async def _remove(world: World, policy: AgentPolicy, cause: str) -> None:
    """Take the agent out of its tenant's database; where there is none any more, there is nothing to take."""
    place = released(world, policy, cause)
    if place is not None:
        tenant, agent = place.claim.id, policy.spec.agent
        attached = place.attached

        async def act() -> bool:
            async with attached.server.session(attached.pool.name) as session:
                return await standing.remove(session, attached.server.traits, tenant, agent)

        async with world.letting_in[tenant]:
            step = Step(
                action="agent.remove",
                target=f"Database/{attached.pool.name}/{tenant}",
                act=act,
                inputs={"agent": agent, "login": names.login(tenant, agent)},
                destructive=True,
            )
            await take(world, place.scope, [step])
            await agent_gateway.shut_out(world, place.claim, place.scope, agent)
    await report.let_go(world, policy)


async def _tell(world: World, policy: AgentPolicy, status: AgentPolicyStatus, failure: Failure | None) -> None:
    await report.tell(world, world.declared.policies, policy, status, failure, _done(policy, status))


def _done(policy: AgentPolicy, status: AgentPolicyStatus) -> Fact:
    if status.open:
        said = f"the database holds its limits; it logs in as {status.login}"
        if status.warnings:
            said += "; status.warnings says what it could find out all the same"
        return Fact(type=c.READY, status=c.TRUE, reason="LetIn", message=said)
    because = (
        "as its policy says" if policy.spec.suspend or policy.spec.expires_time is not None else "as its tenant is"
    )
    return Fact(type=c.READY, status=c.TRUE, reason="ShutOut", message=f"its login is closed, {because}")


def _midnight(now: datetime) -> datetime:
    """The next day, UTC: what was read is counted by days, and a day is opened by us alone."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(0, 0, 1), UTC)
