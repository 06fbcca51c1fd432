"""The triggers that charge and journal every write of an agent, in the transaction of the write.

They are for statements, with the rows as they became, so one statement over 5,000 rows is one call of 5,000 rows. The
condition in front of them costs the tenant's own programs a comparison: session_user cannot be set by a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg.sql import SQL, Identifier, Literal

from paybill.agents import names
from paybill.agents.facts import Collection
from paybill.api.agent_policy import CollectionPolicy
from paybill.databases.statement import Statement

_TRANSITIONS: Final = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def triggers(policy: CollectionPolicy, collection: Collection, table: Identifier) -> Iterator[Statement]:
    """All three, on every table that any agent may write: another agent's policy needs the same ones."""
    if policy.create is None and policy.update is None and policy.delete is None:
        return
    for event, transition in _TRANSITIONS.items():
        name = f"{names.TRIGGER}_{event.lower()}"
        yield Statement(
            f"trigger {name} on {collection.name}",
            SQL(
                "CREATE OR REPLACE TRIGGER {} AFTER {} ON {} REFERENCING {} FOR EACH STATEMENT"
                " WHEN (starts_with(session_user::text, {})) EXECUTE FUNCTION {}()"
            ).format(
                Identifier(name),
                SQL(event),
                table,
                SQL(transition),
                Literal(names.PREFIX),
                Identifier(names.SCHEMA, "on_write"),
            ),
        )
        # ALWAYS: also where session_replication_role says replica.
        always = SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table, Identifier(name))
        yield Statement("", always)
