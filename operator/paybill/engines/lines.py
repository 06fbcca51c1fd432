"""Reads a worker's answers while it writes them, whatever it writes: overlong lines and what is no answer are skipped.

A program of the user's own runs in the worker, so what arrives is not trusted to be small or to be JSON: memory is
bounded by the longest line, and the whole by a limit at which the reader says that it is too much.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from paybill.engines.operation import Line

logger = logging.getLogger(__name__)

LINE_BYTES = 4 * 1024 * 1024
"""The longest answer: the changes of a stack with thousands of resources."""
ALL_BYTES = 64 * 1024 * 1024
"""The most that an operation may answer."""
_CHUNK = 256 * 1024
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


class Lines:
    """The answers in a file that grows. Each call of ``read`` gives those that came since the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._part = b""
        self._skipping = False
        self.strange = 0
        """Lines that were no answer."""

    @property
    def too_much(self) -> bool:
        """Whether it has written more than any operation has to say."""
        try:
            return self._path.stat().st_size > ALL_BYTES
        except FileNotFoundError:
            return False

    def read(self) -> Iterator[Line]:
        """What came since the last call, oldest first."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._at)
            while self._at < ALL_BYTES and (chunk := file.read(_CHUNK)):
                self._at += len(chunk)
                yield from self._take(chunk)

    def _take(self, chunk: bytes) -> Iterator[Line]:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if not self._skipping and (line := self._parse(self._part + piece)) is not None:
                yield line
            self._part, self._skipping = b"", False
        self._part = b"" if self._skipping else self._part + rest
        if len(self._part) > LINE_BYTES:
            self._part, self._skipping = b"", True
            self.strange += 1

    def _parse(self, content: bytes) -> Line | None:
        try:
            return _LINE.validate_json(content)
        except ValidationError:
            # Not logged itself: it is somebody's output, and may hold anything.
            self.strange += 1
            if self.strange == 1:
                logger.warning("%s: a line that is no answer is skipped", self._path)
            return None
