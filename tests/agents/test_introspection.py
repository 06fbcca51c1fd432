"""What is read of a tenant's tables is what the server knows of them, exactly."""

import pytest

from paybill.agents.facts import Column, Facts, Reference
from paybill.agents.introspection import introspect
from paybill.api.failures import Blocked
from tests.agents import shop
from tests.agents.conftest import administrator, new_shop


@pytest.fixture
async def facts(at, database):
    async with administrator(at, database) as session:
        return await introspect(session, database, shop.SCHEMA, shop.TENANT)


async def test_every_column_has_its_exact_type(facts):
    orders = facts.schema_.by_name["orders"].by_name
    assert orders["id"] == Column(name="id", type="integer", kind="Integer", nullable=False, defaulted=True, bits=32)
    assert orders["amount"] == Column(
        name="amount", type="numeric(10,2)", kind="Decimal", nullable=False, precision=10, scale=2
    )
    assert orders["status"] == Column(
        name="status", type=f"{shop.SCHEMA}.status", kind="Enum", nullable=False, defaulted=True,
        labels=("open", "refund_requested", "refunded"),
    )  # fmt: skip
    assert orders["placed"].type == "timestamp with time zone"
    assert orders["tags"].kind == "Opaque"
    assert orders["doubled"].generated
    customers = facts.schema_.by_name["customers"].by_name
    assert (customers["name"].kind, customers["name"].length) == ("Text", 40)
    assert (customers["mail"].kind, customers["mail"].type) == ("Text", f"{shop.SCHEMA}.email")


async def test_keys_and_what_follows_a_delete_are_known(facts):
    customers, comments = facts.schema_.by_name["customers"], facts.schema_.by_name["comments"]
    assert customers.primary_key == ("id",)
    assert customers.unique == (("mail",),)
    assert comments.references == (
        Reference(columns=("order_id",), collection="orders", to=("id",), on_delete="Cascade"),
    )
    assert facts.schema_.by_name["totals"].kind == "v"


async def test_who_may_use_a_table_is_known(facts):
    [orders] = [one for one in facts.surroundings.guarded if one.collection == "orders"]
    assert (orders.owner, orders.row_security, orders.grantees) == (shop.OWNER, False, (shop.WRITERS,))
    assert facts.surroundings.insiders == (shop.WRITERS,)
    assert "pg_sleep(double precision)" in facts.surroundings.open_functions
    assert "pg_database" in facts.surroundings.open_catalogs


async def test_a_file_of_facts_is_read_back_as_it_was(facts):
    assert Facts.model_validate(facts.wire()) == facts
    assert Facts.model_validate(facts.wire()).schema_.digest == facts.schema_.digest


CHANGES = (
    "ALTER TABLE orders ADD secret text",
    "ALTER TABLE orders RENAME notes TO remarks",
    "ALTER TABLE orders ALTER customer_id DROP NOT NULL",
    "ALTER TABLE orders DROP doubled CASCADE",
    "ALTER TABLE orders ALTER internal_margin TYPE numeric(12,2)",
    "ALTER TYPE status ADD VALUE 'lost'",
    "ALTER TABLE customers DROP CONSTRAINT customers_mail_key",
    "CREATE TABLE more (id int)",
    "DROP TABLE more",
)


async def test_every_change_of_the_tables_is_another_digest_until_it_is_taken_back(at):
    with new_shop(at) as name:
        async with administrator(at, name) as session:
            seen = [(await introspect(session, name, shop.SCHEMA, shop.TENANT)).schema_.digest]
            for change in CHANGES:
                at.run(f"SET search_path = {shop.SCHEMA}; {change}", name)
                seen.append((await introspect(session, name, shop.SCHEMA, shop.TENANT)).schema_.digest)
    assert seen[-1] == seen[-3]
    assert len(set(seen)) == len(seen) - 1


async def test_a_schema_that_is_not_there_is_no_empty_one(at, database):
    async with administrator(at, database) as session:
        with pytest.raises(Blocked, match="has no schema"):
            await introspect(session, database, "t_nowhere1", "nowhere1")
