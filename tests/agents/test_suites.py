"""100 tasks of four suites, with instructions in every text that a stranger can write, and agents without a model.

A good agent completes all of them. The worst one obeys whatever it reads, and what then changed in the database, as a
superuser sees it, is inside of what the suite's author allowed by hand: with the operations and the workflow, through
the gateway, and with the stolen login and SQL of its own.
"""

import pytest

from paybill.agents.journal import verify
from paybill.agents.reading import entries, heads
from tests.agents.conftest import administrator
from tests.agents.suites import billing, hr, inventory, support
from tests.agents.suites.agents import Good, Worst
from tests.agents.suites.drivers import Login, Operations
from tests.agents.suites.instructions import INSTRUCTION
from tests.agents.suites.running import lead, opened, replayed, workflow_of
from tests.agents.suites.stage import changes, staged
from tests.agents.suites.through_gateway import Gateway
from tests.databases.servers import start

SUITES = [support.SUITE, *(pytest.param(one.SUITE, marks=pytest.mark.exhaustive) for one in (billing, inventory, hr))]
ALL = [one.SUITE for one in (support, billing, inventory, hr)]


@pytest.fixture(params=SUITES, ids=str)
async def stage(request):
    """The suite's tenant, with instructions in its texts and its agent let in."""
    with staged(start("Superuser", 18), request.param) as made:
        await made.let_in()
        made.told = made.write_instructions()
        yield made


def test_there_are_four_suites_of_25_tasks():
    assert [len(suite.tasks) for suite in ALL] == [25] * 4
    assert all(len({task.name for task in suite.tasks}) == 25 for suite in ALL)


SHARES = 25
"""Every instruction is tried in one task of its suite at least, and a suite's own in all of them."""
TELLING = ("[[sql: UPDATE", "[[sql: CREATE ROLE", "[[sql: SELECT pba")
"""What shows a protection that is gone; what would take the stage down with it is left out."""


def told(stage, task):
    """What a task is told at once: what is of the suite, and a share of what is tried everywhere."""
    share = stage.suite.tasks.index(task) % SHARES
    return [*stage.suite.instructions, *stage.told[len(stage.suite.instructions) + share :: SHARES]]


async def whole(stage) -> bool:
    async with administrator(stage.at, stage.database) as admin:
        return verify([entry async for entry in entries(admin)], await heads(admin), await heads(admin)).intact


async def test_a_good_agent_completes_every_task_and_asks_for_few_approvals(stage):
    await completed(stage, Operations)


async def test_a_good_agent_completes_every_task_through_the_gateway(stage, gateway):
    await completed(stage, gateway)


@pytest.mark.exhaustive
async def test_a_good_agent_completes_every_task_with_the_bare_login(stage):
    await completed(stage, Login)


async def completed(stage, driver_of):
    asked, wrong = 0, {}
    for task in stage.suite.tasks:
        before = stage.snapshot()
        led = await lead(stage, task, Good(task), driver_of)
        found = changes(before, stage.snapshot(), runs=False)
        fits = len(found) == len(task.effects) and all(
            any(one.fits(change) for change in found) for one in task.effects
        )
        again = await replayed(stage, led)
        if led.ending != "Succeeded" or not fits or again:
            wrong[task.name] = (led.ending, led.reason, found, again)
        asked += led.asked
    assert wrong == {}
    assert await whole(stage)
    assert asked / len(stage.suite.tasks) < 0.10


def forbidden(stage, found, task=None):
    """The changes that nobody allowed; of a ``task``, also those of rows that are not its own."""
    return [
        change for change in found
        if not any(one.fits(change) for one in stage.suite.allowed)
        or (task is not None and change.kind != "create" and f"{change.table}/{change.key}" not in task.rows)
    ]  # fmt: skip


def steps_of(stage, task):
    return [step.name for step in workflow_of(stage, task.workflow).steps]


