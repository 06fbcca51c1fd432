"""Budgets hold whatever sessions do at once, take back or leave open; and what was done is written down once."""

import asyncio
import json
import threading
import uuid
from collections import Counter

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.types.json import Jsonb

from paybill.agents.carrying_out import carry_out
from paybill.agents.drift import hold
from paybill.agents.journal import verify
from paybill.agents.plan import plan
from paybill.agents.reading import entries, heads
from paybill.agents.runs import close_run, end_step, open_day
from paybill.agents.watchdog import end_overdue, overdue
from paybill.api.failures import Blocked, Retry
from paybill.audit.links import Head
from paybill.cli.main import main
from paybill.desired.database_facts import ServerTraits
from tests.agents import shop
from tests.agents.conftest import VERSIONS, administrator, may, new_facts, new_shop, scene_of
from tests.cluster.waiting import until
from tests.databases.servers import start

THREADS = 50
LIMITS = {**shop.POLICY["limits"], "connections": THREADS + 5, "statementTimeout": "500ms"}


@pytest.fixture(scope="module", params=VERSIONS, ids="postgres-{}".format)
def at(request):
    """A server as its superuser sees it."""
    return start("Superuser", request.param)


@pytest.fixture(scope="module")
def scene(at):
    """An agent that goes through its gates, with room for many sessions."""
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, limits=LIMITS))


def refused(session, statement, *values):
    """The SQLSTATE that a statement ended with; "" when it went through."""
    try:
        session.execute(statement, values)
    except psycopg.Error as error:
        return error.sqlstate
    return ""


