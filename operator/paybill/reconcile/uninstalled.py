"""The deletion of a kind is no deletion of its objects' tenants.

Whoever deletes a CustomResourceDefinition (an uninstall that went too far, a mistaken prune) has the API server delete
every object of the kind, with a deletionTimestamp like any other. Nobody asked for the end of a single customer then:
the objects are let go, the registry and everything behind them stays, and when the kind is back and the manifests are
applied again, ``paybill adopt --all`` brings them together (architecture.md, law 4: never destroy by absence).
"""

from __future__ import annotations

from paybill.api.base import Resource
from paybill.desired.resource import Key
from paybill.reconcile import report
from paybill.reconcile.world import World


async def goes(world: World, kind: type[Resource]) -> bool:
    """Whether the kind itself is being deleted, or is gone already."""
    found = await world.cluster.get(Key("CustomResourceDefinition", "", f"{kind.plural}.{kind.group}"))
    return found is None or "deletionTimestamp" in found["metadata"]


async def let_go(world: World, tenant_name: str) -> bool:
    """Take our finalizer off what is deleted with its kind, of one Tenant and its Subscriptions; False: of neither."""
    tenant = world.declared.tenants.get(tenant_name)
    found: list[Resource] = [*world.declared.subscriptions_of(tenant_name), *([tenant] if tenant is not None else [])]
    going = [one for one in found if one.metadata.deletion_timestamp is not None]
    with_their_kind = [one for one in going if await goes(world, type(one))]
    for resource in with_their_kind:
        await report.let_go(world, resource)
    return bool(with_their_kind)
