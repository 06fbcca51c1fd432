"""What an error of the CLI or of a cloud means: whether it may go through later, or who must do what.

The clouds say it in texts of their own; the table is read from the top, and what it does not know is left to people
with the cloud's words, because trying again what nobody understands can cost money.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from paybill.engines.operation import Exit, Request
from paybill.engines.port import EngineError
from paybill.engines.pulumi.events import Complaint

SHOWN_CHARACTERS = 600


@dataclass(frozen=True)
class Kind:
    """A kind of error: how its texts look, and what to do."""

    pattern: re.Pattern[str]
    exit: Exit
    reason: str
    advice: str


def _kind(pattern: str, code: Exit, reason: str, advice: str) -> Kind:
    return Kind(re.compile(pattern, re.IGNORECASE), code, reason, advice)


KINDS: tuple[Kind, ...] = (
    _kind(
        r"incorrect passphrase|passphrase must be set|cipher: message authentication failed",
        Exit.USER,
        "PassphraseWrong",
        "give the passphrase that the state was made with",
    ),
    _kind(
        r"marked for protection|cannot be (deleted|replaced)[^\n]*protected|is protected",
        Exit.POLICY,
        "DataProtected",
        "what is protected is destroyed only when the deletion of its data was decided",
    ),
    _kind(
        r"default provider for '?[\w-]+'? disabled|has been disabled for .*default provider",
        Exit.USER,
        "ProviderMissing",
        "give every resource an explicit provider",
    ),
    _kind(
        r"no resource plugin|could not find plugin|failed to load (plugin|language plugin)|plugin .* not found",
        Exit.USER,
        "PluginMissing",
        "use an image that has the cloud's plugin, or name the folder of plugins in PAYBILL_PULUMI_PLUGINS",
    ),
    _kind(
        r"throttl|rate exceeded|too ?many ?requests|requestlimitexceeded|slowdown|\b429\b",
        Exit.TRANSIENT,
        "Throttled",
        "it is tried again later",
    ),
    _kind(
        r"quota|limit ?exceeded|limit has been (reached|exceeded)|exceeds? .*\blimits?\b|toomanybuckets",
        Exit.USER,
        "QuotaExceeded",
        "ask the cloud for a higher quota, or put the tenant into another cell",
    ),
    _kind(
        r"insufficient\w*capacity|out of (host )?capacity|capacity .*not available",
        Exit.TRANSIENT,
        "CapacityMissing",
        "the cloud has no machines left there; it is tried again later",
    ),
    _kind(
        r"expiredtoken|invalidclienttokenid|signaturedoesnotmatch|authfailure|no valid credential|invalid_grant"
        r"|could not find default credentials|unauthenticated|\b401\b|notauthenticated|unable to locate credentials",
        Exit.USER,
        "CredentialsRefused",
        "renew the login in the Secret of the Cell's spec.credentials",
    ),
    _kind(
        r"access ?denied|unauthorizedoperation|authorizationfailed|permission ?denied|not authorized|forbidden|\b403\b",
        Exit.USER,
        "PermissionMissing",
        "give the Cell's login the right that the message names",
    ),
    _kind(
        r"already ?(exists|owned)|entityalreadyexists|name .*(taken|not available)|conflicts? with an existing",
        Exit.USER,
        "NameTaken",
        "adopt or remove what has the name",
    ),
    _kind(
        r"failed to load checkpoint|could not deserialize"
        r"|(unmarshal\w*|decod\w*|parse|parsing) .*(checkpoint|deployment)",
        Exit.USER,
        "StateCorrupt",
        "restore the last good version of the stack's state",
    ),
    _kind(
        r"(unable to|could not|failed to) (open|list|read) (bucket|state)|nosuchbucket|bucket .*does not exist"
        r"|no such file or directory.*\.pulumi|could not (load|read) (the )?(checkpoint|meta)",
        Exit.USER,
        "StateUnreachable",
        "make sure that what spec.engine.state.url names exists and the login may write there",
    ),
    _kind(
        r"connection (refused|reset)|no such host|i/o timeout|timed? ?out|deadline exceeded|unexpected eof"
        r"|tls handshake|network is unreachable|service ?unavailable|internal ?(server ?)?error"
        r"|\b50[0234]\b|temporar(y|ily)",
        Exit.TRANSIENT,
        "CloudUnreachable",
        "it is tried again later",
    ),
)


def classify(request: Request, text: str, complaints: list[Complaint], *, failed: set[str]) -> EngineError:
    """What a failed run comes to. ``text``: what the CLI printed; ``failed``: URNs at which an operation failed."""
    said = [one for one in complaints if not _is_echo(one.message)] or [Complaint(_last_words(text))]
    named = f" at {', '.join(sorted(failed))}" if failed else ""
    happened = f"Pulumi's {request.kind} of stack {request.inputs.stack} failed{named}"
    # The first complaint that the table knows is the reason; what follows from it is often unknown.
    for one in said:
        for kind in KINDS:
            if kind.pattern.search(one.message):
                message = f"{happened}: {_shown(one.message)}. What to do: {kind.advice}"
                return EngineError(kind.exit, kind.reason, message)
    message = f"{happened}: {_shown(said[0].message)}"
    return EngineError(Exit.USER, "OperationFailed", message)


def _is_echo(message: str) -> bool:
    """Whether it only says that something failed, which another complaint has the reason for."""
    return message in ("", "update failed", "preview failed") or message.startswith("resource monitor shut down")


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith("error:")]
    return "\n".join(told or lines[-3:]) or "it said nothing"


def _shown(message: str) -> str:
    flat = " ".join(message.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else flat[:SHOWN_CHARACTERS] + "…"
