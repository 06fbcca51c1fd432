"""TenantBackups that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named


def backup(**spec: Any) -> Object:
    """A TenantBackup that a person asks for, unless the spec says otherwise."""
    return named("TenantBackup", "case", {"tenantRef": {"name": "acme"}, **spec})


def _case(says: str, message: str | None, **spec: Any) -> Case:
    return Case("TenantBackup", says, backup(**spec), message)


CASES = (
    _case("one that a person asks for", None),
    _case("one of a schedule", None, reason="Scheduled"),
    _case("the last one, with an end", None, reason="Final", expireTime="2027-01-01T00:00:00Z"),
    _case("an unknown reason", 'Unsupported value: "Daily"', reason="Daily"),
    _case("an end at no time", "must be of type date-time", expireTime="soon"),
    _case("an end in the year 0", "must be a moment of the years", expireTime="0000-01-01T00:00:00Z"),
    _case("a Tenant whose name is none", "must be a DNS label", tenantRef={"name": "Acme Corp"}),
    Case("TenantBackup", "no Tenant", named("TenantBackup", "case", {}), "spec.tenantRef: Required value"),
    Case("TenantBackup", "a name of 64 characters", {**backup(), "metadata": {"name": "a" * 64}}, "at most 63"),
    Case("TenantBackup", "a name with a dot", {**backup(), "metadata": {"name": "a.b"}}, "must be a DNS label"),
)

ENDING = backup(expireTime="2027-01-01T00:00:00Z")
FINAL = backup(reason="Final", expireTime="2027-01-01T00:00:00Z")
CHANGES = (
    Change("TenantBackup", "the same again", backup(), backup(), None),
    Change("TenantBackup", "another Tenant", backup(), backup(tenantRef={"name": "globex"}), "spec cannot be changed"),
    Change("TenantBackup", "an end where there was none", backup(), ENDING, None),
    Change("TenantBackup", "a later end", ENDING, backup(expireTime="2028-01-01T00:00:00Z"), "spec cannot be changed"),
    Change("TenantBackup", "no end any more", ENDING, backup(), "spec cannot be changed"),
    Change("TenantBackup", "an end and another reason", backup(), FINAL, "spec cannot be changed"),
    Change("TenantBackup", "another format", backup(), backup(format="Export"), "spec cannot be changed"),
)
