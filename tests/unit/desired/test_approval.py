"""Digests that say exactly what is approved, and the one Approval that fits."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paybill.api.approval import Approval
from paybill.desired import approval as approvals
from paybill.lifecycle.adoption import Adoption

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WANTED = approvals.adoption("k3x9m2qd", "uid-1")


def approval(name: str = "a", **changes: Any) -> Approval:
    subject = {"kind": "Tenant", "name": "acme", "uid": "uid-1"} | changes.pop("subject", {})
    spec = {"subject": subject, "digest": WANTED, "approver": "alice", **changes.pop("spec", {})}
    return Approval.model_validate({"metadata": {"name": name, "uid": f"uid-of-{name}", **changes}, "spec": spec})


def found(*known: Approval) -> str | None:
    one = approvals.find(known, "Tenant", "acme", "uid-1", WANTED, NOW)
    return one.metadata.name if one is not None else None


def test_the_digest_of_an_adoption_is_that_of_its_json() -> None:
    text = b'{"action":"adopt","id":"k3x9m2qd","uid":"uid-1"}'
    assert "sha256:" + hashlib.sha256(text).hexdigest() == WANTED


def test_the_digest_of_many_is_that_of_the_sorted_list() -> None:
    two = [Adoption(id="bbbbbbbb", name="globex", uid="2"), Adoption(id="aaaaaaaa", name="acme", uid="1")]
    text = (
        b'{"action":"adopt","installation":"paybill","tenants":['
        b'{"id":"aaaaaaaa","name":"acme","uid":"1"},{"id":"bbbbbbbb","name":"globex","uid":"2"}]}'
    )
    assert approvals.adoptions("paybill", two) == "sha256:" + hashlib.sha256(text).hexdigest()
    assert approvals.adoptions("paybill", two) == approvals.adoptions("paybill", reversed(two))


def test_whatever_is_different_has_another_digest() -> None:
    one = Adoption(id="aaaaaaaa", name="acme", uid="1")
    others = (replace(one, uid="2"), replace(one, name="acm"), replace(one, id="b"))
    lists = [("p", [one]), ("q", [one]), ("p", []), *(("p", [other]) for other in others)]
    digests = [approvals.adoptions(where, which) for where, which in lists]
    digests += [WANTED, approvals.adoption("k3x9m2qd", "uid-2"), approvals.adoption("k3x9m2qe", "uid-1")]
    assert len(set(digests)) == len(digests)


def test_the_one_that_fits_is_found_among_others() -> None:
    assert found(approval("b"), approval("a"), approval("0", spec={"digest": "sha256:" + "0" * 64})) == "a"


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": {"digest": approvals.adoption("zzzzzzzz", "uid-1")}},
        {"subject": {"uid": "uid-2"}},
        {"subject": {"name": "globex"}},
        {"spec": {"subject": {"kind": "Installation", "name": "acme"}}},
        {"spec": {"subject": {"kind": "AgentRun", "namespace": "t-k3x9m2qd", "name": "acme", "uid": "uid-1"}}},
        {"spec": {"expiresTime": NOW - timedelta(seconds=1)}},
        {"spec": {"expiresTime": NOW}},
        {"deletionTimestamp": NOW},
        {"spec": {"action": "Erase"}},
    ],
    ids=[
        "another id",
        "another Tenant of the name",
        "another name",
        "an installation",
        "an agent's call",
        "expired",
        "ends now",
        "going",
        "another action",
    ],
)
def test_what_does_not_fit_is_not_found(changes: dict[str, Any]) -> None:
    assert found(approval(**changes)) is None


def test_one_that_ends_later_stands() -> None:
    assert found(approval(spec={"expiresTime": NOW + timedelta(seconds=1)})) == "a"
