"""Files that others must not read, and of which nobody may ever read half."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A file that only its owner can read, to be written; it is at ``path``, in place of another, when that ended well.

    Until then, and after a failure, there is what was there before.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: str | bytes) -> Path:
    """Write ``content`` so that only the owner can read it and a reader sees the old or the new file, never half."""
    with private_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path
