"""localstripe, a stand-in for Stripe that somebody else wrote: a process of its own, spoken to over HTTP alone.

Past due, the one way it has: a card that needs authentication, an invoice that is paid by it, and an authentication
that fails.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.billing.front import Front
from tests.cluster.waiting import until

KEY = "sk_test_12345"
GOOD, ASKS, = "4242424242424242", "4000002500003155"  # fmt: skip


class LocalStripe:
    """One process. Its state is in its memory and in a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._log = (folder / "localstripe.log").open("wb")
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(folder)}
        argv = [sys.executable, "-m", "localstripe", "--port", str(self.port), "--from-scratch"]
        self.front: Front | None = None
        """What it lacks, in front of it, where a test needs that."""
        self._process = subprocess.Popen(argv, env=environment, stdout=self._log, stderr=self._log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    async def answers(self) -> None:
        """Wait until it listens."""

        async def asked() -> bool:
            try:
                await self.call("GET", "/v1/balance")
            except aiohttp.ClientConnectionError:
                return False
            return True

        await until(asked, seconds=60)

    async def call(self, method: str, path: str, **form: Any) -> dict[str, Any]:
        """One request; fails when it is refused."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http,
            http.request(method, self.url + path, data=form or None) as answer,
        ):
            content: dict[str, Any] = await answer.json(content_type=None)
            assert answer.status < 300, (path, content)
            return content

    async def hook(self, url: str, secret: str) -> None:
        """Have events sent there."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.url}/_config/webhooks/tests", json={"url": url, "secret": secret}) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def plan(self, name: str) -> None:
        product = await self.call("POST", "/v1/products", name=name, type="service")
        await self.call("POST", "/v1/plans", id=name, product=product["id"], amount="1000", currency="eur",
                        interval="month", nickname=name)  # fmt: skip

    async def customer(self) -> str:
        """One who pays."""
        customer = await self.call("POST", "/v1/customers", email="tests@example.com")
        await self.card(customer["id"], GOOD)
        return str(customer["id"])

    async def card(self, customer: str, number: str) -> None:
        """Make a card the one that invoices are paid by."""
        card = {"card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2099", "card[cvc]": "123"}
        method = await self.call("POST", "/v1/payment_methods", type="card", **card)
        await self.call("POST", f"/v1/payment_methods/{method['id']}/attach", customer=customer)
        default = {"invoice_settings[default_payment_method]": method["id"]}
        await self.call("POST", f"/v1/customers/{customer}", **default)

    async def subscribe(self, customer: str, plan: str, **more: str) -> str:
        item = {"items[0][plan]": plan, "items[0][quantity]": "1"}
        found = await self.call("POST", "/v1/subscriptions", customer=customer, **item, **more)
        assert found["status"] == "active", found
        return str(found["id"])

    async def sell(self, subscription: str, plan: str, quantity: int) -> None:
        """Let a subscription be to so many of a plan."""
        item = {"items[0][plan]": plan, "items[0][quantity]": str(quantity)}
        await self.call("POST", f"/v1/subscriptions/{subscription}", **item)

    async def fall_behind(self, customer: str, subscription: str) -> str:
        """Let the next payment fail; returns the invoice that stays open."""
        await self.card(customer, ASKS)
        item = {"amount": "1000", "currency": "eur"}
        await self.call("POST", "/v1/invoiceitems", customer=customer, **item)
        invoice = await self.call("POST", "/v1/invoices", customer=customer, subscription=subscription)
        tried = await self.call("POST", f"/v1/invoices/{invoice['id']}/pay")
        intent = await self.call("GET", f"/v1/payment_intents/{tried['payment_intent']}")
        await self.call(
            "POST", f"/v1/payment_intents/{intent['id']}/_authenticate", client_secret=intent["client_secret"],
            success="false", key="pk_test_x",
        )  # fmt: skip
        assert (await self.call("GET", f"/v1/subscriptions/{subscription}"))["status"] == "past_due"
        return str(invoice["id"])

    async def pay(self, customer: str, invoice: str) -> None:
        """Pay what is owed, by a good card."""
        await self.card(customer, GOOD)
        await self.call("POST", f"/v1/invoices/{invoice}/pay")
