"""A ValidatingAdmissionPolicy as a value: what it looks at, what must hold, and the words for whom it does not.

The table of ours is in ``admission.py``. Three words differ between installations (the operator's account, its
namespace, the installation's mark); expressions carry a sign for each, and ``Place`` fills them in. The chart gets the
signs and fills them in by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paybill.desired import names

API_VERSION = "admissionregistration.k8s.io/v1"
WRITES = ("CREATE", "UPDATE", "DELETE")
OPERATOR, HOME, INSTALLATION = "@operator@", "@home@", "@installation@"
BREAK_GLASS = "system:masters"
"""Whose members get past the protection of marks and statuses: nobody is in it by accident, and RBAC does not hold them
either. A cluster-admin who means it impersonates it (``kubectl --as-group``), which the cluster's audit log shows."""

NAMESPACES = ("namespaces", "namespaces/status", "namespaces/finalize")
"""A namespace and the subresources that take its metadata too (Capsule's CVE-2026-30963)."""

# CEL that several policies have in common: who asks, where, and the request in words.
BY_OPERATOR = {"by-the-operator": f"request.userInfo.username == '{OPERATOR}'"}
BY_OTHERS = {
    "by-others": f"request.userInfo.username != '{OPERATOR}'",
    "not-breaking-glass": f"!('{BREAK_GLASS}' in request.userInfo.?groups.orValue([]))",
}
PLACES = f"'{names.TENANT_NAMESPACE_PATTERN}|{names.POOL_NAMESPACE_PATTERN}'"
# Of a request, a field that is empty is not there.
SUBRESOURCE = "request.?subResource.orValue('')"
ASKED = "variables.asked"
"""The request in words, for messages; every policy whose messages use it has the variable."""
_ASKED = (
    "request.operation + ' of ' + request.resource.resource "
    f"+ ({SUBRESOURCE} == '' ? '' : '/' + {SUBRESOURCE}) + ' ' "
    "+ (request.?namespace.orValue('') in ['', request.?name.orValue('')] ? '' : request.namespace + '/') "
    "+ request.?name.orValue('')"
)
OURS_ONLY = f"; only the operator may. To break glass, act as a member of the group {BREAK_GLASS}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which operator a policy is about: its account, its own namespace and the mark of its installation."""

    namespace: str
    service_account: str
    installation: str

    def fill(self, text: str) -> str:
        """The text with this installation's words."""
        account = f"system:serviceaccount:{self.namespace}:{self.service_account}"
        for sign, word in ((OPERATOR, account), (HOME, self.namespace), (INSTALLATION, self.installation)):
            text = text.replace(sign, word)
        return text


@dataclass(frozen=True, kw_only=True)
class Match:
    """Requests that a policy looks at: resources of a group (``x/status`` is a subresource of x)."""

    group: str
    resources: tuple[str, ...]
    operations: tuple[str, ...] = WRITES

    def wire(self) -> dict[str, Any]:
        """As matchConstraints hold it."""
        return {
            "apiGroups": [self.group],
            "apiVersions": ["*"],
            "operations": list(self.operations),
            "resources": sorted(self.resources),
            "scope": "*",
        }


@dataclass(frozen=True, kw_only=True)
class Check:
    """What must be true, and what is said when it is not; both are CEL, so that the words name the object."""

    expression: str
    says: str

    def wire(self) -> dict[str, Any]:
        """As validations hold it; the fixed text stands in where the words cannot be computed."""
        return {
            "expression": self.expression,
            "message": "refused by Paybill",
            "messageExpression": self.says,
            "reason": "Forbidden",
        }


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One policy: why it is there, what it looks at, and what must hold of that."""

    name: str
    reason: str
    match: tuple[Match, ...]
    checks: tuple[Check, ...]
    only_if: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def wire(self, place: Place | None) -> dict[str, Any]:
        """The ValidatingAdmissionPolicy; without a place the signs stay."""
        spec: dict[str, Any] = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule.wire() for rule in self.match]},
            "matchConditions": _named(self.only_if, place),
            "variables": _named(self._words() | dict(self.variables), place),
            "validations": [_filled(check.wire(), place) for check in self.checks],
        }
        given = {name: value for name, value in spec.items() if value}
        return _object("ValidatingAdmissionPolicy", self.name, given)

    def _words(self) -> dict[str, str]:
        return {"asked": _ASKED} if any(ASKED in check.says for check in self.checks) else {}

    def binding(self) -> dict[str, Any]:
        """The binding that puts the policy in force, in the whole cluster."""
        spec = {"policyName": self.name, "validationActions": ["Deny"]}
        return _object("ValidatingAdmissionPolicyBinding", self.name, spec)


def _named(expressions: Mapping[str, str], place: Place | None) -> list[dict[str, str]]:
    return [_filled({"name": name, "expression": text}, place) for name, text in expressions.items()]


def _filled(texts: Mapping[str, str], place: Place | None) -> dict[str, str]:
    return {name: place.fill(text) if place is not None else text for name, text in texts.items()}


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
