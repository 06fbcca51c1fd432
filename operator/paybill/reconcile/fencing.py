"""What keeps an operator that was replaced from changing anything, where its SQL arrives.

A Lease chooses who leads, but a process may be frozen for any time between asking whether it leads and acting on the
answer. So each world outside refuses it by itself: the control database by the epoch in each statement, Kubernetes by
preconditions, and the tenants' servers by the epoch that each new leader announces there first.
"""

from __future__ import annotations

from paybill.api.failures import Blocked
from paybill.control.database import ControlDatabase
from paybill.control.epoch import assert_epoch, outgrow_epoch
from paybill.databases import leader
from paybill.databases.server import Server, Session
from paybill.desired.database import PoolDatabase
from paybill.reconcile.servers import BEHIND, Announce
from paybill.reconcile.world import Fence


def fence(control: ControlDatabase, epoch: int) -> Fence:
    """Asks both: the control database, and the tenant's own server, where it holds until the transaction ends."""

    async def check(server: Server, session: Session) -> None:
        async with control.transaction() as connection:
            await assert_epoch(connection, epoch)
        await leader.hold(server, session)

    return check


def announcing(control: ControlDatabase, epoch: int) -> Announce:
    """Makes our epoch the newest of a pool database, before anything else is done there.

    One that has seen a greater epoch knew the control database before it was restored from a backup: what leads takes
    one beyond it.
    """

    async def announce(server: Server, pool: PoolDatabase) -> None:
        newest = await leader.announce(server, pool, epoch)
        if newest <= epoch:
            return
        await outgrow_epoch(control, epoch, newest)
        raise Blocked(
            BEHIND,
            f"server {server.name} has seen epoch {newest}, this process has {epoch}: was the control database restored"
            " from a backup? A greater one is taken",
        )

    return announce
