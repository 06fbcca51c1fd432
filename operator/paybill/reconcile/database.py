"""A tenant's part of a shared Postgres server, and the Secrets that hand its logins out.

Passwords exist in two places only: as SCRAM verifiers in Postgres and in the Secrets. They are made once and kept; a
suspended tenant that pays gets the very same ones back. When a Secret is gone its logins get new passwords, because
nobody can know the old ones; when a login is gone it gets the Secret's password again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from paybill.api.plan import PlanSpec
from paybill.databases.credentials import WRONG_PASSWORD, new_password, scram_verifier, verifies
from paybill.databases.tenants import Outcome, ensure
from paybill.desired import handover, sql_names
from paybill.desired.database import TenantDatabase, degraded, differences, judged, narrows
from paybill.desired.resource import Key, key_of, texts
from paybill.lifecycle.phases import Access
from paybill.reconcile import objects, pooler, suspension
from paybill.reconcile.queue import Work
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World


class Credentials:
    """The passwords of one tenant during one reconcile: read from the Secrets, or made."""

    def __init__(self, world: World, site: Site, logins: tuple[str, ...]) -> None:
        self._world = world
        self._site = site
        self._logins = logins
        self._passwords: dict[str, str] | None = None
        self.made: frozenset[str] = frozenset()

    async def known(self, *, fresh: bool) -> Mapping[str, str]:
        """Login → password. ``fresh``: the tenant's namespace was made a moment ago, so its Secret cannot exist."""
        if self._passwords is None:
            kept = {**self._world.held.get(self._site.claim.id, {}), **await self._from_secrets(fresh=fresh)}
            found = {login: kept[login] for login in self._logins if login in kept}
            found = {login: password for login, password in found.items() if await self._fits(login, password)}
            self.made = frozenset(login for login in self._logins if login not in found)
            self._passwords = {login: found.get(login) or new_password() for login in self._logins}
        return self._passwords

    async def _fits(self, login: str, password: str) -> bool:
        """Whether a Secret's password is the login's, as far as the server shows: an edited one is as good as lost.

        In a slot that is being filled it must be seen to be: one that was there before, and came back with a backup,
        is what the rotation is to end.
        """
        observed = self._site.attached.observed.get(self._site.claim.id)
        shown = observed.passwords if observed is not None else None
        if shown is not None and login in shown:
            return verifies(password, shown[login])
        filling = login in self._site.filled
        if shown is not None or observed is None or not observed.opens(login):
            return not filling
        refused = await self._site.refusal(login, password)
        return refused is None or not (filling or WRONG_PASSWORD in refused)

    async def _from_secrets(self, *, fresh: bool) -> dict[str, str]:
        found: dict[str, str] = {}
        for secret in binding_secrets(self._world, self._site, {}):
            key = key_of(secret)
            # The namespace is the first thing a tenant gets: before it was made there was no Secret anywhere. (A
            # stranger's of this name is of another type, which cannot be changed: applying ours would be refused.)
            first = fresh and (key.namespace == self._site.namespace or self._site.claim.ready_time is None)
            existing = None if first else await self._world.cluster.get(key)
            if existing is None:
                continue
            objects.refuse_foreign(key, existing, secret)
            data = texts(existing)
            for prefix in ("", "ro-", "mig-"):
                if data.get(f"{prefix}username") and data.get(f"{prefix}password"):
                    found[data[f"{prefix}username"]] = data[f"{prefix}password"]
        return found


def binding_secrets(world: World, site: Site, passwords: Mapping[str, str]) -> list[dict[str, Any]]:
    """The tenant's Secret and the provider's, with the passwords known (none: only the objects' keys matter)."""
    endpoint = site.attached.endpoint
    logins: dict[str, str] = {
        kind: sql_names.role(site.claim.id, f"{kind}_{one.handed}") for kind, one in site.logins.each()
    }
    app = logins.pop("app")
    provider = {kind: (login, passwords[login]) for kind, login in logins.items() if login in passwords}
    return [
        handover.binding(
            site.identity,
            site.namespace,
            handover.binding_data(pooler.endpoint(world, site), app, passwords.get(app, "")),
        ),
        handover.provider_binding(site.identity, world.settings.namespace, handover.provider_data(endpoint, provider)),
    ]


async def ensure_database(
    world: World,
    site: Site,
    plan: PlanSpec,
    access: Access,
    credentials: Credentials,
    *,
    fresh: bool,
    suspends: bool = False,
) -> tuple[str, ...]:
    """Make the tenant's roles, schema, grants and access what they should be, nothing when they are.

    Returns what the server refused to a managed administrator, for the condition Degraded. ``suspends``: this step
    is what suspends the tenant, and spends the hour's budget.
    """
    attached, tenant_id = site.attached, site.claim.id
    desired = site.database(plan, access)
    if site.moving:
        return degraded(desired, attached.server.traits)
    if attached.created.get(tenant_id) == desired and not credentials.made:
        return degraded(desired, attached.server.traits)
    observed = await attached.seen(tenant_id)
    _remember(world, site, desired)
    new = observed is None or observed.absent
    lacking = ("not there yet",) if new or observed is None else differences(desired, observed)
    if not lacking and not credentials.made:
        return degraded(desired, attached.server.traits)
    # Setting a password again would be harmless, but it is a write that the log would have to explain.
    lost = observed is not None and not set(desired.login_names) <= {role.name for role in observed.facts.roles}
    wanting = new or lost or credentials.made or any("has no password" in lack for lack in lacking)
    passwords = await credentials.known(fresh=fresh) if wanting else {}
    verifiers = {login: scram_verifier(passwords[login]) for login in desired.login_names if login in passwords}

    async def act() -> Outcome:
        return await ensure(
            attached.server, attached.pool, desired, passwords=verifiers, expect_absent=fresh and observed is None
        )

    # Only what closes open logins suspends: healing drift of a suspended tenant spends no budget.
    open_logins = observed is not None and any("LOGIN" in role.attributes for role in observed.facts.roles)
    narrower = observed is not None and narrows(desired, observed)
    outcome = await _take(world, site, desired, act, suspends=suspends and open_logins, narrower=narrower)
    if outcome.created:
        attached.created[tenant_id] = desired
        world.verifiers[tenant_id] = hash(tuple(verifiers.get(login) for login in desired.handed_names))
    else:
        attached.created.pop(tenant_id, None)
        await attached.look(tenant_id)
        _remember(world, site, desired)
    return outcome.degraded


