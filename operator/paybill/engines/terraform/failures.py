"""The table of failures: what terraform and the providers say, who must act, and whether trying again helps.

Providers give no codes, only texts, so this is a table of texts as they were recorded from terraform, its AWS provider
and IBM's; the tests hold recorded sentences for its rows. The first row that fits decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from paybill.engines.operation import Exit


@dataclass(frozen=True)
class Kind:
    """A sort of failure."""

    exit_code: Exit
    reason: str
    advice: str
    pattern: re.Pattern[str]


def _kind(exit_code: Exit, reason: str, advice: str, *texts: str) -> Kind:
    # What is wrapped to a terminal's width has line breaks where the sentence has blanks.
    spaced = "|".join(text.replace(" ", r"\s+") for text in texts)
    return Kind(exit_code, reason, advice, re.compile(spaced, re.IGNORECASE))


KINDS: tuple[Kind, ...] = (
    _kind(
        Exit.CONFLICT,
        "StateLocked",
        "wait for the operation that holds it; if its process is gone, recover the stack",
        "error acquiring the state lock",
        "error locking state",
    ),
    _kind(
        Exit.POLICY,
        "ChangedSinceApproval",
        "look at a new preview and approve that",
        "saved plan is stale",
        "saved plan does not match the given state",
    ),
    _kind(
        Exit.USER,
        "StateCorrupt",
        "restore the state from the backend's last good version",
        "unsupported state file format",
        "state file could not be parsed",
        "state snapshot was created by",
        "does not have a valid (?:lineage|serial)",
        "state data in S3 does not have the expected content",
        "resource instance address is already present in state",
        "invalid (?:resource|provider) .{0,40}in (?:the )?state",
    ),
    _kind(
        Exit.USER,
        "PluginMissing",
        "put the provider into the mirror that the CLI configuration names, or let the worker reach its registry",
        "failed to query available provider packages",
        "failed to install provider",
        "required plugins are not installed",
        "could not retrieve the list of available versions for provider",
        "inconsistent dependency lock file",
        "failed to load plugin schemas",
        "unavailable provider",
    ),
    _kind(
        Exit.TRANSIENT,
        "Throttled",
        "nothing to do: it is tried again later",
        r"\bthrottl",
        "rate exceeded",
        "toomanyrequests",
        "too many requests",
        "requestlimitexceeded",
        r"\bslowdown\b",
        "status ?code: 429",
        "provisionedthroughputexceeded",
    ),
    _kind(
        Exit.USER,
        "RegionUnknown",
        "correct spec.region of the Cell",
        "invalid aws region",
        "is not a valid region|unknown region",
    ),
    _kind(
        Exit.USER,
        "CredentialsRefused",
        "put a valid login with the documented permissions into the Cell's Secret",
        "no valid credential sources",
        "account id not allowed",
        "failed to refresh cached credentials",
        "invalidclienttokenid",
        "invalidaccesskeyid",
        "signaturedoesnotmatch",
        "unrecognizedclient",
        "expiredtoken",
        "requestexpired",
        "tokenrefreshrequired",
        "autherror|authfailure",
        "accessdenied",
        "unauthorizedoperation",
        "not authorized to perform",
        "optinrequired",
        "invalididentitytoken",
        "status ?code: 40[13]",
        r"BXNIM04\d\dE",
        "provided api key (?:could not be found|is invalid)",
        "authentication failed|unauthorized",
    ),
    _kind(
        Exit.USER,
        "QuotaExceeded",
        "ask the cloud for a higher quota, or free what is not used",
        r"quota\w*exceeded",
        r"(?:vpc|address|route|rules\w*|securitygroup\w*|subnet\w*|instance|cluster)limitexceeded",
        "limitexceeded",
        "toomanybuckets",
        "exceed(?:s|ed|ing)? (?:the |your )?(?:\\w+ ){0,3}(?:quota|limit)",
        "insufficient(?:dbinstance)?capacity",
        "over_quota|quota_exceeded|cannot exceed quota",
    ),
    _kind(
        Exit.USER,
        "NameTaken",
        "recover the stack if an operation died; undelete what is about to be deleted; else remove what has the name",
        "bucketalready(?:exists|ownedbyyou)",
        "entityalreadyexists",
        "alreadyexists",
        "resourceexists",
        "invalid(?:group|permission)\\.duplicate",
        "already scheduled for deletion",
        "with this name is already|name (?:is )?already (?:in use|exists|taken)",
        "already exists",
    ),
    _kind(
        Exit.USER,
        "StateUnreachable",
        "make the place that the Cell's spec.engine.state.url names, or correct the URL",
        's3 bucket "[^"]*" does not exist',
        "nosuchbucket",
    ),
    _kind(
        Exit.TRANSIENT,
        "StateUnreachable",
        "nothing to do if the place of the state comes back; else look after it",
        "error refreshing state",
        "failed to (?:load|read|get|save|persist|upload|open) (?:the )?(?:current )?(?:remote )?state",
        "failed to get existing workspaces",
        "error (?:loading|saving|inspecting|reading|creating) (?:the )?state",
        "unable to (?:list|access) objects in s3 bucket",
        "unable to access object .{0,200} in s3 bucket",
        "error (?:configuring|initializing) the backend",
    ),
    _kind(
        Exit.TRANSIENT,
        "NetworkFailed",
        "nothing to do: it is tried again later",
        "connection (?:refused|reset)",
        "no such host",
        "i/o timeout",
        "tls handshake timeout",
        "context deadline exceeded",
        "unexpected eof",
        "network is unreachable",
        "request send failed",
        "status ?code: 50[0234]",
        "internalfailure|internalerror|serviceunavailable",
    ),
    _kind(
        Exit.USER,
        "ModuleInvalid",
        "correct the module or its inputs",
        "unsupported (?:argument|attribute|block type)",
        "reference to undeclared",
        "missing required argument",
        "invalid (?:value for|expression|reference|function|index|template|character|block|resource)",
        "unreadable module directory",
        "module not installed|module not found|module has no",
        "argument or block definition required",
        "error in function call",
        "inconsistent conditional result types",
        "duplicate (?:resource|variable|output|required providers)",
        "resource (?:pre|post)condition failed",
        "unsupported terraform core version|unsupported opentofu core version",
        "cycle: ",
        "no value for required variable",
        "unclosed configuration block",
    ),
    _kind(
        Exit.USER,
        "RequestInvalid",
        "correct what the message names in the Plan or the Cell",
        "invalidparameter",
        "validation(?:error|exception)",
        "malformedpolicy",
        "status ?code: 400",
    ),
)
UNKNOWN = Kind(Exit.TRANSIENT, "OperationFailed", "see the operation's log", re.compile(""))
