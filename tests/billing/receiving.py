"""The webhook receiver as a process, and Stripe's side of the wire: signed events over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from stripe import WebhookSignature

from tests.cluster.waiting import until

ROOT = Path(__file__).parents[2]
SECRET = "whsec_tests"
JSON_TYPE = {"Content-Type": "application/json"}


def event(kind: str = "customer.subscription.updated", **given: Any) -> dict[str, Any]:
    """An event as Stripe writes it; ``given`` replaces fields."""
    found = {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active"}
    return {
        "id": f"evt_{secrets.token_hex(8)}", "object": "event", "type": kind, "created": int(time.time()),
        "livemode": False, "data": {"object": found},
    } | given  # fmt: skip


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """The headers that Stripe sends with a body."""
    made = WebhookSignature.generate_signature_header(body.decode(), secret, int(at or time.time()))
    return {**JSON_TYPE, "Stripe-Signature": made}


def as_role(control_dsn: str, role: str) -> str:
    """The control database as the receiver's role reaches it, with the right that docs tell people to give."""
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))
    return make_conninfo(control_dsn, user=role, password="x")


class Receiver:
    """One process of ``paybill webhook``; started again it is another one on the same database."""

    def __init__(self, dsn: str, folder: Path, **environment: str) -> None:
        self._folder = folder
        (folder / "signing").write_text(f"whsec_the_one_before\n{SECRET}\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "PAYBILL_CONTROL_DATABASE_URL": dsn,
            "PAYBILL_STRIPE_SIGNING_FILE": str(folder / "signing"),
            "PAYBILL_STRIPE_LIVE": "false",
            "PAYBILL_LOG_FORMAT": "text",
            **environment,
        }
        self._process: asyncio.subprocess.Process | None = None
        self.ports = (0, 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}/stripe"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def said(self) -> str:
        """What it logged since it was started."""
        return (self._folder / "receiver.log").read_text()

    async def start(self, *, wait: bool = True) -> None:
        with (self._folder / "receiver.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "paybill", "webhook", env=self._environment, stderr=log, stdout=log
            )
        if wait:
            found = await until(lambda: re.search(r"events on port (\d+).* on port (\d+)", self.said), seconds=60,
                                otherwise=lambda: self.said)  # fmt: skip
            self.ports = int(found[1]), int(found[2])

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), 20)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), 60)

    async def post(self, content: Any, headers: dict[str, str] | None = None) -> int:
        """Send one body, signed unless ``headers`` say otherwise; the status it is answered with."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url, data=body, headers=signed(body) if headers is None else headers) as answer,
        ):
            return answer.status

    async def metric(self, outcome: str) -> float:
        """How many requests came to an outcome."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.ports[1]}/metrics") as answer,
        ):
            text = await answer.text()
        found = re.search(rf'paybill_webhook_events_total{{outcome="{outcome}"}} (\S+)', text)
        return float(found[1]) if found else 0.0
