"""Approvals that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named

UID = "9f0c8f0e-1111-4222-8333-444455556666"
DIGEST = "sha256:" + "0a" * 32


def approval(subject: Object | None = None, **spec: Any) -> Object:
    """An Approval that is about a Tenant, unless the spec says otherwise."""
    about = subject or {"kind": "Tenant", "name": "acme", "uid": UID}
    return named("Approval", "case", {"subject": about, "digest": DIGEST, "approver": "alice@example.com", **spec})


RUN = {"kind": "AgentRun", "namespace": "t-k3x9m2qd", "name": "refund-7", "uid": UID}


def _case(reason: str, message: str | None, **spec: Any) -> Case:
    return Case("Approval", reason, approval(**spec), message)


def _subject(reason: str, message: str | None, **subject: Any) -> Case:
    return Case("Approval", reason, approval(subject), message)


CASES = (
    _case("an adoption", None),
    _case("an erasure", None, action="Erase"),
    _case("an action that nobody knows", 'Unsupported value: "Adopt"', action="Adopt"),
    Case("Approval", "an erasure of everything",
         approval({"kind": "Installation", "name": "paybill"}, action="Erase"), "action Erase is of one Tenant"),
    _subject("what a run waits with", None, **RUN),
    Case("Approval", "that it is denied", approval(RUN, decision="Deny"), None),
    Case("Approval", "that it is put off", approval(RUN, decision="Later"), 'Unsupported value: "Later"'),
    Case("Approval", "an erasure of a run", approval(RUN, action="Erase"), "action Erase is of one Tenant"),
    _case("an adoption that is denied", "decision Deny is of an AgentRun", decision="Deny"),
    _subject("a run of no namespace", "namespace is for an AgentRun", kind="AgentRun", name="refund-7", uid=UID),
    _subject("a run of any UID", "uid is required", kind="AgentRun", namespace="t-k3x9m2qd", name="refund-7"),
    _subject("a namespace that is none", "must be a DNS label", **{**RUN, "namespace": "T_1"}),
    _subject("a Tenant in a namespace", "namespace is for an AgentRun", kind="Tenant", name="acme", uid=UID,
             namespace="acme"),
    _case("one that ends", None, expiresTime="2027-01-01T00:00:00Z"),
    _case("one that ends at no time", "must be of type date-time", expiresTime="soon"),
    _case("one that ends in the year 0", "must be a moment of the years", expiresTime="0000-01-01T00:00:00Z"),
    _subject("everything of an installation", None, kind="Installation", name="paybill"),
    _subject("an Installation with a UID", "only an Installation has none", kind="Installation", name="p", uid=UID),
    _subject("a Tenant without a UID", "uid is required", kind="Tenant", name="acme"),
    _subject("an unknown kind of subject", 'Unsupported value: "Plan"', kind="Plan", name="acme", uid=UID),
    _subject("a subject's name that is none", "must be a DNS label", kind="Tenant", name="Acme Corp", uid=UID),
    _subject("a UID with a space", "must be the object's metadata.uid", kind="Tenant", name="acme", uid="a b"),
    *(_case(f"digest {digest[:20]!r}", "must be 'sha256:' and 64", digest=digest)
      for digest in ("", "sha256:", "sha256:" + "0A" * 32, "sha512:" + "0a" * 32, "sha256:" + "0a" * 31)),
    _case("a digest that is too long", "may not be more than 71", digest=DIGEST + "0"),
    _case("a ServiceAccount as approver", None, approver="system:serviceaccount:argocd:argocd"),
    _case("nobody", "should be at least 1 chars long", approver=""),
    _case("an approver of two lines", "one line of text", approver="alice\nbob"),
    Case("Approval", "no approver", named("Approval", "case", {"digest": DIGEST}), "approver: Required value"),
    Case(
        "Approval", "a name of 64 characters", {**approval(), "metadata": {"name": "a" * 64}}, "at most 63 characters"
    ),
    Case("Approval", "a name with a dot", {**approval(), "metadata": {"name": "a.b"}}, "must be a DNS label"),
)  # fmt: skip

CHANGES = (
    Change("Approval", "the same again", approval(), approval(), None),
    *(
        Change("Approval", reason, approval(), changed, "spec cannot be changed")
        for reason, changed in (
            ("another digest", approval(digest="sha256:" + "0b" * 32)),
            ("another approver", approval(approver="bob")),
            ("an end", approval(expiresTime="2027-01-01T00:00:00Z")),
            ("another subject", approval({"kind": "Tenant", "name": "globex", "uid": UID})),
        )
    ),
    Change("Approval", "a denial made an approval", approval(RUN, decision="Deny"), approval(RUN), "spec cannot be"),
    Change("Approval", "what it said by leaving it out", approval(RUN), approval(RUN, decision="Approve"), None),
    Change(
        "Approval",
        "no end any more",
        approval(expiresTime="2027-01-01T00:00:00Z"),
        approval(),
        "spec cannot be changed",
    ),
)
