"""The gateway as a driver: a thread with a gateway over the suite's tenant, spoken to by the SDK's client over HTTP."""

import asyncio
import contextlib
import json
import threading
import uuid
from concurrent.futures import Future

import httpx2
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from paybill.gateway import process
from paybill.gateway.process import Settings
from paybill.gateway.serving import Serving
from paybill.gateway.toolbox import WRITES, tool_name
from tests.agents.conftest import PASSWORD
from tests.agents.suites.drivers import Answer

TOKEN, HOST = "the.agents.token", "gateway.test"


class Gateway:
    """A gateway that runs while it is entered; calling it makes the driver of a run."""

    def __init__(self, stage, folder):
        self.stage, self.folder = stage, folder
        self.ready = Future()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.hold()), daemon=True)

    def __enter__(self):
        self.mount()
        self.thread.start()
        self.loop, self.client, self.leave = self.ready.result(120)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.leave.set)
        self.thread.join(120)

    async def hold(self):
        """Serve until it is left: a client is closed by the task that opened it."""
        leave = asyncio.Event()
        try:
            async with self.served() as client:
                self.ready.set_result((asyncio.get_running_loop(), client, leave))
                await leave.wait()
        except BaseException as error:
            if not self.ready.done():
                self.ready.set_exception(error)
            raise

    def wait(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(120)

    def mount(self):
        """Write the files of the agent as the operator mounts them."""
        agent, stage = self.stage.suite.agent, self.stage
        wire = {
            "apiVersion": "agents.paybill.dev/v1alpha1", "kind": "AgentPolicy",
            "metadata": {"name": agent, "namespace": stage.suite.name}, "spec": stage.policy.wire(),
        }  # fmt: skip
        (self.folder / f"{agent}.policy.yaml").write_text(yaml.safe_dump(wire))
        (self.folder / f"{agent}.schema.json").write_text(json.dumps(stage.facts.schema_.model_dump(mode="json")))
        uri = f"postgresql://{stage.role}:{PASSWORD}@127.0.0.1:{stage.at.port}/{stage.database}"
        (self.folder / f"{agent}.uri").write_text(uri)

    @contextlib.asynccontextmanager
    async def served(self):
        tenant, agent = self.stage.suite.tenant, self.stage.suite.agent
        serving = Serving(self.folder, tenant)
        await serving.take_up()
        stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def who(token):
            return serving.mounted.agents[agent] if token == TOKEN else None

        settings = Settings(
            folder=self.folder, tenant=tenant, audience="https://paybill.dev/agents", port=0, metrics_port=0,
            hosts=(HOST,),
        )  # fmt: skip
        running = asyncio.create_task(
            process.serve(settings, serving, who, stop=stop, listening=lambda *both: ports.set_result(both))
        )
        try:
            await asyncio.wait((running, ports), return_when=asyncio.FIRST_COMPLETED)
            port, _ = await ports if ports.done() else await running
            headers = {"Authorization": f"Bearer {TOKEN}", "Host": HOST}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=60) as http,
                Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)) as client,
            ):
                yield client
        finally:
            stop.set()
            await running
            await serving.close()

    def __call__(self, stage, run):
        return Run(self, run)


def plain(row):
    """A row without the marks of strangers' text: an agent that obeys reads what is inside of them."""
    return {
        name: value["untrusted"] if isinstance(value, dict) and set(value) == {"untrusted"} else value
        for name, value in row.items()
    }


class Run:
    """The agent's tools in one run."""

    def __init__(self, gateway, run):
        self.gateway, self.run = gateway, run

    def called(self, tool, **said):
        """What a call came to: the content, and the code with which it was refused."""
        answer = self.gateway.wait(self.gateway.client.call_tool(tool, {"run": str(self.run), **said}))
        content = answer.structured_content
        return content, content["error"]["code"] if answer.is_error else ""

    def next(self):
        content, error = self.called("run_next")
        assert not error, content
        return content

    def go_on(self, stands):
        said = {name: unmarked(value) for name, value in stands["arguments"].items() if name != "run"}
        return self.answered(*self.called(stands["tool"], **said))

    def decide(self, step, said):
        return Answer(error=self.called("run_decide", step=step, values=said)[1])

    def fail(self, step, _):
        return Answer(error=self.called("run_fail", step=step)[1])

    def say(self, tool, said, step, key=""):
        collection, _, operation = tool.rpartition(".")
        once = {"idempotencyKey": key or str(uuid.uuid4())} if operation in WRITES else {}
        part = {"step": step} if step else {}
        return self.answered(*self.called(tool_name(collection, operation), **{**said, **once, **part}))

    def answered(self, content, error):
        if error:
            return Answer((str(content),), error)
        match content:
            case {"row": None}:
                return Answer()
            case {"row": row}:
                return Answer(((plain(row),),))
            case {"rows": [*rows]}:
                return Answer(tuple((plain(row),) for row in rows))
            case {"groups": groups}:
                return Answer(tuple((group,) for group in groups))
            case {"key": made}:
                return Answer(((made,),))
            case _:
                return Answer(((content["rows"],),))

    def sql(self, _):
        return None

    def close(self):
        """Nothing is kept between two calls."""


def unmarked(value):
    """What an agent passes on of an argument that is marked."""
    match value:
        case {"untrusted": inside}:
            return inside
        case dict():
            return {name: unmarked(one) for name, one in value.items()}
        case _:
            return value
