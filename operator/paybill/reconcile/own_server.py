"""The database server of a tenant's own: connected by what its stack handed over, which a Secret of ours holds."""

from __future__ import annotations

from paybill.api.base import SecretKeyReference
from paybill.api.cell import Server
from paybill.api.failures import Blocked, Retry
from paybill.control.claims import Claim
from paybill.databases.server import Limits
from paybill.desired import names
from paybill.desired.resource import Key, texts
from paybill.reconcile.world import World

ADMIN_KEY = "admin-uri"
"""The key of the stack's Secret that holds the administrator's URI of the tenant's own server."""
LIMITS = Limits(idle=10.0)
"""One tenant's server is asked for little and seldom: no session stays on it once a reconcile is over."""


def handed_over(world: World, claim: Claim) -> bool:
    """Whether the tenant's stack ever handed over a server, which may have logins and data since."""
    stack = world.operations.store.stack(claim.id)
    return stack is not None and stack.handed is not None


async def attach(world: World, claim: Claim, *, deep: bool) -> None:
    """Connect the tenant's own server by what its stack handed over; raises Retry while it does not answer."""
    known = world.servers.find(claim.cell, claim.server)
    stack = world.operations.store.stack(claim.id)
    handed = stack.handed if stack is not None else None
    if known is not None and world.operations.attached.get(claim.id) == handed:
        if deep:
            await known.look_at_all()
        return
    dsn, ca = await _admin_uri(world, claim)
    reference = SecretKeyReference(name=names.own_server_secret(claim.id), key=ADMIN_KEY)
    spec = Server(name=claim.server, admin_secret_ref=reference, holds="Schemas")
    found = await world.servers.attach(
        claim.cell, spec, dsn, make=not world.brakes.halt.observing, ca=ca, limits=LIMITS
    )
    if found is known:
        await known.look_at_all()  # the same was handed over once more: only an answer shows that it is right
    if handed is not None:
        world.operations.attached[claim.id] = handed


async def _admin_uri(world: World, claim: Claim) -> tuple[str, str | None]:
    """The administrator's URI, and the certificate of whoever signed the server's, where it has one."""
    key = Key("Secret", world.settings.namespace, names.own_server_secret(claim.id))
    secret = await world.cluster.get(key)
    handed = texts(secret)
    uri, ca = handed.get(ADMIN_KEY), handed.get("ca.crt")
    if uri is None and secret is not None:
        raise Blocked(
            "AdminLoginUnknown",
            f"Tenant {claim.tenant_name}: its server exists, but its stack handed over no administrator's password "
            "(this cloud gives none, or keeps it where this version cannot read it): see the clouds' page for which "
            "ones go all the way",
        )
    if uri is None:
        raise Retry("SecretMissing", f"{key} with the administrator's URI of Tenant {claim.tenant_name} is not there")
    if ca is None:
        return uri, None
    return f"{uri}&sslrootcert={world.operations.keep_certificate(claim.id, ca)}", ca
