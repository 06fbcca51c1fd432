"""Row security for one agent on one table: what lets it in, what keeps it in, and what lets everybody else go on.

The permissive policy alone is not enough, because somebody else's `TO PUBLIC USING (true)` is added to it with OR
(measured: 5,000 rows became 10,000); the restrictive one is added with AND. Both are for a role and read no setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.agents import names
from paybill.agents.facts import Collection, Guarded
from paybill.agents.hidden import visible
from paybill.api.agent_policy import CollectionPolicy, Condition, Create, RowRule, Update
from paybill.databases.statement import Statement, listed

_OPERATORS: Final[Mapping[str, str]] = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def condition(rule: RowRule | None, collection: Collection) -> Composable:
    """``rule`` as SQL over the columns of ``collection``; true when there is none."""
    if rule is None:
        return SQL("true")
    parts = [_comparison(one, collection) for one in rule.all or ()]
    if rule.any:
        parts.append(SQL("({})").format(SQL(" OR ").join(_comparison(one, collection) for one in rule.any)))
    return SQL("({})").format(SQL(" AND ").join(parts))


def _comparison(one: Condition, collection: Collection) -> Composable:
    field, spelled = Identifier(one.field), SQL(collection.by_name[one.field].type)
    match one.op:
        case "isNull":
            return SQL("{} IS NULL").format(field)
        case "in":
            values = SQL(", ").join(SQL("{}::{}").format(Literal(value), spelled) for value in one.values or ())
            return SQL("{} IN ({})").format(field, values)
        case "startsWith":
            return SQL("starts_with({}::text, {})").format(field, Literal(one.value))
        case _:
            return SQL("{} {} {}::{}").format(field, SQL(_OPERATORS[one.op]), Literal(one.value), spelled)


def row_security(
    policy: CollectionPolicy, collection: Collection, schema: str, *, agent: str, holder: str
) -> Iterator[Statement]:
    """The policies of ``holder`` on the table of ``collection`` in ``schema``, made anew."""
    table = Identifier(schema, collection.name)
    rows = condition(policy.rows, collection)
    yield Statement(f"row security on {collection.name}", SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
    checks: dict[str, Composable] = {
        "open": SQL("AS PERMISSIVE FOR ALL TO {} USING ({}) WITH CHECK ({})").format(Identifier(holder), rows, rows),
        "fence": SQL("AS RESTRICTIVE FOR ALL TO {} USING ({}) WITH CHECK ({})").format(Identifier(holder), rows, rows),
    }
    if policy.create is not None:
        check = _becoming(policy, policy.create, collection, schema)
        checks["create"] = SQL("AS RESTRICTIVE FOR INSERT TO {} WITH CHECK ({})").format(Identifier(holder), check)
    if policy.update is not None:
        check = _becoming(policy, policy.update, collection, schema)
        checks["update"] = SQL("AS RESTRICTIVE FOR UPDATE TO {} USING (true) WITH CHECK ({})").format(
            Identifier(holder), check
        )
    for what in ("open", "fence", "create", "update"):
        name = Identifier(names.policy(agent, what))
        yield Statement("", SQL("DROP POLICY IF EXISTS {} ON {}").format(name, table))
        if what in checks:
            made = SQL("CREATE POLICY {} ON {} {}").format(name, table, checks[what])
            yield Statement(f"policy {names.policy(agent, what)} on {collection.name}", made)


def _becoming(policy: CollectionPolicy, write: Create | Update, collection: Collection, schema: str) -> Composable:
    """What must be true of a row that was written: the policy's check, and that it refers to what the agent sees."""
    return SQL("{} AND {}").format(condition(write.check, collection), visible(policy, collection, schema, write))


def passing(guarded: Guarded, table: Identifier) -> Iterator[Statement]:
    """Before row security is enabled: who could use the table goes on as before. Where it is on, that was decided."""
    if guarded.row_security or not guarded.grantees:
        return
    yield Statement("", SQL("DROP POLICY IF EXISTS {} ON {}").format(Identifier(names.PASS), table))
    yield Statement(
        f"policy {names.PASS} on {guarded.collection}",
        SQL("CREATE POLICY {} ON {} AS PERMISSIVE FOR ALL TO {} USING (true) WITH CHECK (true)").format(
            Identifier(names.PASS), table, listed(guarded.grantees)
        ),
    )
