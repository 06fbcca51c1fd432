"""What an agent learns of rows that it may not see: by keys that are taken, by references, by counting, by the way in
which it is refused. Each denial is tried again with its one protection gone."""

import asyncio
import copy

import psycopg
import pytest
from psycopg.types.json import Jsonb

from paybill.agents.drift import drifted
from paybill.agents.runs import open_day
from tests.agents import shop
from tests.agents.conftest import VERSIONS, administrator, may, new_shop, scene_of, without
from tests.agents.test_leading import led
from tests.cluster.waiting import until
from tests.databases.servers import start

FIRST = {"all": [{"field": "name", "op": "startsWith", "value": "customer 1"}]}
"""Customers 1 and 10 to 19: the others are there, and hidden."""
CUSTOMERS = {
    "name": "customers",
    "read": {"fields": ["id", "name", "mail"], "filterable": ["id"]},
    "rows": FIRST,
    "create": {"fields": ["id", "name", "mail"]},
    "delete": {},
}
MAKE, ORDER = "SELECT pba_support.customers_create(%s)", "SELECT pba_support.orders_create(%s)"
GATE = "pba_support.customers_create(jsonb)"
HIDDEN, MISSING, SEEN = 2, 999, 1


def collections():
    orders, comments = copy.deepcopy(shop.POLICY["collections"])
    orders["create"].pop("check")
    orders["update"] |= {"fields": ["status", "notes", "customer_id"], "ifMatch": None}
    return [orders, comments, CUSTOMERS]


@pytest.fixture(scope="module", params=VERSIONS, ids="postgres-{}".format)
def at(request):
    """A server as its superuser sees it."""
    return start("Superuser", request.param)


@pytest.fixture(scope="module")
def scene(at):
    """An agent that makes customers and orders, of which it sees some."""
    with new_shop(at) as database:
        made = asyncio.run(scene_of(at, database, collections=collections()))
        made.policy = shop.policy(collections=collections())
        made.admin(f"ALTER DATABASE {database} SET track_functions = 'all'")
        yield made


@pytest.fixture
async def run(scene):
    scene.admin("UPDATE pb.agent SET read_day = '-infinity', rows_read_per_day = 500")
    every = ("get", "list", "aggregate", "create", "update", "delete")
    return await scene.run(*(may(one, 20, collection=table) for table in ("orders", "customers") for one in every))


def said(session, statement, *values):
    """All that Postgres says of a statement that it refused; "" when it went through. What was done is taken back."""
    try:
        session.execute("BEGIN")
        session.execute(statement, values)
    except psycopg.Error as error:
        told = error.diag
        return error.sqlstate, told.message_primary, told.message_detail, told.constraint_name, told.column_name
    else:
        return ""
    finally:
        session.execute("ROLLBACK")


def customer(number, mail="new@example.org", name="customer 100"):
    return Jsonb({"id": number, "mail": mail, "name": name})


async def whole(scene):
    await scene.carry_out(scene.policy)


async def test_attack_27_a_key_that_is_taken_is_told_in_one_word_that_names_nothing(scene, run):
    tried = {
        "a hidden mail": customer(100, "c2@example.org"), "a hidden key": customer(HIDDEN),
        "a mail that is seen": customer(100, "c1@example.org"), "no mail at all": customer(100, None),
        "no mail that there can be": customer(100, "nothing"),
    }  # fmt: skip
    with scene.agent(run) as session:
        for name, given in tried.items():
            assert said(session, MAKE, given) == ("PA010", "the database does not take this", None, None, None), name
        assert said(session, MAKE, customer(100)) == ""
        async with without(scene, scene.policy, GATE, {"integrity_constraint_violation": "division_by_zero"}):
            state, message, _, constraint, _ = said(session, MAKE, tried["a hidden mail"])
            assert (state, constraint) == ("23505", "customers_mail_key")
            assert "customers_mail_key" in message
        assert said(session, MAKE, tried["a hidden mail"])[0] == "PA010"


async def test_attack_27_what_a_refusal_tells_is_counted_and_no_rollback_takes_it_back(scene, run):
    scene.admin("UPDATE pb.agent SET read_ceiling = pg_sequence_last_value('pb.reads_support') + 5")
    guess = "c{}@example.org".format
    with scene.agent(run) as session:
        assert [said(session, MAKE, customer(100, guess(2)))[0] for _ in range(5)] == ["PA010"] * 5
        taken, free = said(session, MAKE, customer(100, guess(2))), said(session, MAKE, customer(100))
        assert taken == free, "past its rows of the day, an agent is told nothing"
        assert taken[0] == "PA003"
        assert scene.admin("SELECT calls FROM pb.run WHERE id = %s", [run]) == [(0,)]
        count = {"nextval(format('pb.%I', v_agent.reads)::regclass) > v_agent.read_ceiling": "false"}
        async with without(scene, scene.policy, "pb.may_tell(text,text)", count):
            assert said(session, MAKE, customer(100, guess(2)))[0] == "PA010"
            assert said(session, MAKE, customer(100)) == ""


