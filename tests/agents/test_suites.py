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
from tests.agents.suites.running import freely, grants_of, lead, opened, replayed, workflow_of
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


async def test_attack_1_and_3_the_worst_agent_inside_a_workflow(stage):
    """It decides as it is told and tries every operation that it reads of, at every moment."""
    wrong, tried, secrets = {}, 0, stage.secrets()
    for task in stage.suite.tasks:
        before = stage.snapshot()
        agent = Worst(task, told(stage, task), [step.name for step in workflow_of(stage, task.workflow).steps])
        led = await lead(stage, task, agent, Operations)
        found = forbidden(stage, changes(before, stage.snapshot(), runs=False), task)
        again = await replayed(stage, led)
        leaked = {secret for secret in secrets if any(secret in said for said in agent.seen)}
        if found or again or leaked or agent.through:
            wrong[task.name] = (found, again, leaked, agent.through)
        tried += len(agent.obeyed)
    assert wrong == {}
    assert tried > 25 * len(stage.suite.instructions)
    assert await whole(stage)


async def test_attack_1_and_3_the_worst_agent_with_the_stolen_login(stage):
    """Every step of its run is open all the time, and it says whatever SQL it reads."""
    wrong, through, secrets = {}, 0, stage.secrets()
    for task in stage.suite.tasks:
        found, agent = await stolen(stage, task, told(stage, task))
        leaked = {secret for secret in secrets if any(secret in said for said in agent.seen)}
        through += len(agent.through)
        if forbidden(stage, found) or leaked:
            wrong[task.name] = (forbidden(stage, found), leaked)
    assert wrong == {}
    assert through > 0, "what its run allows it may do"
    assert await whole(stage)


@pytest.fixture
def gateway(stage, tmp_path):
    with Gateway(stage, tmp_path) as made:
        yield made


async def test_attack_1_and_3_the_worst_agent_through_the_gateway(stage, gateway):
    """Its run leaves the order of the calls to it, and it calls whatever tool it reads of."""
    wrong, through, secrets = {}, 0, stage.secrets()
    for task in stage.suite.tasks:
        workflow = workflow_of(stage, task.workflow)
        run = await opened(stage, workflow, freely(workflow))
        before, agent = stage.snapshot(), Worst(task, told(stage, task))
        agent.obey("\n".join(agent.told), gateway(stage, run))
        found = forbidden(stage, changes(before, stage.snapshot(), runs=True))
        leaked = {secret for secret in secrets if any(secret in said for said in agent.seen)}
        through += len(agent.through)
        if found or leaked:
            wrong[task.name] = (found, leaked)
    assert wrong == {}
    assert through > 0, "what its run allows it may do"
    assert await whole(stage)


async def stolen(stage, task, said):
    """What changed, and the agent, after somebody with the stolen login did what was ``said``."""
    workflow = workflow_of(stage, task.workflow)
    run = await opened(stage, workflow, grants_of(workflow))
    before = stage.snapshot()
    agent, driver = Worst(task, said, [step.name for step in workflow.steps]), Login(stage, run)
    try:
        agent.obey("\n".join(agent.told), driver)
    finally:
        driver.close()
    return changes(before, stage.snapshot(), runs=True), agent


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
