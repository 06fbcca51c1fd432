"""What would let one tenant of shared tables learn of another, each rule with its name and what to do instead.

The same rules are held against a pool's catalogs (``findings.py``) and may be held against SQL that is still to run:
one name and one text, whoever finds it. Each of them was seen to leak on a real server (research, attacks 20 to 22).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Rule:
    """One rule: its stable name, what is wrong with an object that breaks it, and what to write instead."""

    name: str
    wrong: str
    instead: str


ROW_SECURITY_OFF: Final = Rule(
    "RowSecurityOff", "row security is off, so every tenant reads every row", "ALTER TABLE … ENABLE ROW LEVEL SECURITY"
)
ROW_SECURITY_NOT_FORCED: Final = Rule(
    "RowSecurityNotForced",
    "row security does not bind the table's owner, nor what runs as it",
    "ALTER TABLE … FORCE ROW LEVEL SECURITY",
)
FENCE_MISSING: Final = Rule(
    "FenceMissing",
    "no restrictive policy for all commands and for PUBLIC compares tenant_id with paybill.tenant(), so one permissive "
    "policy too many opens the table",
    "CREATE POLICY pb_fence ON … AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = (SELECT paybill.tenant())) "
    "WITH CHECK (tenant_id = (SELECT paybill.tenant()))",
)
TENANT_COLUMN_MISSING: Final = Rule(
    "TenantColumnMissing",
    "tenants may write to a table that has no column tenant_id: what one writes all read",
    "a column tenant_id first in every key, or REVOKE INSERT, UPDATE, DELETE on it from pb_rows_rw",
)
UNIQUE_NOT_PER_TENANT: Final = Rule(
    "UniqueNotPerTenant",
    "a unique key without tenant_id tells a tenant whether another one has the value",
    "UNIQUE (tenant_id, …)",
)
FOREIGN_KEY_NOT_PER_TENANT: Final = Rule(
    "ForeignKeyNotPerTenant",
    "a foreign key without tenant_id on both sides accepts another tenant's row",
    "FOREIGN KEY (tenant_id, …) REFERENCES … (tenant_id, …)",
)
VIEW_NOT_INVOKER: Final = Rule(
    "ViewNotInvoker",
    "a view reads as its owner, so row security asks the owner and not who reads",
    "CREATE VIEW … WITH (security_invoker = true)",
)
MATERIALIZED_VIEW: Final = Rule(
    "MaterializedView",
    "a materialized view keeps rows of all tenants and has no row security",
    "a table with tenant_id and row security, filled per tenant",
)
DEFINER_PATH_OPEN: Final = Rule(
    "DefinerPathOpen",
    "a SECURITY DEFINER function without its own search_path runs what the caller puts in its way, as its owner",
    "CREATE FUNCTION … SECURITY DEFINER SET search_path = pg_catalog, pg_temp",
)
PUBLIC_GRANT: Final = Rule(
    "PublicGrant",
    "PUBLIC holds a privilege, which every login of the server has then",
    "REVOKE … FROM PUBLIC, and grant it to the group that needs it",
)

RULES: Final = (
    ROW_SECURITY_OFF,
    ROW_SECURITY_NOT_FORCED,
    FENCE_MISSING,
    TENANT_COLUMN_MISSING,
    UNIQUE_NOT_PER_TENANT,
    FOREIGN_KEY_NOT_PER_TENANT,
    VIEW_NOT_INVOKER,
    MATERIALIZED_VIEW,
    DEFINER_PATH_OPEN,
    PUBLIC_GRANT,
)
