"""What the whole installation may do: everything, everything but destroy, or nothing but look.

A person who does not trust what is going on stops it all with one word, before finding out why. The word stands in a
ConfigMap, which any tool can write; so whatever it says that is not understood changes nothing, and while nothing was
ever read nothing is destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

RESUME = "paybill resume"
"""The command that ends a halt, as messages name it."""
WRITTEN_AT_MOST = 1000
"""Characters of what somebody wrote that are read."""
WORDS_AT_MOST = 200
"""Characters of somebody's reason that a message repeats."""


class Mode(StrEnum):
    """How much Paybill may do, from all to nothing."""

    FULL = "Full"
    NON_DESTRUCTIVE = "NonDestructive"
    OBSERVE = "Observe"

    @property
    def effect(self) -> str:
        """What the mode means, for people."""
        return {
            Mode.FULL: "everything is done",
            Mode.NON_DESTRUCTIVE: "nothing is suspended, restricted, deleted, dropped, evicted or taken away from "
            "owners; all else goes on",
            Mode.OBSERVE: "nothing is done at all, only reported",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Halt:
    """The mode that holds, and who set it, why and when (in their own words; empty where nobody said)."""

    mode: Mode
    reason: str = ""
    by: str = ""
    time: str = ""

    @property
    def observing(self) -> bool:
        """Whether nothing at all may be done."""
        return self.mode is Mode.OBSERVE

    def permits(self, *, destructive: bool) -> bool:
        """Whether a step may be taken."""
        return self.mode is Mode.FULL or (self.mode is Mode.NON_DESTRUCTIVE and not destructive)

    @property
    def words(self) -> str:
        """Who halted the installation and why, in one line."""
        who = f" by {_line(self.by)}" if self.by else ""
        since = f" at {_line(self.time)}" if self.time else ""
        why = f": {_line(self.reason)}" if self.reason else ""
        return f"mode {self.mode}{who}{since}{why}"

    def data(self) -> dict[str, str]:
        """As the ConfigMap holds it."""
        return {"mode": str(self.mode), "reason": self.reason, "by": self.by, "time": self.time}


FULL = Halt(mode=Mode.FULL)
UNREAD = Halt(mode=Mode.NON_DESTRUCTIVE, reason="the operator could not read its mode since it started")
"""What holds before the mode was read for the first time."""


def read(data: Mapping[str, str]) -> Halt | None:
    """What the ConfigMap says; None when it names no mode that we know."""
    try:
        mode = Mode(data.get("mode", ""))
    except ValueError:
        return None
    return Halt(mode=mode, reason=_said(data, "reason"), by=_said(data, "by"), time=_said(data, "time"))


def unread(remembered: Halt | None) -> Halt:
    """What holds when the mode cannot be read at the start: what held before, but never more than non-destructive."""
    return remembered if remembered is not None and remembered.mode is Mode.OBSERVE else UNREAD


def absent(remembered: Halt | None) -> Halt:
    """What holds when no mode is set: what held before, for a halt does not end by something that vanishes."""
    return remembered or FULL


def _said(data: Mapping[str, str], name: str) -> str:
    """What somebody wrote, as far as it can be shown, logged and kept."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in data.get(name, ""))[:WRITTEN_AT_MOST]


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WORDS_AT_MOST else line[: WORDS_AT_MOST - 1] + "…"
