"""The account that Postgres runs as when we are root, and which folders that account can reach.

Postgres refuses to run as root, in containers root is often all there is, and root's home is closed to others. We
neither create system accounts nor open folders that are not ours: an account that exists is borrowed, and what it
cannot reach is kept where it can.
"""

import hashlib
import os
import pwd
import stat
from pathlib import Path

from paybill.api.failures import Blocked
from paybill.local.process import Account

_CANDIDATES = ("postgres", "nobody")
SHARED_STATE = Path("/var/lib/paybill")
SHARED_CACHE = Path("/var/cache/paybill")


def unprivileged_account() -> Account | None:
    """The account to run Postgres as: ``None`` for our own when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise Blocked(
        "NoUnprivilegedAccount",
        f"Postgres does not run as root and none of the accounts {', '.join(_CANDIDATES)} exists: "
        "create one of them, or run Paybill as another user",
    )


def can_reach(path: Path, account: Account) -> bool:
    """Whether ``account`` may enter every folder above ``path`` (those that exist yet)."""
    return all(_may_enter(folder, account) for folder in path.absolute().parents if folder.exists())


def _may_enter(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def data_folder(preferred: Path, account: Account | None) -> Path:
    """``preferred``, or where the account cannot reach it, a folder under /var/lib/paybill that stands for it."""
    if account is None or can_reach(preferred, account):
        return preferred
    return SHARED_STATE / f"{preferred.parent.name}-{short_hash(preferred)}"


def make_folder(path: Path, account: Account | None) -> Path:
    """Make ``path`` a folder of the account's own that nobody else may enter."""
    if account is not None and path.is_relative_to(SHARED_STATE):
        SHARED_STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    allowed = {os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in allowed:
        raise Blocked("ForeignFolder", f"{path} belongs to someone else: remove it and try again")
    path.chmod(0o700)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    return path


def short_hash(path: Path) -> str:
    """Ten characters that stand for a path where the path itself is too long."""
    return hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:10]
