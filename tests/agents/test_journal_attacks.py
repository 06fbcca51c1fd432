"""The journal under attack: each forgery is found, and passes once the one check that finds it is left out.

Who does it may write the tables: a superuser, or whoever got hold of the keeper. ``rehash`` is the strongest of them,
who knows how the chain is made and makes it anew. Everything else cannot even write, which is proved with its login.
"""

import asyncio
import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb

from paybill.agents import interpreter, journal, names
from paybill.agents.interpreter import Await, Call, Event, Run, following, parted
from paybill.agents.reading import entries, heads
from paybill.agents.runs import close_run
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Invalid
from tests.agents import shop
from tests.agents.conftest import administrator, may, new_shop, scene_of
from tests.databases.servers import start

CANARY = "canary-4111-1111-1111-1111"
REHASH = """
CREATE FUNCTION pg_temp.rehash(p_run uuid, p_from bigint, p_to bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r pb.journal; v_prev bytea;
BEGIN
  FOR r IN SELECT * FROM pb.journal j WHERE j.run = p_run AND j.seq BETWEEN p_from AND p_to ORDER BY j.seq LOOP
    SELECT j.hash INTO v_prev FROM pb.journal j WHERE j.run = p_run AND j.seq < r.seq ORDER BY j.seq DESC LIMIT 1;
    v_prev := coalesce(v_prev, decode(repeat('00', 32), 'hex'));
    UPDATE pb.journal j SET prev_hash = v_prev,
      hash = sha256(convert_to('paybill.journal.v1' || chr(10), 'UTF8') || v_prev || convert_to(jsonb_build_array(
        j.run, j.seq, to_char(j.time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), j.role, j.kind, j.step,
        j.collection, j.operation, j.rows, j.digest, j.key, j.workflow_hash, j.policy_hash, j.schema_hash,
        encode(v_prev, 'hex'))::text, 'UTF8'))
     WHERE j.run = p_run AND j.seq = r.seq;
  END LOOP;
END $$;
"""
ADDED = """
INSERT INTO pb.journal SELECT run, {seq}, time, role, '{kind}', step, collection, operation, rows, digest, NULL,
  workflow_hash, policy_hash, schema_hash, prev_hash, hash FROM pb.journal WHERE run = '{run}' AND seq = 3;
"""
CONTENT, PLACE, LINK, HEADS, ENDS, RULES = "content", "place", "link", "heads", "ends", "rules"
KINDS = {CONTENT: {"Altered"}, PLACE: {"Gap", "Order"}, LINK: {"BrokenLink"}, RULES: {"Order"}}


@dataclass(frozen=True)
class Forgery:
    """``{run}`` is a run with rows 1 to 5: opened, get, update, get, closed; ``{other}`` one that was opened alone."""

    name: str
    does: str
    found: frozenset[str]
    without: frozenset[str]
    """The checks that find it: when exactly these are left out, it passes."""

    def __str__(self) -> str:
        return self.name


def forgery(name, does, found, *without):
    return Forgery(name, does, frozenset(found.split()), frozenset(without))


def altered(column, value):
    return forgery(f"alter-{column}", f"UPDATE pb.journal SET {column} = {value} WHERE run = '{{run}}' AND seq = 3",
                   "Altered", CONTENT)  # fmt: skip


