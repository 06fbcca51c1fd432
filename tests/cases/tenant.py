"""Tenants that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named


def tenant(**spec: Any) -> Object:
    """A Tenant with that spec."""
    return named("Tenant", "case", spec)


def _case(reason: str, message: str | None, **spec: Any) -> Case:
    return Case("Tenant", reason, tenant(**spec), message)


def _owner(reason: str, message: str | None, *owners: Object) -> Case:
    return _case(reason, message, owners=list(owners))


_GROUP = {"kind": "Group", "name": "acme-admins"}
_ROBOT = {"kind": "ServiceAccount", "name": "ci", "namespace": "acme-ci"}

CASES = (
    _case("nothing but a name", None),
    _case("everything", None, displayName="Acme; \"Größe\" '数'", cellRef={"name": "eu-west-1"},
          owners=[_GROUP, _ROBOT],
          holds=[{"name": "abuse-114", "blocks": "Access", "reason": "spam"}], deletionPolicy="Retain", id="k3x9m2qd"),
    *(_case(f"deletionPolicy {policy}", None, deletionPolicy=policy) for policy in ("Retain", "Snapshot", "Delete")),
    _case("an unknown deletionPolicy", 'Unsupported value: "Drop"', deletionPolicy="Drop"),
    *(_case(f"id {opaque!r}", "must be 8 characters of 0-9 and a-z", id=opaque)
      for opaque in ("", "k3x9m2q", "K3X9M2QD", "k3x9-2qd", "k3x9m2q'", "größe123")),
    _case("an id of 9 characters", "may not be more than 8", id="k3x9m2qd0"),
    *(_case(f"cell {name!r}", "must be a DNS label", cellRef={"name": name})
      for name in ("EU", "eu west", "eu;west", "eu.west", "-eu", "größe")),
    _case("a cell without a name", "spec.cellRef.name: Required value", cellRef={}),
    _case("a cell name of 64 characters", "may not be more than 63", cellRef={"name": "a" * 64}),
    _owner("an unknown kind of owner", 'Unsupported value: "Robot"', {"kind": "Robot", "name": "x"}),
    _owner("an owner twice", "Duplicate value", _GROUP, _GROUP),
    _owner("a user and a group of one name", None, _GROUP, {**_GROUP, "kind": "User"}),
    _owner("a ServiceAccount without a namespace", "namespace is required for a ServiceAccount",
           {"kind": "ServiceAccount", "name": "ci"}),
    _owner("a group with a namespace", "namespace is required for a ServiceAccount", {**_GROUP, "namespace": "x"}),
    *(_owner(f"group {name}", "names that begin with system:", {"kind": "Group", "name": name})
      for name in ("system:authenticated", "system:masters", "system:unauthenticated", "system:serviceaccounts")),
    _owner("the anonymous user", "names that begin with system:", {"kind": "User", "name": "system:anonymous"}),
    _owner("a ServiceAccount by its user name", None, {"kind": "User", "name": "system:serviceaccount:a:b"}),
    *(_owner(f"ServiceAccount {name!r}", "the name of a ServiceAccount must be", {**_ROBOT, "name": name})
      for name in ("größe", "a b", "CI", "a..b", "-a")),
    _owner("a ServiceAccount with dots in its name", None, {**_ROBOT, "name": "ci.v1-2"}),
    _case("a hold without what it blocks", "blocks: Required value", holds=[{"name": "a"}]),
    _case("a hold that blocks something unknown", 'Unsupported value: "Everything"',
          holds=[{"name": "a", "blocks": "Everything"}]),
    _case("a hold's reason of two lines", "one line of text",
          holds=[{"name": "a", "blocks": "Access", "reason": "a\nb"}]),
    _owner("an owner's name with an escape", "one line of text", {"kind": "User", "name": "a\x1b[0m"}),
    _case("two holds of one name", "Duplicate value",
          holds=[{"name": "a", "blocks": "Access"}, {"name": "a", "blocks": "Changes"}]),
    _case("a hold's name with a quote", "must be a DNS label", holds=[{"name": "a'", "blocks": "Access"}]),
    Case("Tenant", "a name of 63 characters", named("Tenant", "a" * 63, {}), None),
    Case("Tenant", "a name of 64 characters", named("Tenant", "a" * 64, {}), "metadata.name must have at most 63"),
    Case("Tenant", "a name with a dot", named("Tenant", "acme.corp", {}), "metadata.name must be a DNS label"),
    Case("Tenant", "a name with a semicolon", named("Tenant", "acme; drop schema app", {}), "RFC 1123"),
    Case("Tenant", "a name with a quote", named("Tenant", 'acme"', {}), "RFC 1123"),
    Case("Tenant", "a name in unicode", named("Tenant", "größe", {}), "RFC 1123"),
)  # fmt: skip

_PLACED = {"id": "k3x9m2qd", "placement": {"cell": "local", "server": "rows-1"}}


def _change(reason: str, before: Object, after: Object, message: str | None, status: Object | None = None) -> Change:
    return Change("Tenant", reason, tenant(**before), tenant(**after), message, status)


_LOCAL, _OTHER = {"cellRef": {"name": "local"}}, {"cellRef": {"name": "other"}}
_ID, _OTHER_ID = {"id": "k3x9m2qd"}, {"id": "00000000"}
_CELL_STAYS = "spec.cellRef cannot be changed or removed"
_ID_STAYS = "spec.id cannot be changed or removed"

CHANGES = (
    _change("a cell is named before the tenant is placed", {}, _LOCAL, None),
    _change("the tenant's own cell is named after it is placed", {}, _LOCAL, None, _PLACED),
    _change("another cell is named after it is placed", {}, _OTHER, _CELL_STAYS, _PLACED),
    _change("the cell is changed", _LOCAL, _OTHER, _CELL_STAYS),
    _change("the cell is changed after it is placed", _LOCAL, _OTHER, _CELL_STAYS, _PLACED),
    _change("the cell is removed", _LOCAL, {}, _CELL_STAYS),
    _change("the cell is removed after it is placed", _LOCAL, {}, _CELL_STAYS, _PLACED),
    _change("something else is changed beside the cell", _LOCAL, {**_LOCAL, "displayName": "x"}, None, _PLACED),
    _change("an id is added while there is none", {}, _ID, _ID_STAYS),
    _change("the tenant's own id is added", {}, _ID, None, _PLACED),
    _change("another id is added", {}, _OTHER_ID, _ID_STAYS, _PLACED),
    _change("the id is changed", _ID, _OTHER_ID, _ID_STAYS),
    _change("the id is removed", _ID, {}, _ID_STAYS),
    _change("the deletion policy is changed", {}, {"deletionPolicy": "Delete"}, None, _PLACED),
)
