"""What the API server itself refuses, whoever asks: our ValidatingAdmissionPolicies, each with its reason.

RBAC says who may touch a kind; it cannot say "only in tenants' namespaces" or "not while the contract runs". These can,
and the API server evaluates them itself: nothing of ours stands in the way of a request, so an operator that is down
blocks nobody. One table feeds the chart (``paybill admission`` writes it), the local control plane and the tests, so
that what is tested is what is installed. Pods are in no matchConstraint: their path is as fast as without Paybill.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paybill.api.base import AGENTS_GROUP, GROUP
from paybill.api.kinds import KINDS
from paybill.desired import names, permissions
from paybill.desired.marks import GUARDRAIL_MARKS, NAMESPACE_MARKS
from paybill.desired.policy import (
    ASKED,
    BY_OPERATOR,
    BY_OTHERS,
    HOME,
    INSTALLATION,
    NAMESPACES,
    OPERATOR,
    OURS_ONLY,
    PLACES,
    SUBRESOURCE,
    Check,
    Match,
    Place,
    Policy,
)
from paybill.desired.rbac import RBAC
from paybill.lifecycle.phases import OVER

ADOPT, ERASE = "adopt", "erase"
"""The verbs on tenants that let somebody approve an adoption or a change, and an erasure. No request carries them: RBAC
is their only meaning."""
APPROVE = permissions.APPROVE
"""The verb on agentruns that lets somebody approve or deny what a run waits with."""

WRITING = frozenset({"create", "update", "patch", "delete"})
POD_PATH = frozenset({"pods", "pods/eviction"})
"""Left out of confinement: the operator reaches pods only where it bound itself, and that is confined."""


def _written(*tables: Iterable[permissions.Rule]) -> tuple[Match, ...]:
    """What the operator's rules let it write in namespaces, apart from the path of pods."""
    found: dict[str, set[str]] = {}
    for rule in (rule for table in tables for rule in table):
        if rule.group not in (GROUP, AGENTS_GROUP) and "namespaces" not in rule.resources and WRITING & set(rule.verbs):
            found.setdefault(rule.group, set()).update(set(rule.resources) - POD_PATH)
    return tuple(Match(group=group, resources=tuple(sorted(some))) for group, some in sorted(found.items()) if some)


CONFINEMENT = Policy(
    name="paybill-confinement",
    reason="the operator writes only in tenants' and pool namespaces and its own, whatever its roles let it",
    match=_written(permissions.OPERATOR, permissions.OPERATOR_TENANT_NAMESPACE),
    only_if=BY_OPERATOR,
    checks=(
        Check(
            expression=f"request.namespace.matches({PLACES}) || request.namespace == '{HOME}' "
            "|| (request.namespace == 'default' && request.resource.resource == 'events')",
            says=f"{ASKED} + ': Paybill writes in namespaces t-<id>, paybill-pool-<cell> and {HOME} only'",
        ),
    ),
)

OWN_NAMESPACES = Policy(
    name="paybill-own-namespaces",
    reason="the operator makes, changes and deletes only namespaces of its names and with its installation's mark, "
    "and no subresource of them; one that lost the mark is healed if the operator had applied it",
    match=(Match(group="", resources=NAMESPACES),),
    only_if=BY_OPERATOR,
    variables={
        "before": f"oldObject == null ? '' : oldObject.metadata.?labels[?'{names.INSTALLATION_LABEL}'].orValue('')",
        "now": f"object == null ? '' : object.metadata.?labels[?'{names.INSTALLATION_LABEL}'].orValue('')",
        "applied": "oldObject != null && oldObject.metadata.?managedFields.orValue([]).exists(entry, "
        f"entry.?manager.orValue('') == '{names.MANAGER}' && entry.?operation.orValue('') == 'Apply')",
    },
    checks=(
        Check(
            expression=f"(request.operation == 'CREATE' ? object : oldObject).metadata.name.matches({PLACES})",
            says=f"{ASKED} + ': the namespaces of Paybill are t-<id> and paybill-pool-<cell>'",
        ),
        Check(
            expression=f"{SUBRESOURCE} == ''",
            says=f"{ASKED} + ': Paybill writes no subresource of a namespace'",
        ),
        Check(
            expression=f"request.operation == 'DELETE' || variables.now == '{INSTALLATION}'",
            says=f"{ASKED} + ': it would be without the mark {names.INSTALLATION_LABEL}={INSTALLATION}'",
        ),
        Check(
            expression=f"request.operation == 'CREATE' || variables.before == '{INSTALLATION}' "
            "|| (request.operation == 'UPDATE' && variables.before == '' && variables.applied)",
            says=f"{ASKED} + ': it is not of the installation {INSTALLATION}; nothing foreign is taken over'",
        ),
    ),
)

