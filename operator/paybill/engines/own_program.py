"""What a program or module of the provider's own is, as a hash: an edited file is another program, and so an operation.

Asked at each reconcile, so files are read only when their names, sizes or times are others than at the last look.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from paybill.api.failures import Blocked

SKIPPED = frozenset({".git", ".terraform", "__pycache__", "node_modules", ".venv"})
MOST_FILES = 2000
_known: dict[str, tuple[tuple[tuple[str, int, int], ...], str]] = {}


def fingerprint(path: str) -> str:
    """The hash of all files below a folder; raises Blocked when there is no such folder or it holds too much."""
    root = Path(path)
    if not root.is_dir():
        raise Blocked(
            "ProgramMissing",
            f"there is no folder {path} here, which the Cell names as its program or module: mount it where the "
            "operator runs, or correct the path",
        )
    seen = tuple(sorted(_files(root)))
    if len(seen) > MOST_FILES:
        raise Blocked("ProgramMissing", f"{path} holds more than {MOST_FILES} files: is it a program or a module?")
    known = _known.get(path)
    if known is None or known[0] != seen:
        known = _known[path] = (seen, _hash(root, [name for name, _, _ in seen]))
    return known[1]


def _files(root: Path) -> list[tuple[str, int, int]]:
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(one for one in folders if one not in SKIPPED)
        for name in files:
            path = Path(folder) / name
            status = path.lstat()
            found.append((str(path.relative_to(root)), status.st_size, status.st_mtime_ns))
        if len(found) > MOST_FILES:
            break
    return found


def _hash(root: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        content = (root / name).read_bytes() if (root / name).is_file() else b""
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
