"""Stripe with checkout sessions, which localstripe lacks: a front that answers for them and passes the rest on.

The sessions are as Stripe writes them (recorded/checkout_session.json, from its API reference), with the ids of what is
in localstripe.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

RECORDED = Path(__file__).parent / "recorded" / "checkout_session.json"
PATH = "/v1/checkout/sessions/"


class Checkouts:
    """The front of one localstripe, in a thread; ``sessions`` by their ids."""

    def __init__(self, behind: str) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, behind))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def completed(self, session: str, subscription: str, customer: str, **given: Any) -> dict[str, Any]:
        """A session that is there from now on; ``given`` replaces fields."""
        recorded: dict[str, Any] = json.loads(RECORDED.read_text())
        made = recorded | {"id": session, "subscription": subscription, "customer": customer} | given
        self.sessions[session] = made
        return made


def _handler(front: Checkouts, behind: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's name
            if self.path.startswith(PATH):
                found = front.sessions.get(self.path.removeprefix(PATH).partition("?")[0])
                missing = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "none"}}
                self._answer(200 if found else 404, json.dumps(found or missing).encode())
                return
            asked = Request(behind + self.path, headers={"Authorization": self.headers["Authorization"]})
            try:
                with urlopen(asked) as answer:
                    self._answer(answer.status, answer.read())
            except HTTPError as refused:
                self._answer(refused.code, refused.read())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