FORGERIES = (
    altered("time", "time - interval '1 day'"),
    altered("role", "'pba_shop0001_a_other'"),
    altered("kind", "'approval'"),
    altered("step", "'other'"),
    altered("collection", "'comments'"),
    altered("operation", "'delete'"),
    altered("rows", "0"),
    altered("digest", "'sha256:0'"),
    altered("key", "'again'"),
    altered("workflow_hash", "'sha256:0'"),
    altered("policy_hash", "'sha256:0'"),
    altered("schema_hash", "'sha256:0'"),
    forgery("alter-the-link", "UPDATE pb.journal SET prev_hash = hash WHERE run = '{run}' AND seq = 3",
            "Altered BrokenLink", CONTENT, LINK),
    forgery("alter-the-hash", "UPDATE pb.journal SET hash = prev_hash WHERE run = '{run}' AND seq = 3",
            "Altered BrokenLink", CONTENT, LINK),
    forgery("exchange-what-two-rows-say",
            "UPDATE pb.journal j SET operation = o.operation, rows = o.rows, digest = o.digest FROM pb.journal o"
            " WHERE j.run = '{run}' AND o.run = j.run AND j.seq IN (2, 3) AND o.seq = 5 - j.seq", "Altered", CONTENT),
    forgery("alter-and-hash-it-anew",
            "UPDATE pb.journal SET rows = 0 WHERE run = '{run}' AND seq = 3; SELECT pg_temp.rehash('{run}', 3, 3)",
            "BrokenLink", LINK),
    forgery("alter-and-hash-all-anew",
            "UPDATE pb.journal SET rows = 0 WHERE run = '{run}' AND seq = 3; SELECT pg_temp.rehash('{run}', 3, 9)",
            "Altered Unpaired", HEADS, ENDS),
    forgery("alter-all-and-what-the-run-says",
            "UPDATE pb.journal SET rows = 0 WHERE run = '{run}' AND seq = 3; SELECT pg_temp.rehash('{run}', 3, 9);"
            " UPDATE pb.run r SET head = j.hash FROM pb.journal j WHERE j.run = r.id AND j.seq = r.seq",
            "Altered", HEADS),
    forgery("cut-out-the-middle", "DELETE FROM pb.journal WHERE run = '{run}' AND seq = 3", "Gap", PLACE),
    forgery("cut-out-the-middle-and-close-up",
            "DELETE FROM pb.journal WHERE run = '{run}' AND seq = 3;"
            " UPDATE pb.journal SET seq = seq - 1 WHERE run = '{run}' AND seq = 4;"
            " UPDATE pb.journal SET seq = seq - 1 WHERE run = '{run}' AND seq = 5;"
            " SELECT pg_temp.rehash('{run}', 3, 9)", "HeadMissing", HEADS, ENDS),
    forgery("cut-off-the-end", "DELETE FROM pb.journal WHERE run = '{run}' AND seq >= 4", "HeadMissing", HEADS, ENDS),
    forgery("cut-off-the-end-and-what-the-run-says",
            "DELETE FROM pb.journal WHERE run = '{run}' AND seq >= 4;"
            " UPDATE pb.run SET seq = 3, head = j.hash FROM pb.journal j WHERE id = '{run}' AND j.run = id"
            " AND j.seq = 3", "HeadMissing", HEADS),
    forgery("cut-off-the-beginning",
            "DELETE FROM pb.journal WHERE run = '{run}' AND seq = 1", "Gap", PLACE),
    forgery("cut-off-the-beginning-and-close-up",
            "DELETE FROM pb.journal WHERE run = '{run}' AND seq = 1; DELETE FROM pb.journal WHERE run = '{run}'"
            " AND seq = 2; UPDATE pb.journal SET seq = seq + 10 WHERE run = '{run}';"
            " UPDATE pb.journal SET seq = seq - 12 WHERE run = '{run}'; SELECT pg_temp.rehash('{run}', 1, 9);"
            " UPDATE pb.run SET seq = 3, head = j.hash FROM pb.journal j WHERE id = '{run}' AND j.run = id"
            " AND j.seq = 3", "Order HeadMissing", RULES, HEADS),
    forgery("truncate", "TRUNCATE pb.journal", "HeadMissing", HEADS, ENDS),
    forgery("truncate-and-forget-the-runs", "TRUNCATE pb.journal, pb.step_grant, pb.run CASCADE", "HeadMissing", HEADS),
    forgery("reorder",
            "UPDATE pb.journal SET seq = seq + 10 WHERE run = '{run}' AND seq IN (2, 3);"
            " UPDATE pb.journal SET seq = 15 - seq WHERE run = '{run}' AND seq > 10", "Altered BrokenLink",
            CONTENT, LINK),
    forgery("reorder-and-hash-anew",
            "UPDATE pb.journal SET seq = seq + 10 WHERE run = '{run}' AND seq IN (2, 3);"
            " UPDATE pb.journal SET seq = 15 - seq WHERE run = '{run}' AND seq > 10;"
            " SELECT pg_temp.rehash('{run}', 2, 9)", "Altered Unpaired", HEADS, ENDS),
    forgery("replay-a-row", ADDED.format(seq=6, kind="call", run="{run}"), "Altered BrokenLink Order Unpaired",
            CONTENT, LINK, RULES, ENDS),
    forgery("add-a-row-that-is-well-made",
            ADDED.format(seq=6, kind="call", run="{run}") + "SELECT pg_temp.rehash('{run}', 6, 6)", "Order Unpaired",
            RULES, ENDS),
    forgery("add-a-row-and-tell-the-run",
            ADDED.format(seq=6, kind="call", run="{run}") + "SELECT pg_temp.rehash('{run}', 6, 6);"
            " UPDATE pb.run SET seq = 6, head = j.hash FROM pb.journal j WHERE id = '{run}' AND j.run = id"
            " AND j.seq = 6", "Order", RULES),
    forgery("forge-an-approval",
            "UPDATE pb.journal SET kind = 'approval', collection = NULL, operation = NULL, rows = NULL"
            " WHERE run = '{run}' AND seq = 2; SELECT pg_temp.rehash('{run}', 2, 2)", "BrokenLink", LINK),
    forgery("fork",
            "ALTER TABLE pb.journal DROP CONSTRAINT journal_pkey;"
            " INSERT INTO pb.journal SELECT run, seq, time, role, kind, 'other', collection, operation, rows, digest,"
            " key, workflow_hash, policy_hash, schema_hash, prev_hash, hash FROM pb.journal"
            " WHERE run = '{run}' AND seq = 4", "Order Altered", PLACE, CONTENT),
    forgery("pass-off-a-run-as-another",
            "INSERT INTO pb.journal SELECT '{other}', seq, time, role, kind, step, collection, operation, rows, digest,"
            " key, workflow_hash, policy_hash, schema_hash, prev_hash, hash FROM pb.journal WHERE run = '{run}'"
            " AND seq BETWEEN 2 AND 4; SELECT pg_temp.rehash('{other}', 2, 9);", "Unpaired", ENDS),
    forgery("lose-a-run",
            "DELETE FROM pb.journal WHERE run = '{run}'; DELETE FROM pb.step_grant WHERE run = '{run}';"
            " DELETE FROM pb.run WHERE id = '{run}'", "HeadMissing", HEADS),
)  # fmt: skip