def passwords_stand(world: World, site: Site, logins: Sequence[str]) -> bool:
    """Whether the logins have the passwords that were last proved to be the Secrets', as far as the server shows.

    A login may change its own (research, attack 40), and then what the Secret says is refused. What is there when a
    process first looks is believed: to ask for every tenant's Secret at every start would cost more than it finds.
    """
    seen = _verifiers(site, logins)
    return seen is None or world.verifiers.setdefault(site.claim.id, seen) == seen


def believe_passwords(world: World, site: Site, logins: Sequence[str]) -> None:
    """Take the logins' passwords as they are now for the Secrets', which they were compared with."""
    if (seen := _verifiers(site, logins)) is not None:
        world.verifiers[site.claim.id] = seen


def _verifiers(site: Site, logins: Sequence[str]) -> int | None:
    """A number for what the server has for these logins; None where it shows nothing."""
    observed = site.attached.observed.get(site.claim.id)
    if observed is None or observed.passwords is None or site.claim.id in site.attached.created:
        return None
    return hash(tuple(observed.passwords.get(login) for login in logins))


def _remember(world: World, site: Site, desired: TenantDatabase) -> None:
    """What the tenant holds beyond what is declared, where its Cell leaves that alone; the Cell tells of it as well."""
    observed = site.attached.observed.get(site.claim.id) if desired.report_grants else None
    beyond = judged(desired, observed)[1] if observed is not None else ()
    before = world.differing.pop(site.claim.id, ())
    if beyond:
        world.differing[site.claim.id] = beyond
    if bool(before) != bool(beyond):
        said = f"Tenant {site.claim.tenant_name} holds {'more than' if beyond else 'what'} is declared"
        world.queue.add(Work("Cell", site.claim.cell), said, background=True)


async def _take(
    world: World,
    site: Site,
    desired: TenantDatabase,
    act: Callable[[], Awaitable[Outcome]],
    *,
    suspends: bool,
    narrower: bool,
) -> Outcome:
    outcome: Outcome
    if suspends:
        outcome = await suspension.suspend(world, site, act, desired)
    else:
        target = f"Database/{desired.database}/{site.claim.id}"
        step = Step(action="database.ensure", target=target, act=act, inputs=desired, destructive=narrower)
        outcome = (await take(world, site.scope, [step]))[0]
    return outcome


async def hand_over(world: World, site: Site, credentials: Credentials, *, fresh: bool) -> dict[str, str]:
    """Write the Secrets; returns the changes to the registry that remember which versions we wrote."""
    passwords = await credentials.known(fresh=fresh)
    secrets = binding_secrets(world, site, passwords)
    steps = [_secret_step(world, secret) for secret in secrets]
    answers = await take(world, site.scope, steps)
    written = answers[0]["metadata"]
    return {"binding_uid": written["uid"], "binding_version": written["resourceVersion"]}


async def secrets_stand(world: World, site: Site) -> bool:
    """Whether the Secrets are there as we wrote them; asked at a resync, because Secrets are not watched."""
    for index, secret in enumerate(binding_secrets(world, site, {})):
        found = await world.cluster.get(key_of(secret))
        if found is None:
            return False
        # The provider's is told by its fields; the tenant's own by its version, and by where it says the server is.
        told = texts(found)
        if any(told.get(name, login) != login for name, login in _usernames(site).items()):
            return False
        if index == 0 and found["metadata"]["resourceVersion"] != site.claim.binding_version:
            return False
        if index == 0 and any(told.get(name) != value for name, value in _address(world, site).items()):
            return False
    return True


def _usernames(site: Site) -> dict[str, str]:
    """Which logins the Secrets must name: one from a backup may name a slot that is closed since."""
    prefixes = {"app": "", "ro": "ro-", "mig": "mig-"}
    return {
        f"{prefixes[kind]}username": sql_names.role(site.claim.id, f"{kind}_{one.handed}")
        for kind, one in site.logins.each()
    }


def _address(world: World, site: Site) -> dict[str, str]:
    """Where the Secret must say the server is."""
    endpoint = pooler.endpoint(world, site)
    return {"host": endpoint.host, "port": str(endpoint.port), "database": endpoint.database}


def _secret_step(world: World, secret: dict[str, Any]) -> Step:
    # The digest covers the names only: a hash of a password would be something to guess against.
    key: Key = key_of(secret)
    inputs = {"key": str(key), "fields": sorted(secret["data"])}
    return Step(action="secret.apply", target=str(key), act=lambda: world.cluster.apply(secret), inputs=inputs)