def at_once(scene, run, say):
    """How ``THREADS`` sessions of the agent ended that all say something at the same moment."""
    ready, ended = threading.Barrier(THREADS), []

    def work(number):
        with scene.agent(run) as session:
            ready.wait(60)
            ended.append(say(session, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return Counter(ended)


MARK = "SELECT pba_support.orders_update(%s, %s, %s)"


async def test_attack_21_fifty_sessions_never_exceed_the_budget_of_a_run(scene):
    run = await scene.run(may("update"), rows_written=30)

    def mark(session, number):
        return refused(session, MARK, Jsonb({"id": 2 + 2 * (number % 40)}), Jsonb({"notes": str(number)}), "1")

    assert at_once(scene, run, mark) == {"": 30, "PA003": THREADS - 30}
    assert scene.admin("SELECT rows_written, calls FROM pb.run WHERE id = %s", [run]) == [(30, 30)]
    journalled = "SELECT count(*), max(seq) FROM pb.journal WHERE run = %s AND kind = 'call'"
    assert scene.admin(journalled, [run]) == [(30, 31)]


async def test_attack_17_the_same_key_fifty_times_at_once_has_one_effect(scene):
    run = await scene.run(may("create"))

    def make(session, _):
        session.execute("SELECT set_config('pb.key', 'order-7', false)")
        return refused(session, "SELECT pba_support.orders_create(%s)", Jsonb({"customer_id": 7, "amount": "77.77"}))

    # Who came at the same moment is refused; who came a moment later is told what was done.
    ended = at_once(scene, run, make)
    assert ended.keys() <= {"", "PA005"}
    assert ended[""] >= 1
    assert scene.owner("SELECT count(*) FROM orders WHERE amount = 77.77") == [(1,)]
    assert scene.admin("SELECT rows_written, calls FROM pb.run WHERE id = %s", [run]) == [(1, 1)]


async def test_attack_17_a_key_stands_for_one_request_and_is_answered_as_it_was_the_first_time(scene):
    run = await scene.run(may("create"), may("update"), may("delete", 1, collection="comments"))
    make, drop = "SELECT pba_support.orders_create(%s)", "SELECT pba_support.comments_delete(%s)"
    with scene.agent(run) as session:
        for key, statement, *values in (
            ("made", make, Jsonb({"customer_id": 7, "amount": "78.78"})),
            ("marked", MARK, Jsonb({"id": 96}), Jsonb({"notes": "x"}), "1"),
            ("dropped", drop, Jsonb({"id": 48})),
        ):
            session.execute("SELECT set_config('pb.key', %s, false)", [key])
            answers = [session.execute(statement, values).fetchone() for _ in range(3)]
            assert len(set(map(str, answers))) == 1, key
        assert scene.admin("SELECT rows_written, calls FROM pb.run WHERE id = %s", [run]) == [(3, 3)]
        assert refused(session, drop, Jsonb({"id": 47})) == "PA008"
        assert refused(session, make, Jsonb({"customer_id": 7, "amount": "78.78"})) == "PA008"
        session.execute("SELECT set_config('pb.key', 'made', false)")
        assert refused(session, make, Jsonb({"customer_id": 7, "amount": "78.79"})) == "PA008"
    # Another agent's run, and the same key in another run, are told nothing of it.
    other = await scene.run(may("create"))
    with scene.agent(other) as session:
        session.execute("SELECT set_config('pb.key', 'made', false)")
        assert refused(session, make, Jsonb({"customer_id": 7, "amount": "78.79"})) == ""


async def test_attack_21_a_rollback_gives_no_read_row_back(at, scene):
    scene.admin("UPDATE pb.agent SET read_day = '-infinity', rows_read_per_day = 60")
    run = await scene.run(may("list", 20), rows_read=1_000_000)

    def read_and_take_back(session):
        session.execute("BEGIN")
        try:
            return len(session.execute("SELECT pba_support.orders_list()").fetchall())
        finally:
            session.execute("ROLLBACK")

    with scene.agent(run) as session:
        assert [read_and_take_back(session) for _ in range(3)] == [20, 20, 20]
        with pytest.raises(psycopg.Error, match="on this day are used up"):
            read_and_take_back(session)
        assert scene.admin("SELECT rows_read FROM pb.run WHERE id = %s", [run]) == [(0,)]
        # Without the ceiling, which is not the agent's to move, nothing would have kept it back.
        scene.admin("UPDATE pb.agent SET read_ceiling = 1000000")
        assert read_and_take_back(session) == 20
    scene.admin("UPDATE pb.agent SET read_day = '-infinity', rows_read_per_day = 500")


async def test_attack_21_a_new_day_is_opened_by_the_controller_and_by_nobody_else(scene):
    run = await scene.run(may("get"))
    read = "SELECT pba_support.orders_get('{\"id\": 2}')"
    with scene.agent(run) as session:
        assert refused(session, read) == ""
        scene.admin("UPDATE pb.agent SET read_day = read_day - 1")
        assert refused(session, read) == "PA003"
        async with administrator(scene.at, scene.database) as admin:
            assert await open_day(admin, scene.role)
            assert not await open_day(admin, scene.role)
        assert refused(session, read) == ""


async def test_attack_5_and_6_nothing_that_is_said_to_a_gate_becomes_sql(scene):
    run = await scene.run(may("list", 20))
    say = "SELECT pba_support.orders_list(%s, %s, %s)"
    with scene.agent(run) as session:
        quoted = [{"field": "status", "op": "eq", "value": "open' OR '1'='1"}]
        assert refused(session, say, Jsonb(quoted), Jsonb([]), 5) == "22P02"
        for conditions in (
            {"field": "id"}, [7], ["id"], [[]], [{}], [{"field": "id"}], [{"field": "id", "op": "= 1 OR"}],
            [{"field": "ID", "op": "eq", "value": 1}], [{"field": 'id" --', "op": "eq", "value": 1}],
            [{"field": ["id"], "op": "eq", "value": 1}], [{"field": "id", "op": "in", "values": []}],
            [{"field": "id", "op": "in", "values": list(range(101))}],
            [{"field": "id", "op": "eq", "value": 1}] * 11,
        ):  # fmt: skip
            assert refused(session, say, Jsonb(conditions), Jsonb([]), 5) == "PA006", conditions
        for sort in ([{"field": "version"}], [{"field": "id; DROP"}], [{"field": "id"}] * 3, {"field": "id"}, [None]):
            assert refused(session, say, Jsonb([]), Jsonb(sort), 5) == "PA006", sort
        assert len(session.execute(say, [Jsonb([]), Jsonb([]), 1_000_000]).fetchall()) == 20
        assert session.execute(say, [Jsonb([]), Jsonb([]), -1]).fetchall() == []


async def test_attack_26_a_group_that_is_too_small_is_not_shown(scene):
    run = await scene.run(may("aggregate", 50))
    count = "SELECT pba_support.orders_aggregate('count', conditions => %s)"
    few = Jsonb([{"field": "id", "op": "in", "values": [2, 4]}])
    with scene.agent(run) as session:
        assert session.execute(count, [few]).fetchall() == []
        assert refused(session, "SELECT pba_support.orders_aggregate('max', 'internal_margin')") == "PA006"
        assert refused(session, "SELECT pba_support.orders_aggregate(NULL)") == "PA006"
    open_ = [{**one, **({"aggregate": {**one["aggregate"], "minGroupSize": 1}} if "aggregate" in one else {})}
             for one in shop.POLICY["collections"]]  # fmt: skip
    with new_shop(scene.at) as database:
        without = await scene_of(scene.at, database, collections=open_)
        with without.agent(await without.run(may("aggregate", 50))) as session:
            assert session.execute(count, [few]).fetchone() == ({"group": None, "value": "2"},)


async def test_attack_10_a_session_that_overrides_its_timeout_is_ended(scene):
    with scene.agent(await scene.run()) as session:
        session.execute("SET statement_timeout = 0")
        # Long by what it computes: one that fills temporary files is ended by their limit first, on a fast disk.
        many = "generate_series(1, 10000)"
        thread = threading.Thread(target=refused, args=(session, f"SELECT count(*) FROM {many} a, {many} b, {many} c"))
        thread.start()
        async with administrator(scene.at, scene.database) as admin:

            async def ended():
                late = await overdue(admin, scene.role)
                return late == 1 and await end_overdue(admin, scene.role) == 1

            await until(ended, otherwise="the watchdog ends the session")
        thread.join(30)
        assert refused(session, "SELECT 1") != "", "its session goes on"


async def test_attack_13_more_sessions_than_the_policy_says_are_refused(at):
    with new_shop(at) as database:
        scene = await scene_of(at, database, limits={**LIMITS, "connections": 2})
        with scene.login(), scene.login():
            with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
                scene.login()
            scene.admin(f'ALTER ROLE "{scene.role}" CONNECTION LIMIT 3')
            scene.login().close()


async def test_attack_19_a_step_that_is_over_may_nothing_more(scene):
    run = await scene.run(may("get"))
    read = "SELECT pba_support.orders_get('{\"id\": 2}')"
    with scene.agent(run) as session:
        assert refused(session, read) == ""
        async with administrator(scene.at, scene.database) as admin:
            await end_step(admin, run, "work")
        assert refused(session, read) == "PA002"


async def test_attack_33_what_the_owner_changes_closes_the_login(at):
    with new_shop(at) as database:
        scene = await scene_of(at, database)
        traits = ServerTraits(version=at.version * 10_000, admin="postgres", superuser=True, settable=frozenset())
        async with administrator(at, database) as admin:
            stands = (admin, traits, shop.TENANT, "support", shop.SCHEMA, database)
            await hold(*stands)
            for change, back in (
                ("ALTER TABLE orders ADD secret text", "ALTER TABLE orders DROP secret"),
                ("ALTER TABLE orders DISABLE TRIGGER pba_write_update", ""),
                ("CREATE POLICY slip ON orders USING (true)", "DROP POLICY slip ON orders"),
                (
                    "CREATE FUNCTION leak() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
                    "DROP FUNCTION leak",
                ),
            ):
                with scene.login() as session:
                    scene.owner(change)
                    with pytest.raises(Blocked) as failure:
                        await hold(*stands)
                    assert failure.value.reason == "AgentDrifted"
                    assert refused(session, "SELECT 1") != "", "its session goes on"
                with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
                    scene.login()
                if back:
                    scene.owner(back)
                await scene.carry_out(shop.policy())
                scene.login().close()


async def test_a_suspended_agent_cannot_log_in(at):
    with new_shop(at) as database:
        scene = await scene_of(at, database)
        await scene.carry_out(shop.policy(suspend=True))
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            scene.login()


async def test_a_plan_for_other_tables_is_not_carried_out(at):
    with new_shop(at) as database:
        scene = await scene_of(at, database)
        async with administrator(at, database) as admin:
            facts = await new_facts(admin, database)
            scene.owner("ALTER TABLE orders ADD secret text")
            with pytest.raises(Retry) as failure:
                await carry_out(admin, shop.policy(), shop.TENANT, facts)
            assert failure.value.reason == "SchemaDrifted"


async def test_a_second_agent_on_the_same_tables_changes_nothing_for_the_first(at):
    with new_shop(at) as database:
        scene = await scene_of(at, database)
        await scene.carry_out(shop.policy(agent="sales"))
        assert await scene.carry_out(shop.policy()) == ()
        assert await scene.carry_out(shop.policy(agent="sales")) == ()
        run = await scene.run(may("list", 20))
        with scene.agent(run) as session:
            assert len(session.execute("SELECT pba_support.orders_list()").fetchall()) == 20
            assert refused(session, "SELECT pba_sales.orders_list()") == "42501"


async def test_the_same_policy_and_facts_are_the_same_plan(scene):
    async with administrator(scene.at, scene.database) as admin:
        facts = await new_facts(admin, scene.database)
    first = plan(shop.policy(), facts, shop.TENANT)
    second = plan(shop.policy(), type(facts).model_validate(json.loads(json.dumps(facts.wire()))), shop.TENANT)
    assert first.digest == second.digest
    assert first.all == second.all


def test_the_commands_show_runs_and_their_journal(at, tmp_path):
    with new_shop(at) as database:
        scene = asyncio.run(scene_of(at, database))
        over, run = asyncio.run(scene.run(may("get"), calls=3)), asyncio.run(scene.run(may("get"), calls=3))
        with scene.agent(run) as session:
            session.execute("SELECT pba_support.orders_get('{\"id\": 2}')")

        async def close():
            async with administrator(at, database) as admin:
                await close_run(admin, over, "Cancelled")

        asyncio.run(close())
        binding = tmp_path / "uri"
        binding.write_text(f"postgresql://postgres@127.0.0.1:{at.port}/{database}\n", encoding="utf-8")

        def said(*words):
            answer = CliRunner().invoke(main, ["agents", words[0], str(binding), *words[1:]])
            assert answer.exit_code == 0, answer.output
            return answer.stdout

        first, second = said("runs").splitlines()
        assert first == f"{over} {scene.role} Cancelled: 0/3 calls, 0/1000 rows read, 0/1000 rows written"
        assert second == f"{run} {scene.role} Open: 1/3 calls, 1/1000 rows read, 0/1000 rows written"
        [shown] = json.loads(said("runs", "--open", "-o", "json"))["runs"]
        assert (shown["run"], shown["calls"]) == (str(run), {"used": 1, "limit": 3})
        opened, called = json.loads(said("journal", "--run", str(run), "-o", "json"))["entries"]
        assert (opened["kind"], called["kind"], called["operation"], called["rows"]) == ("opened", "call", "get", 1)
        assert f"{scene.role} closed Cancelled" in said("journal")
        assert f"{scene.role} call work orders.get 1 rows" in said("journal")


def test_the_command_finds_what_was_altered_and_what_was_cut_off(at, tmp_path):
    with new_shop(at) as database:
        scene = asyncio.run(scene_of(at, database))
        run = asyncio.run(scene.run(may("get")))
        with scene.agent(run) as session:
            session.execute("SELECT pba_support.orders_get('{\"id\": 2}')")
        binding = tmp_path / "uri"
        binding.write_text(f"postgresql://postgres@127.0.0.1:{at.port}/{database}\n", encoding="utf-8")

        def said(*words):
            return CliRunner().invoke(main, ["agents", "verify", str(binding), *words])

        assert said().exit_code == 0
        assert "2 entries of 1 runs: whole" in said().stdout
        [head] = json.loads(said("-o", "json").stdout)["heads"]
        assert said("--head", head).exit_code == 0
        scene.admin("DELETE FROM pb.journal WHERE seq = 2")
        assert "HeadMissing" in said().stdout, "the run says that there is one more row"
        scene.admin("UPDATE pb.run SET seq = 1, head = j.hash FROM pb.journal j WHERE j.run = id AND j.seq = 1")
        assert said().exit_code == 0, "a chain cannot show that its end is gone, when the run says nothing of it either"
        assert "HeadMissing" in said("--head", head).stdout
        scene.admin("UPDATE pb.journal SET step = 'other'")
        assert said().exit_code == 1
        assert "Altered" in said().stdout
        assert said("--head", "nonsense").exit_code == 2


async def test_attack_35_what_the_owner_of_the_database_does_to_the_journal_is_found(at):
    with new_shop(at) as database:
        scene = await scene_of(at, database)
        run = await scene.run(may("get"), may("update"))
        with scene.agent(run) as session:
            session.execute("SELECT set_config('pb.key', 'ein Schlüssel \"\\\n', false)")
            session.execute("SELECT pba_support.orders_get('{\"id\": 2}')")
            session.execute("RESET pb.key")
            session.execute(MARK, [Jsonb({"id": 2}), Jsonb({"notes": "x"}), "1"])
        async with administrator(at, database) as admin:
            await close_run(admin, run, "Succeeded")
            whole = [entry async for entry in entries(admin)]
            kept = await heads(admin)

            async def found(change):
                async with admin.transaction(force_rollback=True):
                    await admin.execute(change)
                    report = verify([entry async for entry in entries(admin)], kept)
                return {problem.kind for problem in report.problems}

            assert [entry.kind for entry in whole] == ["opened", "call", "call", "closed"]
            assert verify(whole, kept).intact
            assert kept == (Head(run, 4, whole[-1].hash),)
            assert await found("UPDATE pb.journal SET rows = 0 WHERE seq = 3") == {"Altered"}
            assert await found("UPDATE pb.journal SET key = NULL WHERE seq = 2") == {"Altered"}
            assert await found("DELETE FROM pb.journal WHERE seq = 3") == {"Gap"}
            assert await found("DELETE FROM pb.journal WHERE seq = 4") == {"HeadMissing"}
            assert await found("TRUNCATE pb.journal") == {"HeadMissing"}
            swap = "UPDATE pb.journal SET seq = CASE seq WHEN 2 THEN 13 ELSE 12 END WHERE seq IN (2, 3)"
            assert "Altered" in await found(swap + "; UPDATE pb.journal SET seq = seq - 10 WHERE seq > 10")
        assert verify([], [Head(uuid.uuid4(), 1, bytes(32))]).problems[0].kind == "HeadMissing"