@pytest.fixture(scope="module")
def told():
    """A shop whose journal tells of one run from its opening to its closing, and of one that was opened."""
    with new_shop(start("Superuser", 18)) as database:
        yield asyncio.run(_told(database))


async def _told(database):
    scene = await scene_of(start("Superuser", 18), database)
    scene.ran, scene.other = await scene.run(may("get"), may("update")), await scene.run(may("create"))
    with scene.agent(scene.ran) as session:
        session.execute("SELECT pba_support.orders_get('{\"id\": 2}')")
        marked = [Jsonb({"id": 2}), Jsonb({"notes": CANARY}), "1"]
        session.execute("SELECT pba_support.orders_update(%s, %s, %s)", marked)
        session.execute("SELECT pba_support.orders_get('{\"id\": 4}')")
    async with administrator(scene.at, database) as admin:
        await close_run(admin, scene.ran, "Succeeded")
        scene.kept = await heads(admin)
    return scene


def verified(found, kept, ends, without=frozenset()):
    """The kinds of problems that verification finds when the checks ``without`` are not made."""
    ignored = {kind for check in without for kind in KINDS.get(check, ())}
    report = journal.verify(found, () if HEADS in without else kept, () if ENDS in without else ends)
    return {problem.kind for problem in report.problems} - ignored


@pytest.mark.parametrize("forged", FORGERIES, ids=str)
async def test_attack_35_on_the_journal(told, forged):
    async with administrator(told.at, told.database) as admin, admin.transaction(force_rollback=True):
        await admin.execute(REHASH)
        for statement in forged.does.format(run=told.ran, other=told.other).split(";"):
            await admin.execute(statement)
        found, ends = [entry async for entry in entries(admin)], await heads(admin)
    assert verified(found, told.kept, ends) == forged.found
    assert verified(found, told.kept, ends, forged.without) == set()
    for check in forged.without if len(forged.without) > 1 else ():
        assert verified(found, told.kept, ends, forged.without - {check}) != set(), f"{check} finds nothing"


async def test_a_journal_that_nobody_touched_is_whole(told):
    async with administrator(told.at, told.database) as admin:
        found = [entry async for entry in entries(admin)]
        assert verified(found, told.kept, await heads(admin)) == set()
    assert [entry.kind for entry in found if entry.run == told.ran] == ["opened", "call", "call", "call", "closed"]


