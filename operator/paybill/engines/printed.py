"""What programs and tools print goes to a log: without secrets, line by line, and never more than a disk can take.

Standard output of the worker carries its answers, so whatever else writes there (a user's program, a library, a tool
that inherited it) would break them. Both standard descriptors become one pipe, and this is its other end.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from pathlib import Path

from paybill.engines.redaction import Redactor

LINE_BYTES = 16 * 1024
"""What is kept of one line."""
LOG_BYTES = 4 * 1024 * 1024
"""What is kept of it all."""
_CUT = " [cut]\n"


class Printed:
    """Takes over file descriptors 1 and 2 of this process."""

    def __init__(self, redactor: Redactor, log: int, *, log_bytes: int = LOG_BYTES) -> None:
        self._redactor = redactor
        self._log = log
        self._left = log_bytes
        self._line = b""
        self._overlong = False
        self._thread = threading.Thread(target=self._pump, name="printed", daemon=True)
        self._reading = -1

    @classmethod
    def capture(cls, redactor: Redactor, *, log_bytes: int = LOG_BYTES) -> tuple[Printed, int]:
        """Redirect both; returns the pump and a private descriptor of what standard output was."""
        answers, log = os.dup(1), os.dup(2)
        printed = cls(redactor, log, log_bytes=log_bytes)
        printed._reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        printed._thread.start()
        return printed, answers

    def finish(self, seconds: float = 2.0) -> None:
        """Write what is left; children that still hold the pipe are not waited for longer than ``seconds``."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, OSError):  # a program may have closed them
                stream.flush()
        # Not given back: what is printed from here on would reach the log with its secrets.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        self._thread.join(seconds)
        self._redact_again()

    def _redact_again(self) -> None:
        """Take out what was printed before it was known to be a secret: a program prints it, and then hands it over."""
        if not stat.S_ISREG(os.fstat(self._log).st_mode):
            return
        path = Path(f"/proc/self/fd/{self._log}")
        before = path.read_text(errors="replace")
        if (after := self._redactor.text(before)) != before:
            path.write_text(after)

    def _pump(self) -> None:
        while chunk := os.read(self._reading, 64 * 1024):
            self._take(chunk)
        if self._line and not self._overlong:
            self._write(self._line + b"\n")

    def _take(self, chunk: bytes) -> None:
        """Write the whole lines in ``chunk``. Of a line that is too long, the first part is written, once."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            if not self._overlong:
                self._write_line(self._line + part)
            self._line, self._overlong = b"", False
        if not self._overlong:
            self._line += rest
            if len(self._line) > LINE_BYTES + self._margin:
                self._write_line(self._line)
                self._line, self._overlong = b"", True

    def _write_line(self, line: bytes) -> None:
        self._write(line + b"\n" if len(line) <= LINE_BYTES else line)

    @property
    def _margin(self) -> int:
        # In UTF-8 a character has at most four bytes.
        return 4 * self._redactor.longest

    def _write(self, line: bytes) -> None:
        if self._left <= 0:
            return
        text = self._redactor.text(line.decode(errors="replace"))
        if len(line) > LINE_BYTES:
            # The end may be the first half of a secret, which nothing recognises.
            text = text[: min(max(len(text) - self._redactor.longest, 0), LINE_BYTES)] + _CUT
        content = text.encode()
        self._left -= len(content)
        os.write(self._log, content if self._left > 0 else b"[the rest is left out: too much was printed]\n")
