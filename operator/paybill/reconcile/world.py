"""What a reconcile works with: the caches it reads, the doors it acts through, and the clock.

Made once by app.py and handed to every reconcile. Nothing in it decides anything.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paybill.audit.log import AuditLog
from paybill.cluster.children import Children
from paybill.cluster.client import Cluster
from paybill.cluster.declared import Declared
from paybill.cluster.events import Events
from paybill.control.adoption import Adoptions
from paybill.control.facts import FactStore
from paybill.control.migrating import MigrationStore
from paybill.control.moves import MoveStore
from paybill.control.registry import Registry
from paybill.control.signups import SignupStore
from paybill.control.usage import UsageRow
from paybill.databases.server import Server, Session
from paybill.lifecycle.phases import Access
from paybill.lifecycle.watchdog import Episode
from paybill.moves.replication import Progress
from paybill.moves.streams import Carried
from paybill.reconcile.backup_jobs import BackupJobs
from paybill.reconcile.brakes import Brakes
from paybill.reconcile.members import Members
from paybill.reconcile.paying import Payments
from paybill.reconcile.queue import Queue
from paybill.reconcile.revisions import Revisions
from paybill.reconcile.servers import Servers
from paybill.settings import Settings

if TYPE_CHECKING:
    from paybill.reconcile.announcing import Announcing
    from paybill.reconcile.collecting import Collecting
    from paybill.reconcile.migration_sources import Sources
    from paybill.reconcile.operations import Operations  # they take steps, and steps work with a World
    from paybill.reconcile.pooler import Pooling
    from paybill.reconcile.reporting import Reporting


def utcnow() -> datetime:
    """The real clock, in whole seconds: conditions and anchors hold no fractions."""
    return datetime.now(UTC).replace(microsecond=0)


Fence = Callable[[Server, Session], Awaitable[None]]
"""Raises when a newer leader has taken the epoch; run in the transaction of irreversible SQL on that server."""


@dataclass(kw_only=True)
class World:
    """Everything a reconcile may touch."""

    settings: Settings
    cluster: Cluster
    declared: Declared
    children: Children
    registry: Registry
    facts: FactStore
    adoptions: Adoptions
    audit: AuditLog
    servers: Servers
    operations: Operations
    migrations: Sources
    migration_rows: MigrationStore
    moves: MoveStore
    revisions: Revisions
    events: Events
    queue: Queue
    jobs: BackupJobs
    brakes: Brakes
    epoch: int
    fence: Fence
    payments: Payments
    signups: SignupStore
    announcing: Announcing
    reporting: Reporting
    collecting: Collecting
    write_usage: Callable[[Sequence[UsageRow]], Awaitable[None]]
    """Keeps what tenants used; fenced by our epoch."""
    assert_leading: Callable[[], None]
    """Raises LeaseLost when the Lease has run out by our own clock, so that another process may lead."""
    now: Callable[[], datetime] = utcnow
    admitted: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    """Per Plan, the revision being rolled out and the ids of the tenants that may move to it now."""
    members: Members = field(default_factory=Members)
    """Per Plan, its tenants at the last count."""
    held: dict[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Per tenant id, new passwords by login that wait to be handed out until a pooler knows them; in memory only."""
    pooling: dict[str, Pooling] = field(default_factory=dict)
    """Per Cell, what is known of its pooler."""
    used: dict[str, int] = field(default_factory=dict)
    """Per tenant id, the bytes of data at its last measure, by whichever leader."""
    ready: dict[str, bool] = field(default_factory=dict)
    """Per tenant id, whether its last reconcile left it Ready."""
    differing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Per tenant id, what it holds beyond what is declared, where its Cell only reports that."""
    verifiers: dict[str, int] = field(default_factory=dict)
    """Per tenant id, a number for the passwords that were last proved to be its Secrets' (database.py)."""
    exceeding: dict[str, Episode] = field(default_factory=dict)
    """Per tenant id, what its sessions did beyond limits lately."""
    spending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from counting a budget to the intent that spends it, so that two workers cannot spend the same one."""
    definitions: dict[str, bytes] = field(default_factory=dict)
    """Per id of a tenant that moves, its tables' definition as it was dumped; dumped again after a restart."""
    copies: dict[str, Progress] = field(default_factory=dict)
    """Per id of a tenant that moves, how far its copy was when it was last looked at."""
    access: dict[str, Access] = field(default_factory=dict)
    """Per tenant id, what its contract lets its logins do, once a reconcile has said so (agent_access.py)."""
    letting_in: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """Per tenant id, held while its agents are let in or shut out, so that neither crosses the other."""
    carried: dict[str, Carried] = field(default_factory=dict)
    """Per id of a tenant whose rows this process copies, how much has come over."""
    copied: set[str] = field(default_factory=set)
    """Ids of tenants whose rows this process has copied, all of them."""
    waiting: dict[str, datetime] = field(default_factory=dict)
    """Per Tenant name, since when its reconciles end in Retry."""