async def test_attack_35_a_row_has_its_place_once(told):
    same = f"INSERT INTO pb.journal SELECT * FROM pb.journal WHERE run = '{told.ran}' AND seq = 4"
    async with administrator(told.at, told.database) as admin:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await admin.execute(same)
        async with admin.transaction(force_rollback=True):
            await admin.execute("ALTER TABLE pb.journal DROP CONSTRAINT journal_pkey")
            await admin.execute(same)


IN = "GRANT USAGE ON SCHEMA pb TO {who}; GRANT SELECT ON pb.journal, pb.run, pb.agent TO {who}; "
WRITERS = {
    "alter": ("UPDATE pb.journal SET rows = 0", "GRANT UPDATE ON pb.journal TO {who}"),
    "delete": ("DELETE FROM pb.journal", "GRANT DELETE ON pb.journal TO {who}"),
    "truncate": ("TRUNCATE pb.journal", "GRANT TRUNCATE ON pb.journal TO {who}"),
    "forge-an-approval": (
        """INSERT INTO pb.journal SELECT run, 9, time, role, 'approval', 'ask', NULL, NULL, NULL, digest, NULL,
           workflow_hash, policy_hash, schema_hash, hash, hash FROM pb.journal WHERE seq = 5""",
        "GRANT INSERT ON pb.journal TO {who}",
    ),
    "append-an-approval": (
        "SELECT pb.append('{run}', 'approval', 'ask', NULL, NULL, NULL, 'sha256:0', NULL)",
        "GRANT EXECUTE ON FUNCTION pb.append TO {who}; ALTER FUNCTION pb.append SECURITY DEFINER",
    ),
    "move-the-head": ("UPDATE pb.run SET seq = 1", "GRANT UPDATE ON pb.run TO {who}"),
    "open-a-run": (
        """INSERT INTO pb.run (id, role, workflow_hash, policy_hash, schema_hash, deadline, max_calls, max_rows_read,
           max_rows_written) SELECT gen_random_uuid(), role, '', policy_hash, schema_hash, 'infinity', 9, 9, 9
           FROM pb.agent""",
        "GRANT INSERT ON pb.run TO {who}",
    ),
    "open-a-closed-run": ("UPDATE pb.run SET closed_time = NULL", "GRANT UPDATE ON pb.run TO {who}"),
}


@pytest.mark.parametrize("who", ["agent", "program"])
@pytest.mark.parametrize("attack", WRITERS)
async def test_attack_35_who_has_a_login_writes_no_journal(told, attack, who):
    """Neither the agent's login nor that of the tenant's own programs, until the very privilege is granted."""
    statement, granted = WRITERS[attack]
    role = names.login(shop.TENANT, "support") if who == "agent" else shop.APP

    def tried(session):
        try:
            with session.transaction(force_rollback=True):
                session.execute(f'SET SESSION AUTHORIZATION "{role}"')
                session.execute(statement.format(run=told.ran))
        except psycopg.Error as error:
            return error.sqlstate
        return ""

    with told.at.superuser(told.database) as session:
        session.autocommit = False
        assert tried(session) == "42501"
        session.execute((IN + granted).format(who=f'"{role}"'))
        assert tried(session) == ""
        session.rollback()


LOOP = AgentWorkflowSpec.model_validate(
    {
        "input": {"orderId": "Integer"},
        "initial": "judge",
        "steps": [
            {"name": "judge", "uses": "decide", "out": {"verdict": ["refund", "reject"]}, "maxCalls": 2,
             "next": [{"to": "ask", "when": {"field": "$steps.judge.verdict", "op": "eq", "value": "refund"}}]},
            {"name": "ask", "uses": "approve", "maxCalls": 2, "next": [{"to": "mark"}]},
            {"name": "mark", "uses": "orders.update", "maxCalls": 2, "next": [{"to": "judge"}],
             "with": {"id": "$input.orderId", "status": "refund_requested"}},
        ],
    }
)  # fmt: skip
NOW = datetime(2026, 11, 1, tzinfo=UTC)
RUN = Run(LOOP, {"orderId": 7}, NOW)
REFUND = Event(kind="decision", step="judge", values={"verdict": "refund"})


def approval_of(run):
    wanted = following(run, [REFUND], NOW)
    assert isinstance(wanted, Await)
    return Event(kind="approval", step="ask", digest=wanted.digest)


def without_looking(play, kind, step, wanted):
    """As ``_Play.take``, but for the one check: whatever comes next is taken for what was wanted."""
    if play.ended():
        return None
    play.place += 1
    return play.events[play.place - 1]


