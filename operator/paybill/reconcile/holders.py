"""Whose lock of a stack a recovery may free: only that of a holder which is proven to be gone.

Whoever carries an operation out is in its row. A stack has one operation at a time, and a recovery is begun only when
none of them is open. One whose end was written down has no process left; of one that was lost nobody saw the end, so
it counts only if it ran on this very host, or in a pod that Kubernetes does not know any more: a pod's object goes when
its processes are gone, unless somebody forces it (docs/runbooks/lock.md).
"""

from __future__ import annotations

from paybill.desired import names
from paybill.desired.resource import Key
from paybill.engines import runner
from paybill.engines.environment import NAMELESS
from paybill.reconcile.world import World


async def ours(world: World) -> tuple[str, str | None]:
    """Who we are as the holder of a lock, and the pod that we are in; None where the host is no pod of ours."""
    host = runner.host()
    return runner.holder_here(), None if await _is_gone(world, host) else host


async def of(world: World, runner_name: str, tenant_id: str) -> tuple[str, str | None]:
    """Who an operation is as the holder of a lock: ourselves, or any pod of its stack where it is a Job.

    Those pods have one host name (desired/job.py), and an account without a name.
    """
    if runner_name == "Job":
        return f"{NAMELESS}@{names.operation_host(tenant_id)}", None
    return await ours(world)


async def gone(world: World, tenant_id: str) -> tuple[str, ...]:
    """The holders of a tenant's operations that are proven to be gone, as a lock names them."""
    proven = {runner.holder_here()}
    for one in await world.operations.store.holders(tenant_id):
        if not one.lost or (one.pod is not None and await _is_gone(world, one.pod)):
            proven.add(one.holder)
    return tuple(sorted(proven))


async def _is_gone(world: World, pod: str) -> bool:
    return await world.cluster.get(Key("Pod", world.settings.namespace, pod)) is None