async def test_attack_27_outside_of_a_step_that_may_do_it_nothing_is_told(scene, run):
    closed = await scene.run(may("create", collection="customers"))
    spent = await scene.run(may("create", calls=0, collection="customers"))
    scene.admin("UPDATE pb.run SET closed_time = clock_timestamp() WHERE id = %s", [closed])
    cases = (("", "work", "PA001"), (closed, "work", "PA001"), (run, "other", "PA002"), (spent, "work", "PA003"))

    def answers(number, step):
        with scene.agent(number, step) as session:
            return [said(session, MAKE, given) for given in (customer(100, "c2@example.org"), customer(100))]

    for number, step, state in cases:
        taken, free = answers(number, step)
        assert taken == free
        assert taken[0] == state
    async with without(scene, scene.policy, GATE, {"PERFORM pb.may_tell('customers', 'create');": ""}):
        for number, step, state in cases:
            assert [one[0] for one in answers(number, step)] == ["PA010", state], "asked first, charged afterwards"


MARK = "SELECT pba_support.orders_update(%s, %s)"


async def test_attack_27_a_row_refers_to_what_its_agent_sees_and_to_nothing_else(scene, run):
    def refer(session, number):
        made = said(session, ORDER, Jsonb({"customer_id": number, "amount": "5"}))
        changed = said(session, MARK, Jsonb({"id": 2}), Jsonb({"customer_id": number}))
        return made, changed

    with scene.agent(run) as session:
        assert refer(session, SEEN) == ("", "")
        hidden = refer(session, HIDDEN)
        assert hidden == refer(session, MISSING), "a row that is hidden is as good as none"
        assert [one[0] for one in hidden] == ["42501", "42501"]
        scene.admin(f"DROP POLICY pba_support_create ON {shop.SCHEMA}.orders")
        scene.admin(f"DROP POLICY pba_support_update ON {shop.SCHEMA}.orders")
        try:
            async with administrator(scene.at, scene.database) as admin:
                assert await drifted(admin, shop.TENANT, "support", shop.SCHEMA, scene.database) == ("row policies",)
            assert refer(session, HIDDEN) == ("", "")
            assert [one[0] for one in refer(session, MISSING)] == ["PA010", "PA010"]
        finally:
            await whole(scene)
        assert refer(session, HIDDEN) == hidden


async def test_attack_27_whether_hidden_rows_refer_to_one_is_counted_too(scene, run):
    scene.admin("UPDATE pb.agent SET read_ceiling = pg_sequence_last_value('pb.reads_support') + 1")
    drop = "SELECT pba_support.customers_delete(%s)"
    with scene.agent(run) as session:
        assert said(session, drop, Jsonb({"id": 10})) == ("PA010", "the database does not take this", None, None, None)
        assert said(session, drop, Jsonb({"id": 10}))[0] == "PA003"


async def test_attack_26_what_is_hidden_is_in_no_sum_and_no_extreme(scene, run):
    """The orders of the us have odd numbers, and cost as much."""
    every = {"sum": "2550", "count": "50"}
    ask = "SELECT pba_support.orders_aggregate(%s, %s)"

    def answers():
        with scene.agent(run) as session:
            return {
                function: session.execute(ask, [function, field]).fetchone()[0]["value"]
                for function, field in (("sum", "amount"), ("count", None))
            }

    assert {one: value.removesuffix(".00") for one, value in answers().items()} == every
    scene.admin(f"ALTER TABLE {shop.SCHEMA}.orders DISABLE ROW LEVEL SECURITY")
    try:
        assert answers() == {"sum": "5050.00", "count": "100"}
    finally:
        await whole(scene)


