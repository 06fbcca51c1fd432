"""What there is of one tenant everywhere, without what differs from tenant to tenant: two tenants can be compared.

It is asked of the API server and of Postgres' own catalogs, never of the code that made it.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api, Object

Postgres = psycopg.AsyncConnection[Any]
Picture = dict[str, Any]

KINDS = (
    "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "RoleBinding", "ConfigMap", "Secret", "Pod",
    "ReplicaSet",
)  # fmt: skip
NOT_OURS = {"ServiceAccount default", "ConfigMap kube-root-ca.crt"}

ROLES = """
    SELECT r.rolname, r.rolcanlogin, r.rolinherit, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolconnlimit,
           r.rolvaliduntil IS NOT NULL, shobj_description(r.oid, 'pg_authid'),
           ARRAY(SELECT unnest(s.setconfig) FROM pg_db_role_setting s WHERE s.setrole = r.oid ORDER BY 1),
           ARRAY(SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.roleid
                  WHERE a.member = r.oid ORDER BY 1)
      FROM pg_roles r WHERE r.rolname ~ %s ORDER BY 1
"""
SCHEMAS = """
    SELECT n.nspname, pg_get_userbyid(n.nspowner), n.nspacl::text[], obj_description(n.oid, 'pg_namespace')
      FROM pg_namespace n WHERE n.nspname = %s
"""
DEFAULTS = """
    SELECT pg_get_userbyid(d.defaclrole), coalesce(n.nspname, ''), d.defaclobjtype, d.defaclacl::text[]
      FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
     WHERE pg_get_userbyid(d.defaclrole) ~ %s ORDER BY 1, 2, 3
"""
POOLS = """
    SELECT datname FROM pg_database
     WHERE (datname LIKE 'pb_pool%%' OR datname = 'pb_t_' || %s) AND datallowconn ORDER BY 1
"""
OWN = """
    SELECT datname, pg_get_userbyid(datdba), datacl::text[], datallowconn, shobj_description(oid, 'pg_database')
      FROM pg_database WHERE datname = 'pb_t_' || %s
"""
ROW = """
    SELECT state, cell, server, compute, level, plan_name, plan_revision, subscription_name, binding_uid,
           ready_time IS NOT NULL, delete_requested_time IS NOT NULL, drop_after IS NOT NULL, archive IS NOT NULL,
           archived_time IS NOT NULL
      FROM paybill.tenants WHERE id = %s
"""
SPENT = """
    SELECT action, count(DISTINCT object) FROM paybill.audit_log
     WHERE destructive AND kind = 'intent' AND tenant_id = %s GROUP BY 1 ORDER BY 1
"""
"""Of which budgets the tenant has used something, counted as the budgets are: an object once, however often tried."""
FACTS = """
    SELECT phase, trial_start_time, suspended_time, ended_time, archived_time, abandoned_time, requested_end_time,
           deleted_time
      FROM paybill.subscription_facts WHERE tenant_uid = (SELECT tenant_uid FROM paybill.tenants WHERE id = %s)
"""


async def taken(api: Api, postgres: Postgres, control: Postgres, name: str, tenant_id: str) -> Picture:
    """The picture of the tenant ``name`` with this id; passwords are only said to be there."""
    found: Picture = {"Tenant": await _declared(api, "Tenant", name)}
    if found["Tenant"] is not None:  # else its contract is told so when it is not young any more
        found["Subscription"] = await _declared(api, "Subscription", name)
    found |= await _objects(api, tenant_id)
    found |= await in_postgres(postgres, tenant_id)
    spent = await control.execute(SPENT, (tenant_id,))
    found["budgets"] = [f"{action}: {count}" for action, count in await spent.fetchall()]
    row = await (await control.execute(ROW, (tenant_id,))).fetchone()
    found["registry"] = _handed_over(list(row or ()), found)
    found["facts"] = [
        value and (value if isinstance(value, str) else "set") for value in await facts(control, tenant_id)
    ]
    return _anonymous(found, name, tenant_id)


async def facts(control: Postgres, tenant_id: str) -> tuple[Any, ...]:
    """The phase and the anchors of a tenant's contract, as they are kept."""
    return await (await control.execute(FACTS, (tenant_id,))).fetchone() or ()


