"""What acting on a server led to, in words that the audit log and the conditions carry unchanged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What a call changed (empty: nothing was written), and what the server refused (for the condition Isolated)."""

    changed: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    created: bool = False
    """Everything was made in one transaction, where nothing was before: there is nothing to look at afterwards."""