async def test_attack_26_extremes_and_bisection_reach_granted_columns_and_seen_rows_only(at):
    [orders, *_] = copy.deepcopy(shop.POLICY["collections"])
    orders["aggregate"] |= {"functions": ["min", "max", "count"]}
    with new_shop(at) as database:
        scene = await scene_of(at, database, collections=[orders])
        run = await scene.run(may("aggregate", 50), may("list", 20))
        ask = "SELECT pba_support.orders_aggregate(%s, %s, NULL, %s)"
        with scene.agent(run) as session:

            def value(function, field, *conditions):
                row = session.execute(ask, [function, field, Jsonb(list(conditions))]).fetchone()
                return row and row[0]["value"]

            assert (value("min", "amount"), value("max", "amount")) == ("2.00", "100.00")
            scene.owner("UPDATE orders SET amount = 9000 WHERE id = 99")  # of the us
            assert value("max", "amount") == "100.00"
            few = {"field": "id", "op": "lte", "value": 8}
            assert value("max", "amount", few) is None, "of four rows nothing is told"
            # What may be chosen by may be bisected: that is what filterable grants. Nothing else can be.
            for field in ("amount", "internal_margin", "region", "notes"):
                assert (
                    said(session, ask, "count", None, Jsonb([{"field": field, "op": "gt", "value": 1}]))[0] == "PA006"
                )
            scene.owner("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
            assert value("max", "amount") == "9000.00"


async def test_attack_26_the_difference_of_two_large_counts_is_not_held(scene, run):
    """Known, and said on the page: two answers that may be given tell of one row."""
    count = "SELECT pba_support.orders_aggregate('count', conditions => %s)"
    with scene.agent(run) as session:
        all_but_one = Jsonb([{"field": "id", "op": "ne", "value": 4}])
        counts = [int(session.execute(count, [one]).fetchone()[0]["value"]) for one in (Jsonb([]), all_but_one)]
    assert counts[0] - counts[1] == 1


GET, CHANGE = "SELECT pba_support.orders_get(%s)", 'SELECT pba_support.orders_update(%s, \'{"notes": "x"}\')'
LIST = "SELECT pba_support.orders_list(%s)"


async def test_attack_29_a_hidden_row_and_none_take_the_same_way_through_the_database(scene, run):
    """Counted and not timed: every function that is called, and every word of the answer."""
    calls = "SELECT funcname::text, calls FROM pg_stat_user_functions WHERE schemaname IN ('pb', 'pba_support')"

    async def way(statement, given):
        before = dict(scene.admin(calls))
        with scene.agent(run) as session:
            session.execute("BEGIN")
            try:
                answer = session.execute(statement, [Jsonb(given)]).fetchall()
            except psycopg.Error as error:
                answer = said_of(error)
            session.execute("ROLLBACK")
        # What a session called is known when it has ended.
        await until(lambda: scene.admin("SELECT 1 FROM pg_stat_activity WHERE usename = %s", [scene.role]) == [])
        after = dict(scene.admin(calls))
        return answer, {name: after[name] - before.get(name, 0) for name in after}

    async def both(statement, shape):
        return [await way(statement, shape(number)) for number in (1, MISSING)]

    def listing(number):
        return [{"field": "id", "op": "eq", "value": number}]

    scene.admin("SELECT pg_stat_reset()")
    for statement, shape in ((GET, lambda number: {"id": number}), (CHANGE, lambda number: {"id": number}),
                             (LIST, listing)):  # fmt: skip
        hidden, missing = await both(statement, shape)
        assert hidden == missing, statement
        assert sum(hidden[1].values()) >= 3, "it went through the gate, its key and its budget"
    scene.admin(f"ALTER TABLE {shop.SCHEMA}.orders DISABLE ROW LEVEL SECURITY")
    try:
        hidden, missing = await both(CHANGE, lambda number: {"id": number})
        assert hidden != missing
    finally:
        await whole(scene)


def said_of(error):
    return error.sqlstate, error.diag.message_primary, error.diag.message_detail


async def test_attack_27_in_a_run_that_is_led_only_the_call_that_comes_next_may_tell(scene, run):
    steps = [
        {"name": name, "uses": "customers.create", "with": {"id": number, "mail": mail, "name": "customer 1000"}}
        for name, number, mail in (("taken", "1000", "c2@example.org"), ("free", "1001", "free@example.org"))
    ]
    ways = {one["name"]: await led(scene, steps=[one], initial=one["name"]) for one in steps}

    def made(number, mail):
        return Jsonb({"id": number, "mail": mail, "name": "customer 1000"})

    with scene.agent(ways["taken"], "*") as session:
        assert said(session, MAKE, made("1000", "c2@example.org"))[0] == "PA010"
        taken, free = (
            said(session, MAKE, made("1000", "c4@example.org")),
            said(session, MAKE, made("1000", "new@x.org")),
        )
        assert taken == free, "it was not asked to try these"
        assert taken[0] == "PA002"
        scene.admin("UPDATE pb.agent SET read_ceiling = pg_sequence_last_value('pb.reads_support')")
        assert said(session, MAKE, made("1000", "c2@example.org"))[0] == "PA003"
    await opened_anew(scene)
    with scene.agent(ways["free"], "*") as session:
        assert said(session, MAKE, made("1001", "free@example.org")) == ""
    # That a gate asks whether it may tell is all that counts it here too.
    scene.admin("UPDATE pb.agent SET read_ceiling = pg_sequence_last_value('pb.reads_support')")
    async with without(scene, scene.policy, GATE, {"PERFORM pb.may_tell('customers', 'create');": ""}):
        with scene.agent(ways["taken"], "*") as session:
            assert said(session, MAKE, made("1000", "c2@example.org"))[0] == "PA010"


async def opened_anew(scene):
    scene.admin("UPDATE pb.agent SET read_day = '-infinity'")
    async with administrator(scene.at, scene.database) as admin:
        await open_day(admin, scene.role)