GRANTS = Policy(
    name="paybill-grants",
    reason="the operator gives two ClusterRoles away, under two names: the tenant's to its owners, its own to itself",
    match=(Match(group=RBAC, resources=("rolebindings",)),),
    only_if=BY_OPERATOR,
    variables={
        "name": "(request.operation == 'DELETE' ? oldObject : object).metadata.name",
        "role": "request.operation == 'DELETE' ? '' : object.roleRef.kind + '/' + object.roleRef.name",
        "subjects": "request.operation == 'DELETE' ? [] : object.?subjects.orValue([])",
    },
    checks=(
        Check(
            expression=f"request.namespace != '{HOME}' "
            f"&& variables.name in ['{names.OPERATOR_BINDING}', '{names.OWNERS_BINDING}']",
            says=f"{ASKED} + ': Paybill writes {names.OPERATOR_BINDING} and {names.OWNERS_BINDING} of tenants only'",
        ),
        Check(
            expression="request.operation == 'DELETE' "
            f"|| (variables.name == '{names.OPERATOR_BINDING}' "
            f"&& variables.role == 'ClusterRole/{names.OPERATOR_TENANT_ROLE}' "
            "&& variables.subjects.all(one, one.kind == 'ServiceAccount' "
            f"&& 'system:serviceaccount:' + one.namespace + ':' + one.name == '{OPERATOR}')) "
            f"|| (variables.name == '{names.OWNERS_BINDING}' "
            f"&& variables.role == 'ClusterRole/{names.OWNER_ROLE}' "
            "&& variables.subjects.all(one, one.kind == 'ServiceAccount' || !one.name.startsWith('system:') "
            "|| (one.kind == 'User' && one.name.startsWith('system:serviceaccount:'))))",
            says=f"{ASKED} + ': Paybill does not give ' + variables.role + ' to these subjects'",
        ),
    ),
)

GATEWAYS = Policy(
    name="paybill-gateways",
    reason="of Deployments, Services and its own namespace's NetworkPolicies the operator writes those of agents' "
    "gateways only: not its own Deployment, and not what keeps others from it",
    match=(
        Match(group="", resources=("services",)),
        Match(group="apps", resources=("deployments",)),
        Match(group="networking.k8s.io", resources=("networkpolicies",)),
    ),
    only_if=BY_OPERATOR,
    variables={"name": "(request.operation == 'DELETE' ? oldObject : object).metadata.name"},
    checks=(
        Check(
            expression=f"request.namespace == '{HOME}' ? variables.name.matches('{names.GATEWAY_PATTERN}') "
            ": request.resource.resource == 'networkpolicies'",
            says=f"{ASKED} + ': of Deployments and Services Paybill writes t-<id>-agents in {HOME} only, and of '"
            f" + 'NetworkPolicies nothing else in {HOME}'",
        ),
        Check(
            expression="request.resource.resource != 'deployments' || request.operation == 'DELETE' "
            "|| dyn(object.spec).template.spec.?volumes.orValue([]).all(one, "
            "one.?secret.?secretName.orValue(variables.name) == variables.name)",
            says=f"{ASKED} + ': a gateway has the Secret ' + variables.name + ' and no other'",
        ),
    ),
)

_OVER = ", ".join(f"'{phase}'" for phase in sorted(OVER))
_ALLOWED = f"oldObject.metadata.?annotations[?'{names.ALLOW_DELETE_ANNOTATION}'].orValue('')"

DELETE_PROTECTION = Policy(
    name="paybill-delete-protection",
    reason="a Tenant whose contract runs is not deleted by mistake: somebody has to write its name on it first",
    match=(Match(group=GROUP, resources=("tenants",), operations=("DELETE",)),),
    variables={
        "status": "has(oldObject.status) ? oldObject.status : {}",
        "met": "variables.status.?conditions.orValue([]).filter(one, one.status == 'True')",
        "live": "variables.status.?subscriptionRef.hasValue() "
        "&& variables.status.?phase.orValue('') in ['Provisioning', 'Active', 'Suspended']",
        # Both: while a contract that was taken up again cannot be carried out, the old condition still stands.
        "over": f"variables.met.exists(one, one.type == 'Suspended' && one.reason in [{_OVER}]) "
        "&& variables.met.exists(one, one.type == 'Ready')",
    },
    checks=(
        Check(
            expression="has(oldObject.metadata.deletionTimestamp) || !variables.live || variables.over "
            f"|| {_ALLOWED} == oldObject.metadata.name",
            says="'Tenant ' + oldObject.metadata.name + ' is ' + variables.status.phase + ' under Subscription ' "
            "+ variables.status.subscriptionRef.name + ': end the contract first (spec.cancelTime, or delete the "
            "Subscription) and wait until the Tenant says so. If you mean it at once: kubectl annotate tenant ' "
            f"+ oldObject.metadata.name + ' {names.ALLOW_DELETE_ANNOTATION}=' + oldObject.metadata.name",
        ),
    ),
)

_SESSION = f"object.metadata.?annotations[?'{names.CHECKOUT_ANNOTATION}'].orValue('')"

