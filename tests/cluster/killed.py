"""The operator as a process of its own that kills itself at a chosen effect: ``python -m tests.cluster.killed``.

Its settings come from the environment, as those of ``paybill run``; the fault, if any, is its argument, in JSON. It
says on standard output that it leads, and at which effect it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys

from paybill import app
from paybill.reconcile.log import configure
from paybill.settings import from_environment
from tests.cluster.faults import Fault, Faults


async def run(fault: Fault | None) -> None:
    """Lead, and do what is to be done, until SIGTERM or the fault."""
    stop, leading = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    faults = Faults(lambda: _die(faults))
    faults.arm(fault)
    told = asyncio.create_task(_tell(leading))
    await app.run(from_environment(), stop=stop, leading=leading, doors=faults.doors())
    told.cancel()


async def _tell(leading: asyncio.Event) -> None:
    await leading.wait()
    _say("leads")


def _die(faults: Faults) -> None:
    _say(f"ends at {faults.happened}")
    os.kill(os.getpid(), signal.SIGKILL)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    configure("text", os.environ.get("PAYBILL_LOG_LEVEL", "INFO"))
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    asyncio.run(run(Fault(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else None))
