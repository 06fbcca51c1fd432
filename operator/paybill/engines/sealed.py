"""An operation's answer on its way through a pod's log, which others may read: sealed with a key of its own.

What a stack hands over may be a password, and logs are copied to places that nobody thinks of. The key comes with the
request and goes with it, so what is copied stays closed. A log is also cut, lost and written to by others: an answer is
whole and ours, or it is none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from cryptography.fernet import Fernet, InvalidToken
from pydantic import ValidationError

from paybill.engines.operation import Answer, Exit, Failed

MARK = "paybill-answer"
PIECE_CHARACTERS = 8 * 1024
"""Of one line: a container runtime splits lines at 16 KiB, and what reads a log need not join them again."""
SEALED_CHARACTERS = 8 * 1024 * 1024
"""The longest answer as it is written: less than a log grows to before it is rotated (10 MiB)."""
OPENED_BYTES = 64 * 1024 * 1024
"""What is unpacked of an answer at most."""


def new_key() -> str:
    """A key for one operation."""
    return Fernet.generate_key().decode()


def seal(answer: Answer, key: str) -> Iterator[str]:
    """The lines that say ``answer`` to whoever has the key; of one that is too long, that it is."""
    token = _token(answer, key)
    if len(token) > SEALED_CHARACTERS:
        token = _token(_too_large(answer), key)
    pieces = [token[at : at + PIECE_CHARACTERS] for at in range(0, len(token), PIECE_CHARACTERS)]
    for number, piece in enumerate(pieces, start=1):
        yield f"{MARK} {number}/{len(pieces)} {piece}"


class Opening:
    """Finds the answer among the lines of a log; ``answer`` is the last one that was whole."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)
        self._pieces: list[str] = []
        self.answer: Answer | None = None

    def take(self, line: str) -> None:
        """One line of the log, whatever it is."""
        words = line.split(" ")
        if len(words) != 3 or words[0] != MARK:
            return
        number, _, count = words[1].partition("/")
        if number == "1":
            self._pieces = []
        if number != str(len(self._pieces) + 1) or len(self._pieces) * PIECE_CHARACTERS > SEALED_CHARACTERS:
            self._pieces = []  # a piece is missing, or there is no end of them
            return
        self._pieces.append(words[2])
        if number == count:
            self.answer = self._open("".join(self._pieces)) or self.answer
            self._pieces = []

    def _open(self, token: str) -> Answer | None:
        try:
            packed = self._fernet.decrypt(token)
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(packed, OPENED_BYTES)
            return Answer.model_validate_json(content)
        except (InvalidToken, zlib.error, ValidationError):
            return None  # somebody else's words


def _token(answer: Answer, key: str) -> str:
    return Fernet(key).encrypt(zlib.compress(answer.model_dump_json().encode())).decode()


def _too_large(answer: Answer) -> Answer:
    """What was done stays done; what the stack hands over and would change is not known, so nothing follows from it."""
    message = "what it answered is more than fits into a pod's log: use runner Subprocess for so large a stack"
    failed = Failed(reason="AnswerTooLarge", message=message)
    return Answer(exit=Exit.USER, failed=failed, recovery_needed=answer.recovery_needed)