def test_attack_24_an_approval_of_another_call_approves_nothing(monkeypatch):
    stolen = approval_of(dataclasses.replace(RUN, input={"orderId": 8}))
    events = [REFUND, stolen]
    assert parted(RUN, events, NOW) == 1
    with pytest.raises(Invalid, match="JournalDiverges"):
        following(RUN, events, NOW)
    monkeypatch.setattr(interpreter._Play, "take", without_looking)
    assert following(RUN, events, NOW).reason == "ApprovedOtherwise", "the call is held against the approval once more"
    monkeypatch.setattr(interpreter._Play, "fail", lambda play, *_: play.wanted(play.steps["mark"]))
    assert isinstance(following(RUN, events, NOW), Call)


def test_attack_24_an_approval_is_used_once():
    approval = approval_of(RUN)
    called = following(RUN, [REFUND, approval], NOW)
    assert isinstance(called, Call)
    once = [REFUND, approval, Event(kind="call", step="mark", digest=called.digest), REFUND]
    assert following(RUN, once, NOW) == Await(step="ask", of="approval", digest=approval.digest)
    assert isinstance(following(RUN, [*once, approval], NOW), Call), "a second approval lets it go on"
    assert parted(RUN, [REFUND, approval, approval], NOW) == 2


def test_attack_24_an_approval_that_was_denied_or_never_asked_for_is_none():
    approval = approval_of(RUN)
    denied = dataclasses.replace(approval, error="Denied")
    assert following(RUN, [REFUND, denied], NOW).ending == "Denied"
    assert isinstance(following(RUN, [REFUND, dataclasses.replace(denied, error="")], NOW), Call)
    assert parted(RUN, [approval], NOW) == 0


def test_attack_36_a_forged_decision_parts_from_what_was_done_after_it():
    approval = approval_of(RUN)
    called = following(RUN, [REFUND, approval], NOW)
    events = [REFUND, approval, Event(kind="call", step="mark", digest=called.digest)]
    assert parted(RUN, events, NOW) is None
    forged = dataclasses.replace(REFUND, values={"verdict": "reject"})
    assert parted(RUN, [forged, *events[1:]], NOW) == 1


async def test_attack_37_no_value_is_in_the_journal_or_beside_it(told):
    """Nor in an idempotency key, which a workflow may make of a column."""
    kept = "SELECT string_agg(t, ' ') FROM (" + " UNION ALL ".join(
        f"SELECT to_jsonb(x)::text t FROM pb.{name} x"
        for (name,) in told.admin("SELECT relname FROM pg_class WHERE relnamespace = 'pb'::regnamespace"
                                  " AND relkind = 'r'")
    ) + ") a"  # fmt: skip
    assert told.owner("SELECT notes FROM orders WHERE id = 2") == [(CANARY,)]
    [(text,)] = told.admin(kept)
    assert CANARY not in text
    with told.at.superuser(told.database) as session, session.transaction(force_rollback=True):
        session.execute(
            "CREATE OR REPLACE FUNCTION pb.digest(p_text text) RETURNS text LANGUAGE sql AS $$ SELECT p_text $$"
        )
        session.execute("SELECT set_config('pb.run', %s, true), set_config('pb.step', 'work', true)", [str(told.other)])
        session.execute(f'SET SESSION AUTHORIZATION "{told.role}"')
        given = Jsonb({"customer_id": 1, "amount": "1", "notes": CANARY})
        session.execute("SELECT pba_support.orders_create(%s)", [given])
        session.execute("RESET SESSION AUTHORIZATION")
        assert CANARY in session.execute(kept).fetchone()[0], "the hash is what keeps it out"


def test_attack_37_an_idempotency_key_made_of_a_value_does_not_show_it():
    step = {"name": "mark", "uses": "orders.update", "with": {"id": "1"}, "idempotencyKey": "$input.secret"}
    workflow = AgentWorkflowSpec.model_validate({"input": {"secret": "Text"}, "initial": "mark", "steps": [step]})
    one, other = (following(Run(workflow, {"secret": said}, NOW), [], NOW) for said in (CANARY * 99, "x"))
    assert isinstance(one, Call)
    assert isinstance(other, Call)
    assert CANARY not in one.key
    assert one.key != other.key
    assert len(one.key) <= 200, "the journal takes no longer one"
