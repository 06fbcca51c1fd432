"""Every Kubernetes name, label and annotation that Paybill gives, in one place.

Physical names come from the opaque tenant id of the registry, never from what a user typed: a renamed or
re-created Tenant cannot collide with another one's objects, and nothing a user types needs escaping. Names of Cells and
Plans are DNS labels of up to 63 characters, which leaves no room for a prefix: such a long one is cut and hashed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

MANAGER = "paybill"
FINALIZER = "paybill.dev/cleanup"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
INSTALLATION_LABEL = "paybill.dev/installation"
TENANT_LABEL = "paybill.dev/tenant"
CELL_LABEL = "paybill.dev/cell"
PLAN_LABEL = "paybill.dev/plan"

TENANT_NAME_ANNOTATION = "paybill.dev/tenant-name"
TENANT_UID_ANNOTATION = "paybill.dev/tenant-uid"
RESUMED_ANNOTATION = "paybill.dev/resumed-time"
PAUSED_ANNOTATION = "paybill.dev/paused"
ALLOW_MASS_CHANGE_ANNOTATION = "paybill.dev/allow-mass-change"
RETRY_MIGRATION_ANNOTATION = "paybill.dev/retry-migration"
CHECKOUT_ANNOTATION = "paybill.dev/checkout-session"
"""On a Tenant and a Subscription that came of a checkout at Stripe: the session's id."""
FRESH_ANNOTATION = "paybill.dev/fresh"
"""On a Tenant: the id that the registry knows its name by is another customer's; this one is new."""
ALLOW_DELETE_ANNOTATION = "paybill.dev/allow-delete"
"""On a Tenant whose contract runs, with the Tenant's own name: somebody means its deletion."""

OPERATION_LABEL = "paybill.dev/operation"
STOP_ANNOTATION = "paybill.dev/stop"
"""On the Job of an operation: why we asked it to stop."""

PREVIEW_ANNOTATION = "paybill.dev/preview"
"""On a Tenant: a word of eight hexadecimal digits; each new one asks for a preview of its infrastructure, or with
``destroy-`` before it for one of its destruction."""
CANCEL_ANNOTATION = "paybill.dev/cancel-operation"
"""On a Tenant: the id of an operation of its infrastructure that is to stop."""
MOVE_ANNOTATION = "paybill.dev/move"
"""On a Tenant: ``hold`` begins no move, and gives up one that has not switched."""
SERVER_ANNOTATION = "paybill.dev/server"
"""On a Tenant: the server of its Cell that its database is to be on."""

ROLLOUT_ANNOTATION = "paybill.dev/rollout"
"""On a Plan: ``paused`` admits nobody else to its revision; ``<revision>/<other>`` puts the tenants of the one on the
other, for as long as the Plan's content is the one."""

STORAGE_GRACE_ANNOTATION = "paybill.dev/storage-grace"
"""On a Tenant that keeps all that its Plan gives: the moment (RFC 3339) until which it may write, to tidy up."""

ROTATE_ANNOTATION = "paybill.dev/rotate"
"""On a Tenant: a word of one's own, then perhaps kinds of login and ``suspected``; each new one asks for a rotation.
On an AgentPolicy: a word of one's own; each new one asks for another password of the agent's login."""

RENEW_ANNOTATION = "paybill.dev/renew"
"""On an AgentPolicy whose database is not as its plan left it: the hash in its condition, once somebody has looked."""

QUOTA = "paybill"
LIMITS = "paybill"
NETWORK_POLICY = "paybill"
SERVICE_ACCOUNT = "tenant"
OWNERS_BINDING = "paybill-owners"
OPERATOR_BINDING = "paybill-operator"
MODE_CONFIG_MAP = "paybill-mode"

LONGEST = 63
"""Characters of a DNS label (RFC 1123), which a namespace's name must be."""

