"""The three ways in which anything in Paybill fails, in the words that a condition, an Event and the CLI carry.

They live with the API because their reasons are part of it: a reason is a stable CamelCase word listed in
docs/reference/conditions.md, a message names the object, the value and what to do. Nothing secret goes in either.
"""


class Failure(Exception):  # noqa: N818 - what happened to an object, seldom an error of ours
    """What stopped a reconcile: ``reason`` is stable for machines, ``message`` is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Retry(Failure):
    """Something outside is not there yet (a server that is down, a quota not yet enforced): try again.

    ``after`` is in seconds; ``None`` leaves the wait to the queue's exponential back-off.
    """

    def __init__(self, reason: str, message: str, *, after: float | None = None) -> None:
        super().__init__(reason, message)
        self.after = after


class Blocked(Failure):
    """The declaration is fine but the world forbids it (a foreign object, a full cell): waits for a change."""


class Invalid(Failure):
    """The declaration cannot be carried out as written (an unknown plan, a contradiction): waits for an edit."""
