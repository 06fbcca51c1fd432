"""A Git server over HTTP, as real as Git hosts are: dulwich's own, with a repository that tests commit to."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich import porcelain
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

WHO = b"Tests <tests@example.org>"
LOGIN = ("reader", "a token")


class GitServer:
    """One repository at ``url``. ``wants``: the login that it asks for; ``asked``: the requests so far."""

    def __init__(self, folder: Path) -> None:
        self.repo = Repo.init(str(folder), mkdir=True)
        self.folder = folder
        self.wants: tuple[str, str] | None = None
        self.asked = 0
        self.serves = True
        self.url = ""

    def commit(self, **files: str | bytes | None) -> str:
        """Commit files by their paths (``__`` is a slash, ``_sql`` the ending); None removes one. The commit."""
        for name, content in files.items():
            path = self.folder / (name.removesuffix("_sql").replace("__", "/") + ".sql")
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                porcelain.rm(self.repo, [str(path)])
                continue
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            porcelain.add(self.repo, [str(path)])
        return porcelain.commit(self.repo, message=b"change", author=WHO, committer=WHO).decode()

    def link(self, name: str, target: str) -> None:
        """Commit a symbolic link."""
        (self.folder / name).symlink_to(target)
        porcelain.add(self.repo, [str(self.folder / name)])
        porcelain.commit(self.repo, message=b"link", author=WHO, committer=WHO)

    def app(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        self.asked += 1
        expected = "Basic " + base64.b64encode(":".join(self.wants or ("", "")).encode()).decode()
        if not self.serves:
            start("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"away"]
        if self.wants is not None and environ.get("HTTP_AUTHORIZATION") != expected:
            start("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("Content-Type", "text/plain")])
            return [b"who are you"]
        return make_wsgi_chain(DictBackend({"/app.git": self.repo}))(environ, start)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are not told."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[GitServer]:
    """A repository that is served until the end."""
    git = GitServer(folder)
    server: WSGIServer = make_server("127.0.0.1", 0, git.app, handler_class=_Quiet)
    git.url = f"http://127.0.0.1:{server.server_port}/app.git"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield git
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        git.repo.close()
