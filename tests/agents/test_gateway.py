"""The gateway over a real database, spoken to by the SDK's own client over HTTP."""

import asyncio
import uuid

import pytest

from paybill.agents.journal import verify
from paybill.agents.reading import entries
from paybill.agents.runs import FREE
from tests.agents import shop
from tests.agents.conftest import VERSIONS, administrator, may, new_shop, scene_of
from tests.agents.gateway import LIMITS, mount, say, serving
from tests.databases.servers import start


@pytest.fixture(scope="module", params=VERSIONS, ids="postgres-{}".format)
def at(request):
    """A server as its superuser sees it."""
    return start("Superuser", request.param)


@pytest.fixture(scope="module")
def scene(at):
    """An agent with room for many calls."""
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, limits=LIMITS))


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """What is mounted."""
    made = tmp_path_factory.mktemp("mounted")
    asyncio.run(mount(made, scene, shop.policy(limits=LIMITS)))
    return made


def free(operation, rows=20, **more):
    return may(operation, rows, step=FREE, **more)


async def test_a_get_is_charged_and_journalled(scene, folder):
    run = await scene.run(free("get"))
    async with serving(folder) as gateway, gateway.client() as client:
        assert await say(client, "orders_get", run=str(run), key={"id": 2}) == {
            "row": {
                "id": 2, "customer_id": 3, "amount": "2.00", "status": "open",
                "notes": {"untrusted": "note 2"}, "version": 1,
            }
        }  # fmt: skip
        assert await say(client, "orders_get", run=str(run), key={"id": 1}) == {"row": None}, "a row of the us"
        assert await say(client, "orders_get", run=str(uuid.uuid4()), key={"id": 2}) == "NoOpenRun"
    assert scene.admin("SELECT calls, rows_read FROM pb.run WHERE id = %s", [run]) == [(2, 1)]
    async with administrator(scene.at, scene.database) as admin:
        journal = [entry async for entry in entries(admin, run)]
    assert [(entry.kind, entry.operation, entry.rows) for entry in journal] == [
        ("opened", None, None), ("call", "get", 1), ("call", "get", 0),
    ]  # fmt: skip
    assert verify(journal).intact
