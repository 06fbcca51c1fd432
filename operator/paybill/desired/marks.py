"""The policies that keep Paybill's marks: labels and annotations below ``paybill.dev/``, and who manages an object.

By its marks the operator knows what is whose, what to watch and what to heal; whoever could set or take one would make
a stranger's namespace a tenant's, or a tenant's nobody's (Capsule's CVE-2022-46167 and CVE-2024-39690). A namespace is
therefore never found by its labels here: a request that takes the label off would not match.
"""

from __future__ import annotations

from paybill.desired import names
from paybill.desired.policy import ASKED, BY_OTHERS, NAMESPACES, OURS_ONLY, PLACES, Check, Match, Policy
from paybill.desired.rbac import RBAC

GUARDED = {
    "": ("configmaps", "limitranges", "resourcequotas", "secrets", "serviceaccounts"),
    "networking.k8s.io": ("networkpolicies",),
    RBAC: ("rolebindings",),
}
"""What the operator makes in a tenant's namespace, by group."""


def _kept(before: str, now: str) -> str:
    """CEL: whether two mappings hold the same marks of ours."""
    ours, managed = "(key.startsWith('paybill.dev/') || key.contains('.paybill.dev/'))", names.MANAGED_BY_LABEL
    whose = f"[{before}[?'{managed}'].orValue(''), {now}[?'{managed}'].orValue('')]"
    return (
        f"{before}.all(key, !{ours} || {now}[?key].orValue('') == {before}[key]) "
        f"&& {now}.all(key, !{ours} || key in {before}) "
        f"&& (!('{names.MANAGER}' in {whose}) || {whose}[0] == {whose}[1])"
    )


def _marks(name: str, reason: str, match: tuple[Match, ...], **only_if: str) -> Policy:
    return Policy(
        name=name,
        reason=reason,
        match=match,
        only_if=BY_OTHERS | {key.replace("_", "-"): text for key, text in only_if.items()},
        variables={
            f"{field}{when}": f"{root} == null ? {{}} : {root}.metadata.?{field}.orValue({{}})"
            for field in ("labels", "annotations")
            for when, root in (("Before", "oldObject"), ("Now", "object"))
        },
        checks=tuple(
            Check(
                expression=_kept(f"variables.{field}Before", f"variables.{field}Now"),
                says=f"{ASKED} + ' sets, changes or removes {field} that are marks of Paybill{OURS_ONLY}'",
            )
            for field in ("labels", "annotations")
        ),
    )


NAMESPACE_MARKS = _marks(
    "paybill-namespace-marks",
    "nobody but the operator makes a namespace a tenant's, another tenant's or nobody's",
    (Match(group="", resources=NAMESPACES, operations=("CREATE", "UPDATE")),),
)

GUARDRAIL_MARKS = _marks(
    "paybill-guardrail-marks",
    "nobody but the operator sets or takes the marks by which it knows, watches and heals what bounds a tenant",
    tuple(Match(group=group, resources=some, operations=("CREATE", "UPDATE")) for group, some in GUARDED.items()),
    in_a_tenants_or_pool_namespace=f"request.namespace.matches({PLACES})",
)
