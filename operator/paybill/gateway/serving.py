"""What is served now: the agents that are mounted, each with its sessions and its rate, exchanged while calls go on."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from paybill.api.failures import Failure
from paybill.gateway.calls import Database
from paybill.gateway.metrics import AGENTS, UNREADABLE
from paybill.gateway.mounted import Agent, Mounted, differ_in_password, digest_of, read
from paybill.gateway.rates import Bucket

logger = logging.getLogger(__name__)

LOOK: Final = 5.0
"""Seconds between looks at the mounted files; the kubelet takes up to a minute to bring a change."""


class Serving:
    """The agents of one tenant."""

    def __init__(self, folder: Path, tenant: str) -> None:
        self._folder, self._tenant = folder, tenant
        self.mounted = Mounted({}, {}, "")
        self._databases: dict[str, tuple[Agent, Database]] = {}
        self._buckets: dict[str, Bucket] = {}

    def database(self, agent: Agent) -> Database:
        """The sessions of an agent that is mounted."""
        return self._databases[agent.name][1]

    def bucket(self, agent: Agent) -> Bucket:
        """The rate of an agent that is mounted."""
        return self._buckets[agent.name]

    async def take_up(self) -> bool:
        """Serve what is mounted now; whether it is another thing than before. Raises Invalid."""
        if self.mounted.digest and digest_of(self._folder) == self.mounted.digest:
            return False
        mounted = await asyncio.to_thread(read, self._folder, self._tenant)
        gone = []
        for name, (agent, database) in list(self._databases.items()):
            now = mounted.agents.get(name)
            if now is not None and differ_in_password(now, agent):
                database.log_in_with(now.uri)
                self._databases[name] = (now, database)
            elif now is None or now.uri != agent.uri or now.policy != agent.policy:
                gone.append(database)
                del self._databases[name]
                del self._buckets[name]
        for name, agent in mounted.agents.items():
            if name not in self._databases:
                database = Database(agent)
                await database.open()
                self._databases[name] = (agent, database)
                self._buckets[name] = Bucket(agent.policy.limits.calls_per_minute)
        self.mounted = mounted
        AGENTS.set(len(mounted.agents))
        for database in gone:
            await database.close()
        logger.info("serving agents: %s", ", ".join(sorted(mounted.agents)) or "none")
        return True

    async def keep_up(self) -> None:
        """Look at the mounted files for ever; what cannot be read leaves what was served."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.take_up()
                UNREADABLE.set(0)
            except Failure as failure:
                UNREADABLE.set(1)
                logger.error("what is mounted is not taken up: %s", failure)

    async def reached(self) -> bool:
        """Whether the database answers: any agent's login will do, for a call is its own agent's matter."""
        databases = [database for _, database in self._databases.values()]
        return not databases or any(await asyncio.gather(*(database.reached() for database in databases)))

    async def close(self) -> None:
        """End every session."""
        for _, database in self._databases.values():
            await database.close()