TENANT_NAMESPACE_PATTERN = "^t-[0-9a-z]{8}$"
POOL_NAMESPACE_PATTERN = "^paybill-pool-[-0-9a-z]+$"

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""On every namespace, by Kubernetes itself: its name."""

GATEWAY_ROLE = "paybill-agent-gateway"
"""What gateways of agents may do in the cluster, and the account that they have."""
GATEWAY_PATTERN = "^t-[0-9a-z]{8}-agents$"
OWNER_ROLE = "paybill-tenant-owner"
OPERATOR_TENANT_ROLE = "paybill-operator-tenant"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who an object belongs to: the registry's id, the Tenant that holds it and the installation that made it."""

    id: str
    tenant_name: str
    tenant_uid: str
    installation: str


def namespace(tenant_id: str) -> str:
    """The namespace of a tenant with compute Namespace."""
    return f"t-{tenant_id}"


def pool_namespace(cell: str) -> str:
    """The namespace in which the tenants of a cell with compute Shared get their Secret and ConfigMap."""
    return _label(f"paybill-pool-{cell}")


def binding(tenant_id: str) -> str:
    """The Secret that hands the database to the tenant's app (servicebinding.io)."""
    return f"t-{tenant_id}-db"


def agents(tenant_id: str) -> str:
    """The Secret in the operator's namespace with what a tenant's gateway is given, and the gateway itself."""
    return f"t-{tenant_id}-agents"


def pooler(cell: str) -> str:
    """The Secret in the operator's namespace with what the PgBouncer of a cell is configured with."""
    return f"paybill-pooler.{cell}"


def own_server(tenant_id: str) -> str:
    """What a tenant's own database server is called where shared ones have the name that their Cell gives them."""
    return f"own-{tenant_id}"


def own_server_secret(tenant_id: str) -> str:
    """The Secret in the operator's namespace with what a tenant's own stack handed over, for the operator alone."""
    return f"t-{tenant_id}-stack"


def provider_binding(tenant_id: str) -> str:
    """The Secret in the operator's namespace with the tenant's ro and mig logins, for the provider alone."""
    return f"t-{tenant_id}-db-provider"


def entitlements(tenant_id: str) -> str:
    """The ConfigMap that tells the tenant's app what it may do."""
    return f"{tenant_id}-entitlements"


def operation_job(operation: str) -> str:
    """The Job that carries an operation out, and the Secret with what it is asked; the operator's own namespace."""
    return f"paybill-operation-{operation}"


def operation_host(tenant_id: str) -> str:
    """The host name of all pods that work on a tenant's stack: the locks that they leave are told by it."""
    return f"op-{tenant_id}"


def operation_labels(operation: str, tenant_id: str, installation: str) -> dict[str, str]:
    """The marks of what an operation has in Kubernetes."""
    return {
        MANAGED_BY_LABEL: MANAGER,
        INSTALLATION_LABEL: installation,
        TENANT_LABEL: tenant_id,
        OPERATION_LABEL: operation,
    }


def revision(plan: str, revision: str) -> str:
    """The ControllerRevision that keeps the content of one revision of a Plan."""
    return _label(f"plan-{plan}", f"-{revision}")


def _label(stem: str, end: str = "") -> str:
    """A DNS label of at most 63 characters. Only what was cut has exactly 63: it is never another one's whole name."""
    whole = f"{stem}{end}"
    if len(whole) < LONGEST:
        return whole
    end = f"-{hashlib.sha256(stem.encode()).hexdigest()[:10]}{end}"
    return f"{stem[: LONGEST - len(end)]}{end}"


def labels(identity: Identity) -> dict[str, str]:
    """The marks every object of a tenant carries; sweeps and watches consider nothing without them."""
    return {
        MANAGED_BY_LABEL: MANAGER,
        INSTALLATION_LABEL: identity.installation,
        TENANT_LABEL: identity.id,
    }


def cell_labels(cell: str, installation: str) -> dict[str, str]:
    """The marks of what a cell's tenants share."""
    return {MANAGED_BY_LABEL: MANAGER, INSTALLATION_LABEL: installation, CELL_LABEL: cell}


def tenant_annotations(identity: Identity) -> dict[str, str]:
    """What a person who finds the object wants to know: whose it is."""
    return {TENANT_NAME_ANNOTATION: identity.tenant_name, TENANT_UID_ANNOTATION: identity.tenant_uid}
