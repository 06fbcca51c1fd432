"""The URIs that a Cell's Secrets hold: of its servers' administrators, and of its pooler's console."""

from __future__ import annotations

from paybill.api.base import SecretKeyReference
from paybill.api.failures import Invalid
from paybill.desired.resource import Key, texts
from paybill.reconcile.world import World


async def read(world: World, reference: SecretKeyReference, whose: str) -> str:
    """The administrator's URI of ``whose``, from the operator's own namespace only; raises Invalid without one."""
    key = Key("Secret", world.settings.namespace, reference.name)
    secret = await world.cluster.get(key)
    value = texts(secret).get(reference.key)
    if value is None:
        what = "does not exist" if secret is None else f"has no key {reference.key}"
        raise Invalid("SecretMissing", f"{whose}: {key} {what}: put the administrator's URI there")
    uri = value.strip()
    if not uri or "\ufffd" in uri:
        # Without a word of where to go libpq would use whatever this machine has for a default.
        raise Invalid(
            "BadDsn",
            f"{whose}: key {reference.key} of {key} is empty or no text: put the administrator's URI there",
        )
    return uri