SIGNUP = Policy(
    name="paybill-signup",
    reason="the operator makes Tenants and Subscriptions for checkouts that were paid, and no others: it adopts "
    "nobody's id, and Stripe says who pays",
    match=(Match(group=GROUP, resources=("subscriptions", "tenants"), operations=("CREATE",)),),
    only_if=BY_OPERATOR,
    checks=(
        Check(
            expression=f"{_SESSION}.matches('^cs_[_a-zA-Z0-9]+$')",
            says=f"{ASKED} + ': Paybill makes one only for a checkout, which it names in {names.CHECKOUT_ANNOTATION}'",
        ),
        Check(
            expression="request.resource.resource != 'tenants' || !dyn(object.spec).?id.hasValue()",
            says=f"{ASKED} + ': who signs up by paying adopts nothing (spec.id)'",
        ),
        Check(
            expression="request.resource.resource != 'subscriptions' || "
            "(dyn(object.spec).?payment.?provider.orValue('') == 'Stripe' "
            "&& dyn(object.spec).?payment.?subscription.hasValue())",
            says=f"{ASKED} + ': who signs up by paying goes by a subscription at Stripe'",
        ),
    ),
)

_SUBJECT = "object.spec.subject"
_WHERE = f"dyn({_SUBJECT}).?namespace.orValue('')"
_MAY = f"authorizer.group('{GROUP}').resource('tenants')"
_MAY_RUN = f"authorizer.group('{AGENTS_GROUP}').resource('agentruns').namespace({_WHERE}).name({_SUBJECT}.name)"

APPROVALS = Policy(
    name="paybill-approvals",
    reason="an Approval is written by the person it names, and by one who may adopt (or erase): that verb on tenants; "
    "or who may approve what an agent waits with: that verb on agentruns",
    match=(Match(group=GROUP, resources=("approvals",), operations=("CREATE",)),),
    variables={
        "verb": f"{_SUBJECT}.kind == 'AgentRun' ? '{APPROVE}' : "
        f"object.spec.?action.orValue('') == 'Erase' ? '{ERASE}' : '{ADOPT}'",
        "on": f"{_SUBJECT}.kind == 'Tenant' ? 'tenants.{GROUP} ' + {_SUBJECT}.name : {_SUBJECT}.kind == 'AgentRun' "
        f"? 'agentruns.{AGENTS_GROUP} ' + {_WHERE} + '/' + {_SUBJECT}.name : 'all tenants.{GROUP}'",
    },
    checks=(
        Check(
            expression="object.spec.approver == request.userInfo.username",
            says="'spec.approver is ' + object.spec.approver + ', but you are ' + request.userInfo.username "
            "+ ': nobody approves for somebody else'",
        ),
        Check(
            expression=f"({_SUBJECT}.kind == 'Tenant' && {_MAY}.name({_SUBJECT}.name).check(variables.verb).allowed()) "
            f"|| ({_SUBJECT}.kind == 'Installation' && {_MAY}.check(variables.verb).allowed()) "
            f"|| ({_SUBJECT}.kind == 'AgentRun' && {_MAY_RUN}.check(variables.verb).allowed())",
            says="request.userInfo.username + ' may not approve this: it takes the verb ' + variables.verb + ' on ' "
            "+ variables.on",
        ),
    ),
)

AGENT_RUNS = Policy(
    name="paybill-agent-runs",
    reason="an AgentRun is written by the person it names: whoever asks for a run does not ask in another's name",
    match=(Match(group=AGENTS_GROUP, resources=("agentruns",), operations=("CREATE",)),),
    checks=(
        Check(
            expression="object.spec.requestedBy == request.userInfo.username",
            says="'spec.requestedBy is ' + object.spec.requestedBy + ', but you are ' + request.userInfo.username "
            "+ ': nobody asks for somebody else'",
        ),
    ),
)

STATUSES = Policy(
    name="paybill-statuses",
    reason="a status is the operator's word: delete protection and whoever reads it rely on that",
    match=tuple(
        Match(
            group=group,
            resources=tuple(f"{kind.plural}/status" for kind in KINDS if kind.group == group),
            operations=("UPDATE",),
        )
        for group in (GROUP, AGENTS_GROUP)
    ),
    only_if=BY_OTHERS,
    checks=(Check(expression="false", says=f"{ASKED} + ' says what the operator saw{OURS_ONLY}'"),),
)

POLICIES = (
    CONFINEMENT,
    OWN_NAMESPACES,
    GRANTS,
    GATEWAYS,
    DELETE_PROTECTION,
    SIGNUP,
    APPROVALS,
    AGENT_RUNS,
    NAMESPACE_MARKS,
    GUARDRAIL_MARKS,
    STATUSES,
)
"""All of them, in the order in which people read about them."""


def build(place: Place) -> list[dict[str, Any]]:
    """Every policy and its binding, for one installation."""
    return [obj for policy in POLICIES for obj in (policy.wire(place), policy.binding())]
