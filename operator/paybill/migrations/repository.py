"""Reads the provider's files out of a Git repository: the newest commit of one branch or tag, and nothing of its past.

What is fetched is kept nowhere: the files of one folder are read into memory, links and everything else left out. A
repository that moved to another commit is read again; one that did not costs one request.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import urllib3
from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized, Urllib3HttpGitClient
from dulwich.errors import (
    ApplyDeltaError,
    ChecksumMismatch,
    FileFormatException,
    GitProtocolError,
    NotGitRepository,
    NotTreeError,
)
from dulwich.object_store import tree_lookup_path
from dulwich.objects import Blob, Commit, ObjectID, SubmoduleEncountered, Tag, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.migrations.files import LARGEST

CONNECT: Final = 5.0
READ: Final = 30.0
"""Seconds that a server may need for a connection, and for the next piece of an answer."""
_UNUSABLE: Final = (ApplyDeltaError, ChecksumMismatch, FileFormatException, GitProtocolError, zlib.error)
"""What an answer raises that is not what Git sends."""
_REGULAR: Final = 0o100000
_KIND: Final = 0o170000


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where the files are, and as whom they are asked for."""

    url: str
    ref: str
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The files of one commit: name → text."""

    commit: str
    texts: Mapping[str, str]


def read(repository: Repository, known: Checkout | None = None) -> Checkout:
    """The files as they are now; ``known`` itself when the commit is still the same. Waits for the network.

    Raises ``Retry("GitUnavailable")`` when the server does not answer, ``Blocked("GitRefused")`` when it refuses the
    login, ``Invalid("MigrationsUnreadable")`` when there is no such branch, tag or folder.
    """
    base, path = _divided(repository.url)
    timeout = urllib3.Timeout(connect=CONNECT, read=READ)
    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        client = Urllib3HttpGitClient(
            base, pool_manager=pool, username=repository.username or None, password=repository.password or None
        )
        try:
            wanted = _resolved(repository, client.get_refs(path.encode()).refs)
            if known is not None and known.commit == wanted.decode():
                return known
            return _fetched(repository, client, path, wanted)
        except (HTTPUnauthorized, HTTPProxyUnauthorized) as error:
            raise Blocked("GitRefused", f"{repository.url} refuses the login, or wants one") from error
        except NotGitRepository as error:
            raise Invalid("MigrationsUnreadable", f"there is no Git repository at {repository.url}") from error
        except (*_UNUSABLE, urllib3.exceptions.HTTPError, OSError) as error:
            raise Retry("GitUnavailable", f"{repository.url} cannot be read: {type(error).__name__}") from error


def _divided(url: str) -> tuple[str, str]:
    """The server's URL, and the path there."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/", "", "")), parts.path


def _resolved(repository: Repository, refs: Mapping[Ref, ObjectID | None]) -> ObjectID:
    """The object that a branch, or a tag, names on the server now."""
    for kind in ("heads", "tags"):
        found = refs.get(Ref(f"refs/{kind}/{repository.ref}".encode()))
        if found is not None:
            return found
    raise Invalid("MigrationsUnreadable", f"{repository.url} has neither a branch nor a tag {repository.ref}")


def _fetched(repository: Repository, client: Urllib3HttpGitClient, path: str, wanted: ObjectID) -> Checkout:
    with tempfile.TemporaryDirectory(prefix="paybill-git-") as folder, Repo.init_bare(folder) as local:
        client.fetch(path.encode(), local, determine_wants=lambda *_, **__: [wanted], depth=1)
        found = local[wanted]
        while isinstance(found, Tag):
            found = local[found.object[1]]
        if not isinstance(found, Commit):
            raise Invalid("MigrationsUnreadable", f"{repository.ref} of {repository.url} names no commit")
        return Checkout(commit=wanted.decode(), texts=_texts(repository, local, found))


def _texts(repository: Repository, local: Repo, commit: Commit) -> dict[str, str]:
    try:
        _, where = tree_lookup_path(local.__getitem__, commit.tree, repository.path.encode())
        tree = local[where]
    except (KeyError, NotTreeError, SubmoduleEncountered):
        tree = None
    if not isinstance(tree, Tree):
        raise Invalid("MigrationsUnreadable", f"{repository.ref} of {repository.url} has no folder {repository.path}")
    texts: dict[str, str] = {}
    for entry in tree.iteritems():
        name = entry.path.decode(errors="replace")
        blob = local[entry.sha] if entry.mode & _KIND == _REGULAR and name.endswith(".sql") else None
        if isinstance(blob, Blob):
            texts[name] = _text(repository, name, blob.data[: LARGEST + 1])
    return texts


def _text(repository: Repository, name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid("MigrationsUnreadable", f"{name} of {repository.url} is not UTF-8") from error
