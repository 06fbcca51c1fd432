"""What a person is shown of a call before it is approved: nothing in it can hide, move or imitate another part.

Values come from strangers, and terminals and browsers obey what they print: a character that turns the direction of
what follows, an escape sequence, a space that is none, or ten thousand characters in front of the amount. So every
value is JSON on one line, what is not seen as itself is written out, and what is long is cut and says so. That the
call is the one that was shown is said by its digest, which is of the whole of it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any, Final

from paybill.agents.interpreter import Call
from paybill.api.agent_run import ShownArgument

LONGEST: Final = 300
"""Characters of one value, written out."""
LONGEST_NAME: Final = 100
"""Characters of a name: more than Postgres takes."""
MOST_MARKS: Final = 2
"""Marks on one letter: more of them reach into the lines above and below."""

_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Seen as nothing, though Unicode calls them letters, marks or symbols."""


def arguments(call: Call, untrusted: Collection[str]) -> tuple[ShownArgument, ...]:
    """The arguments of ``call`` by name; ``untrusted`` names those that may be a stranger's text."""
    return tuple(_argument(name, value, untrusted=name in untrusted) for name, value in sorted(call.arguments.items()))


def _argument(name: str, value: Any, *, untrusted: bool) -> ShownArgument:
    written = _as_json(value)
    shown, whole = _bounded(written, LONGEST)
    return ShownArgument(name=word(name), value=shown, characters=None if whole else len(written), untrusted=untrusted)


def word(text: str) -> str:
    """A name as it is shown: without quotes, its backslashes doubled like those of a value."""
    return _bounded(_as_json(text)[1:-1], LONGEST_NAME)[0]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _bounded(text: str, most: int) -> tuple[str, bool]:
    """``text`` written out, and whether that is all of it."""
    found: list[str] = []
    length = 0
    for piece in _written_out(text):
        length += len(piece)
        if length > most:
            return "".join(found), False
        found.append(piece)
    return "".join(found), True


def _written_out(text: str) -> Iterator[str]:
    marks = MOST_MARKS
    """How many there are on the letter before; at the beginning and behind anything else there is none to carry any."""
    for char in text:
        category = unicodedata.category(char)
        if category in ("Mn", "Mc"):
            marks += 1
        else:
            marks = 0 if category[0] == "L" else MOST_MARKS
        plain = char == " " or (category[0] not in "CZ" and category != "Me" and char not in _BLANK)
        variant = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
        yield char if plain and not variant and marks <= MOST_MARKS else f"\\u{{{ord(char):x}}}"