async def in_postgres(postgres: Postgres, tenant_id: str) -> Picture:
    """A tenant's roles, database, schemas and default privileges by the catalogs, in every pool and its own."""
    roles = await postgres.execute(ROLES, (f"^pb_{tenant_id}_",))
    found: Picture = {f"role {row[0]}": row[1:] for row in await roles.fetchall()}
    own = await postgres.execute(OWN, (tenant_id,))
    found |= {f"database {row[0]}": row[1:] for row in await own.fetchall()}
    for (database,) in await (await postgres.execute(POOLS, (tenant_id,))).fetchall():
        dsn = make_conninfo(postgres.info.dsn, password=postgres.info.password, dbname=database)
        async with await psycopg.AsyncConnection.connect(dsn) as pool:
            schemas = await pool.execute(SCHEMAS, (f"t_{tenant_id}",))
            found |= {f"schema {row[0]} in {database}": row[1:] for row in await schemas.fetchall()}
            defaults = await pool.execute(DEFAULTS, (f"^pb_{tenant_id}_",))
            found |= {f"defaults {row[:3]} in {database}": row[3] for row in await defaults.fetchall()}
    return found


async def _declared(api: Api, kind: str, name: str) -> Any:
    obj = await api.get(kind, name)
    if obj is None:
        return None
    status = obj.get("status", {})
    conditions = sorted((one["type"], one["status"], one["reason"]) for one in status.get("conditions", ()))
    plan = (status.get("plan") or {}).get("name")
    return {"phase": status.get("phase"), "plan": plan, "conditions": conditions} | _marks(obj)


def _marks(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {name: metadata.get(name) for name in ("labels", "annotations", "finalizers")}


async def _objects(api: Api, tenant_id: str) -> Picture:
    space = await api.get("Namespace", f"t-{tenant_id}")
    found: Picture = {}
    if space is not None and "deletionTimestamp" not in space["metadata"]:
        found["Namespace"] = _marks(space)
        for kind in KINDS:
            found |= {_named(obj): _told(obj) for obj in await api.list(kind, f"t-{tenant_id}") if not _goes(obj)}
    provider = await api.get("Secret", f"t-{tenant_id}-db-provider", samples.OPERATOR_NAMESPACE)
    pool = await api.get("Secret", f"t-{tenant_id}-db", "paybill-pool-local")
    told = await api.get("ConfigMap", f"{tenant_id}-entitlements", "paybill-pool-local")
    found |= {_named(obj): _told(obj) for obj in (provider, pool, told) if obj is not None}
    return {name: said for name, said in found.items() if name not in NOT_OURS}


def _goes(obj: Object) -> bool:
    """A pod on its way out: of one whose eviction was cut off the API server leaves that much, for the kubelet."""
    return obj["kind"] == "Pod" and "deletionTimestamp" in obj["metadata"]


def _named(obj: Object) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"


def _told(obj: Object) -> Object:
    if obj["kind"] == "Pod":  # its controller gives it a name
        return {}
    if obj["kind"] == "ReplicaSet":
        return {"told that pods may come": "paybill.dev/resumed-time" in obj["metadata"].get("annotations", {})}
    content = {name: value for name, value in obj.items() if name not in ("metadata", "status", "kind", "apiVersion")}
    if obj["kind"] == "Secret":
        clear = {name: base64.b64decode(value).decode() for name, value in obj.get("data", {}).items()}
        content["data"] = {name: "…" if "password" in name or "uri" in name else value for name, value in clear.items()}
        content["uid"] = obj["metadata"]["uid"]
    if obj["kind"] == "ResourceQuota":
        content["enforced"] = obj.get("status", {}).get("hard")
    return content | _marks(obj)


def _handed_over(row: list[Any], found: Picture) -> list[Any]:
    """The registry's row with, instead of the Secret's UID, whether it is the UID of the Secret that is there."""
    secrets = {said.pop("uid") for name, said in found.items() if name.startswith("Secret")}
    return ["handed over" if value in secrets else value for value in row]


def _anonymous(found: Picture, name: str, tenant_id: str) -> Picture:
    text = json.dumps(found, default=str, sort_keys=True).replace(tenant_id, "ID").replace(name, "NAME")
    # UIDs, moments, and the names that controllers give to pods
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "MOMENT", text)
    text = re.sub(r"(Pod [a-z]+)-[-a-z0-9]+", r"\1", text)
    told: Picture = _sorted(json.loads(text))
    return told


def _sorted(found: Any) -> Any:
    """Lists of names in the order that they have without the ids in them."""
    if isinstance(found, dict):
        return {name: _sorted(value) for name, value in found.items()}
    if isinstance(found, list):
        return sorted(found) if all(isinstance(one, str) for one in found) else [_sorted(one) for one in found]
    return found
