"""What a caller tells the log: what it is about to do and why, and later what came of it.

Values are checked here, at the door, for two reasons: the log holds ids, short words and hashes only (an error text
may carry a password or a person's name), and one value that Postgres refuses would hold up everyone whose rows are
written in the same batch.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from paybill.api.failures import Invalid

LONGEST = 512
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,63}")
ACTION = re.compile(r"[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)+")
DIGEST = re.compile(r"[A-Za-z0-9:+/=_-]{1,128}")


@dataclass(frozen=True)
class Intent:
    """One step about to be taken.

    ``action`` is ``noun.verb`` ("namespace.apply"), ``object`` is kind and name ("Namespace/t-k3x9m2qd"), ``cause``
    is what made us ("Tenant/acme generation 3", "drift", "deadline"), ``inputs_digest`` a hash of what goes in.
    ``destructive`` steps are counted against the hourly budgets.
    """

    action: str
    object: str
    cause: str
    tenant_id: str | None = None
    cell: str | None = None
    inputs_digest: str | None = None
    destructive: bool = False

    def __post_init__(self) -> None:
        if not ACTION.fullmatch(self.action):
            raise Invalid("AuditEntryInvalid", f"action {self.action!r} is not of the form noun.verb")
        for name in ("object", "cause", "tenant_id", "cell"):
            _refuse_unprintable(name, getattr(self, name))
        if self.inputs_digest is not None and not DIGEST.fullmatch(self.inputs_digest):
            raise Invalid("AuditEntryInvalid", f"inputs_digest of {self.action} is not a digest")


@dataclass(frozen=True)
class StepToken:
    """The receipt of an intent that is in the log; to be given back with the outcome."""

    step: UUID
    intent: Intent


@dataclass(frozen=True)
class Outcome:
    """What came of a step: ``result`` is "ok", "failed" or another short word, ``reason`` a CamelCase word or none."""

    token: StepToken
    result: str = "ok"
    reason: str | None = None

    def __post_init__(self) -> None:
        for name in ("result", "reason"):
            value = getattr(self, name)
            if value is not None and not WORD.fullmatch(value):
                raise Invalid("AuditEntryInvalid", f"{name} of {self.token.intent.action} is not one short word")


def _refuse_unprintable(name: str, value: str | None) -> None:
    if value is None:
        return
    if not value or len(value) > LONGEST or not value.isprintable():
        raise Invalid("AuditEntryInvalid", f"{name} is empty, longer than {LONGEST} characters or not printable")
