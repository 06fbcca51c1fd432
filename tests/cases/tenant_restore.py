"""TenantRestores that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named

STORED = {"cellRef": {"name": "local"}, "tenantId": "k3x9m2qd"}


def restore(**spec: Any) -> Object:
    """A TenantRestore of a TenantBackup, unless the spec says otherwise."""
    return named("TenantRestore", "case", {"backupRef": {"name": "nightly"}, **spec})


def _case(says: str, message: str | None, **spec: Any) -> Case:
    return Case("TenantRestore", says, restore(**spec), message)


def _stored(says: str, message: str | None, **stored: Any) -> Case:
    return Case("TenantRestore", says, named("TenantRestore", "case", {"stored": {**STORED, **stored}}), message)


CASES = (
    _case("in place", None, confirm="acme"),
    _case("as a new tenant, scrubbed", None, tenantRef={"name": "staging"}, scrub={"sql": "UPDATE people SET a = b"}),
    _case("a scrub of a ConfigMap", None, scrub={"configMapRef": {"name": "scrubs", "key": "people.sql"}}),
    _case("only looked at", None, dryRun=True),
    _stored("the newest of a store", None),
    _stored("one of a store", None, backup="6b5ae49d-5b14-4f2b-9e06-3a4f6e1f0c11"),
    _case("two backups", "give backupRef or stored", stored=STORED),
    Case("TenantRestore", "no backup", named("TenantRestore", "case", {}), "give backupRef or stored"),
    _case("two scrubs", "give sql or configMapRef", scrub={"sql": "x", "configMapRef": {"name": "a", "key": "b"}}),
    _case("an empty scrub", "give sql or configMapRef", scrub={}),
    _case("a scrub that is too long", "Too long", scrub={"sql": "x" * 65_537}),
    _case("a key that is none", "must be a key of a Secret", scrub={"configMapRef": {"name": "a", "key": "b/c"}}),
    _case("a Tenant whose name is none", "must be a DNS label", tenantRef={"name": "Acme Corp"}),
    _case("a word that is no name", "must be a DNS label", confirm="Yes please"),
    _stored("an id that is none", "must be a tenant's id", tenantId="acme"),
    _stored("a folder that is none", "must be a DNS label", backup="../other"),
    Case("TenantRestore", "a name of 64 characters", {**restore(), "metadata": {"name": "a" * 64}}, "at most 63"),
    Case("TenantRestore", "a name with a dot", {**restore(), "metadata": {"name": "a.b"}}, "must be a DNS label"),
)

CHANGES = (
    Change("TenantRestore", "the same again", restore(), restore(), None),
    Change("TenantRestore", "confirmed later", restore(), restore(confirm="acme"), "spec cannot be changed"),
    Change("TenantRestore", "into another", restore(), restore(tenantRef={"name": "b"}), "spec cannot be changed"),
)
