"""What the API server answered to the operator, and what of it only nonsense is answered with."""

from __future__ import annotations

from tests.cluster.journal import Journal, Request

EXPECTED = {404, 409}
"""What the operator's own requests may be answered, beside success."""


def refused_by(journal: Journal) -> list[str]:
    """What the API server refused to the operator: whoever writes nonsense once writes it again.

    But for a status that it cannot apply because of what others wrote there, if it replaces that right after.
    """
    own = [one for one in journal.all() if one.user == journal.user]
    mended = {(one.resource, one.name, one.answered) for one in own if one.subresource == "status" and one.status < 300}
    return [str(one) for one in own if _unexpected(one) and not _followed(one, mended)]


def given_up(one: Request, user: str) -> bool:
    """Whether the asker hung up before the answer: an operator that is stopped does, and a 500 is logged for it."""
    return one.user == user and one.status in (500, 504) and one.message.endswith("context canceled")


def _followed(one: Request, mended: set[tuple[str, str, str]]) -> bool:
    if one.subresource != "status" or one.status != 422:
        return False
    return any(one.answered < at for resource, name, at in mended if (resource, name) == (one.resource, one.name))


def _unexpected(one: Request) -> bool:
    if (one.subresource == "eviction" and one.status == 429) or "if the object is being deleted" in one.message:
        return False  # a PodDisruptionBudget's answer; a delete that came a moment before our finalizer
    return 400 <= one.status < 500 and one.status not in EXPECTED
