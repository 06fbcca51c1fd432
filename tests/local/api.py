"""A client of a few lines for the tests of the control plane itself, so that they lean on nothing they might test."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from paybill.local.certificates import Certificates, Pair
from paybill.local.home import Home

T = TypeVar("T")


@dataclass(frozen=True)
class Api:
    """The API server of a home, as one of its users."""

    url: str
    authority: Path
    login: Pair | None

    @classmethod
    def admin(cls, home: Home) -> "Api":
        certificates = Certificates(home.certificates)
        return cls(home.read_state()["api_url"], certificates.authority.certificate, certificates.admin)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 does by itself
        if self.login is not None:
            context.load_cert_chain(self.login.certificate, self.login.key)
        place = urlsplit(self.url)
        connection = http.client.HTTPSConnection(place.hostname, place.port, context=context, timeout=20)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.call("POST", path, body)
        assert status in (200, 201), answer
        return answer

    def namespace(self, name: str) -> str:
        """Make a namespace and return the path of its things."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return f"/api/v1/namespaces/{name}"


def eventually(look: Callable[[], T], *, seconds: float = 30.0) -> T:
    """What ``look`` returns once it is true; fails when that takes longer than ``seconds``."""
    ends = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < ends, f"not within {seconds} s: {found!r}"
        time.sleep(0.05)
