"""Protection that is lifted for one operation: from exactly the resources that it may take away, and put back after.

A program goes on to protect what it declares; it is the state that the engine of Pulumi asks. So the state is edited,
for the URNs that were approved and for no others. Whoever is killed meanwhile cannot put it back, and what a program
no longer declares would stay unprotected: the stack is marked before, by tags that are where the state is, and a
recovery puts back what they name.

A replacement lifts the retention too: what is retained is not taken away, and its name would refuse the new one.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

MARK = "paybill:lifted-"
"""What the names of the tags begin with; a number follows."""
PER_TAG = 13
"""Resources that fit into one tag, whose value may have 256 characters."""
_OPTIONS: Mapping[str, str] = MappingProxyType({"protect": "p", "retainOnDelete": "r"})
"""What is lifted of a resource, and the letter that stands for it."""


def lifted(deployment: Mapping[str, Any], going: Collection[str], *, replaced: Collection[str] = ()) -> dict[str, Any]:
    """A deployment in which ``going`` (URNs) are not protected, and ``replaced`` not retained either."""
    content = copy.deepcopy(dict(deployment))
    for one in _resources(content):
        if one["urn"] in going:
            one.pop("protect", None)
        if one["urn"] in replaced:
            one.pop("retainOnDelete", None)
    return content


def marks(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The tags that name what ``after`` lacks of the protection of ``before``."""
    remaining = {one["urn"]: one for one in _resources(after)}
    words = set()
    for one in _resources(before):
        other = remaining[one["urn"]]
        letters = "".join(letter for name, letter in _OPTIONS.items() if one.get(name) and not other.get(name))
        if letters:
            words.add(_name(one["urn"]) + letters)
    named = sorted(words)
    parts = [named[begin : begin + PER_TAG] for begin in range(0, len(named), PER_TAG)]
    return {f"{MARK}{number}": " ".join(part) for number, part in enumerate(parts)}


def restored(deployment: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """A deployment in which what the tags name is protected again, as far as it is there still."""
    content = copy.deepcopy(dict(deployment))
    words = {word[:16]: word[16:] for name, value in tags.items() if name.startswith(MARK) for word in value.split()}
    for one in _resources(content):
        # What was taken away to be made anew is nowhere: there is nothing to protect until that is there.
        if not one.get("pendingReplacement"):
            letters = words.get(_name(one["urn"]), "")
            one |= {name: True for name, letter in _OPTIONS.items() if letter in letters}
    return content


def _name(urn: str) -> str:
    return hashlib.sha256(urn.encode()).hexdigest()[:16]


def _resources(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(deployment.get("resources") or ())