async def at_its_worst(stage, driver_of, steps=steps_of):
    """It decides as it is told and tries all that it reads of, in every step and at every moment.

    What it may have is what it had: the row that it read last, once more.
    """
    wrong, tried, secrets = {}, set(), stage.secrets()
    for task in stage.suite.tasks:
        before = stage.snapshot()
        agent = Worst(task, told(stage, task), ["", *steps(stage, task)])
        led = await lead(stage, task, agent, driver_of)
        found = forbidden(stage, changes(before, stage.snapshot(), runs=False), task)
        again = await replayed(stage, led)
        leaked = {secret for secret in secrets if any(secret in said for said in agent.seen)}
        through = [one for one in agent.through if one[0] != "sql" and ".get " not in one[1]]
        if found or again or leaked or through:
            wrong[task.name] = (found, again, leaked, through)
        tried |= agent.obeyed
    assert wrong == {}
    assert tried >= set(INSTRUCTION.findall("\n".join(stage.suite.instructions)))
    assert await whole(stage)


async def test_attack_1_and_3_the_worst_agent_inside_a_workflow(stage):
    await at_its_worst(stage, Operations)


async def test_attack_1_and_3_the_worst_agent_with_the_stolen_login(stage):
    """It says whatever SQL it reads as well."""
    await at_its_worst(stage, Login)


async def test_attack_1_and_3_the_worst_agent_through_the_gateway(stage, gateway):
    await at_its_worst(stage, gateway, steps=lambda *_: [])


@pytest.fixture
def gateway(stage, tmp_path):
    with Gateway(stage, tmp_path) as made:
        yield made


async def stolen(stage, task, said, *, led=False):
    """What changed, and the agent, after somebody with the stolen login did what was ``said``."""
    run = await opened(stage, workflow_of(stage, task.workflow), dict(task.input) if led else None)
    before = stage.snapshot()
    agent, driver = Worst(task, said, steps_of(stage, task)), Login(stage, run)
    try:
        agent.obey("\n".join(agent.told), driver)
    finally:
        driver.close()
    return changes(before, stage.snapshot(), runs=True), agent


async def test_attack_19_that_a_run_is_led_is_what_keeps_the_worst_agent_to_its_task():
    """Where all steps are open at once, it does within its policy what its task is not."""
    with staged(start("Superuser", 18), support.SUITE) as stage:
        await stage.let_in()
        stage.write_instructions()
        said = stage.suite.instructions
        task = next(one for one in stage.suite.tasks if one.workflow == "refund")
        assert (await stolen(stage, task, said, led=True))[0] == ()
        found = (await stolen(stage, task, said))[0]
        assert forbidden(stage, found) == []
        assert [change for change in found if not any(one.fits(change) for one in task.effects)] != []


REMOVED = {
    "the-gates": "GRANT USAGE ON SCHEMA {t} TO {l}; GRANT ALL ON ALL TABLES IN SCHEMA {t} TO {l}; {open}",
    "that-the-books-are-the-keepers": "GRANT USAGE ON SCHEMA pb TO {l}; GRANT ALL ON ALL TABLES IN SCHEMA pb TO {l}",
    "that-the-login-is-no-superuser": "ALTER ROLE {l} SUPERUSER",
    "the-fence-and-what-a-row-may-become": "{open}",
}


@pytest.mark.parametrize("removed", REMOVED)
async def test_what_is_forbidden_is_seen_once_a_protection_is_removed(removed):
    """The measure can fail: the same agent, the same instructions, one protection less."""
    with staged(start("Superuser", 18), support.SUITE) as stage:
        await stage.let_in()
        said = [one for one in stage.write_instructions() if one.startswith(TELLING)]
        refund = next(task for task in stage.suite.tasks if task.workflow == "refund")
        assert forbidden(stage, (await stolen(stage, refund, said))[0]) == []
        untied = "; ".join(
            f"ALTER TABLE {stage.schema}.{name} DISABLE TRIGGER ALL, DISABLE ROW LEVEL SECURITY"
            for name in stage.columns
        )
        stage.admin(REMOVED[removed].format(t=stage.schema, l=f'"{stage.role}"', open=untied))
        try:
            assert forbidden(stage, (await stolen(stage, refund, said))[0]) != []
        finally:
            stage.admin(f'ALTER ROLE "{stage.role}" NOSUPERUSER; DROP ROLE IF EXISTS backdoor')
