"""The gateway as a process, with tokens of the real API server, killed at any moment together with its database."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest

from paybill.agents.runs import FREE
from paybill.api.failures import Retry
from paybill.cluster.session import open_session
from paybill.gateway.process import Settings, run
from paybill.gateway.tokens import Reviews
from tests.agents import shop
from tests.agents.conftest import may, new_shop, scene_of
from tests.agents.gateway import AUDIENCE, LIMITS, Gateway, mount, say
from tests.agents.test_leading import approve, followed, led
from tests.cluster.waiting import until
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.servers import HBA, TestServer

NAMESPACE = "agents-gateway"
OTHER = "https://paybill.dev/agents/other001"
SUBJECTS = [{"serviceAccount": {"namespace": NAMESPACE, "name": "bot"}}]
POLICY = {"limits": LIMITS, "subjects": SUBJECTS}


@pytest.fixture(scope="module")
def at():
    """A server of this module's own, because it is killed."""
    process = ThrowAwayPostgres()
    (process.data / "pg_hba.conf").write_text(HBA)
    server = TestServer(process, "Superuser", 18)
    server.run("SELECT pg_reload_conf()")
    yield server
    process.remove()


@pytest.fixture(scope="module")
def scene(at):
    """An agent whose subject is one ServiceAccount."""
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, **POLICY))


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """What is mounted."""
    made = tmp_path_factory.mktemp("mounted")
    asyncio.run(mount(made, scene, shop.policy(**POLICY)))
    return made


class Accounts:
    """ServiceAccounts of one namespace, by an administrator's session."""

    def __init__(self, session):
        self.session = session

    async def call(self, method, path, body=None):
        async with self.session.http.request(method, self.session.server + path, json=body) as answer:
            return answer.status, await answer.json()

    async def make(self):
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for name in ("bot", "stranger", "short-lived"):
            body = {"metadata": {"name": name}}
            await self.call("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", body)
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "agents-gateway"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "agents-gateway"}],
        }  # fmt: skip
        await self.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)

    async def token(self, name="bot", *audiences):
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
        spec = {"audiences": list(audiences or (AUDIENCE,)), "expirationSeconds": 3600}
        status, answer = await self.call("POST", path, {"spec": spec})
        assert status == 201, answer
        return answer["status"]["token"]


@pytest.fixture
async def accounts(control_plane) -> AsyncIterator[Accounts]:
    """The accounts, and the right of the gateway's user to ask whose a token is."""
    async with open_session(control_plane.kubeconfig) as session:
        made = Accounts(session)
        await made.make()
        yield made


@contextlib.asynccontextmanager
async def gateway(control_plane, folder, audience=AUDIENCE):
    """A gateway in this process that asks the real API server, as a user who may do nothing else."""
    settings = Settings(
        folder=folder, tenant=shop.TENANT, audience=audience, hosts=("gateway.test",), port=0, metrics_port=0,
        kubeconfig=control_plane.kubeconfig_for("agents-gateway"),
    )  # fmt: skip
    stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(settings, stop=stop, listening=lambda *both: ports.set_result(both)))
    try:
        await asyncio.wait((running, ports), return_when=asyncio.FIRST_COMPLETED)
        port, metrics = await ports if ports.done() else await running
        yield Gateway(f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{metrics}")
    finally:
        stop.set()
        await running


async def test_an_account_of_the_policy_gets_in_with_a_token_for_this_gateway(control_plane, accounts, scene, folder):
    runs = str(await scene.run(may("get", step=FREE)))
    token = await accounts.token()
    async with gateway(control_plane, folder) as made, made.client(token) as client:
        assert (await say(client, "orders_get", run=runs, key={"id": 2}))["row"]["id"] == 2


async def test_attack_15_no_other_token_gets_in(control_plane, accounts, folder, scene, tmp_path):
    good, for_another = await accounts.token(), await accounts.token("bot", OTHER)
    stranger = await accounts.token("stranger")
    head, body, seal = good.split(".")
    forged = {
        "for another gateway": for_another,
        "for the API server": await accounts.token("bot", "https://kubernetes.default.svc"),
        "of another account": stranger,
        "with another seal": f"{head}.{body}.{seal[:-8]}AAAAAAAA",
        "with no seal": f"{head}.{body}.",
        "with another body": f"{head}.{stranger.split('.')[1]}.{seal}",
        "with alg none": f"eyJhbGciOiJub25lIn0.{body}.",
        "no token": "x",
        "too long": "a.b." + "c" * 10_000,
    }
    async with gateway(control_plane, folder) as made:
        for what, token in forged.items():
            answer = await made.post(Authorization=f"Bearer {token}")
            assert (answer.status_code, answer.json()) == (401, {"error": {"code": "token"}}), what
        assert (await made.post(Authorization=f"Bearer {good}")).status_code == 400, "let in, and no request"
    # Only the audience kept the first one out, and only the policy the third.
    async with gateway(control_plane, folder, OTHER) as made:
        assert (await made.post(Authorization=f"Bearer {for_another}")).status_code == 400
        assert (await made.post(Authorization=f"Bearer {good}")).status_code == 401
    more = [*SUBJECTS, {"serviceAccount": {"namespace": NAMESPACE, "name": "stranger"}}]
    await mount(tmp_path, scene, shop.policy(limits=LIMITS, subjects=more))
    async with gateway(control_plane, tmp_path) as made:
        assert (await made.post(Authorization=f"Bearer {stranger}")).status_code == 400


async def test_attack_15_the_token_of_an_account_that_is_gone_ends_with_what_is_known_of_it(control_plane, accounts):
    token, now = await accounts.token("short-lived"), 0.0
    user = f"system:serviceaccount:{NAMESPACE}:short-lived"
    async with open_session(control_plane.kubeconfig_for("agents-gateway")) as session:
        reviews = Reviews(session, AUDIENCE, clock=lambda: now)
        assert await asyncio.gather(*(reviews.user_of(token) for _ in range(20))) == [user] * 20
        await accounts.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/short-lived")
        assert await reviews.user_of(token) == user
        now = 31.0

        async def gone():
            nonlocal now
            now += 31
            return await reviews.user_of(token) == ""

        await until(gone)


async def test_the_gateway_may_ask_whose_a_token_is_and_nothing_else(control_plane, accounts):
    async with open_session(control_plane.kubeconfig_for("agents-gateway")) as session:
        mine = Accounts(session)
        for path in ("secrets", "pods", f"namespaces/{NAMESPACE}/serviceaccounts"):
            assert (await mine.call("GET", f"/api/v1/{path}"))[0] == 403, path
        body = {"metadata": {"name": "mine"}}
        assert (await mine.call("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", body))[0] == 403
    async with open_session(control_plane.kubeconfig_for("agents-gateway-without")) as session:
        with pytest.raises(Retry, match="HTTP 403"):
            await Reviews(session, AUDIENCE).user_of(await accounts.token())


class Process:
    """``paybill agents gateway``, started and killed; a port stays the same over the starts."""

    def __init__(self, control_plane, folder, token):
        self.arguments = [
            sys.executable, "-m", "paybill", "agents", "gateway", str(folder), "--tenant", shop.TENANT, "--audience",
            AUDIENCE, "--host-name", "gateway.test", "--metrics-port", "0", "--log-format", "text",
        ]  # fmt: skip
        self.environment = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig_for("agents-gateway"))}
        self.token, self.port, self.process = token, 0, None

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments, "--port", str(self.port), env=self.environment, stderr=asyncio.subprocess.PIPE
        )
        said = ""
        async with asyncio.timeout(120):
            while not (found := re.search(r"MCP on port (\d+)", said)):
                line = await self.process.stderr.readline()
                assert line, said
                said += line.decode()
        self.port = int(found[1])
        self.reading = asyncio.create_task(self.process.stderr.read())

    async def kill(self, how=signal.SIGKILL):
        if self.process.returncode is None:
            self.process.send_signal(how)
        code = await self.process.wait()
        await self.reading
        return code

    async def make(self, tool, **arguments):
        """The answer of one call, or None when there was none."""
        try:
            async with Gateway(f"http://127.0.0.1:{self.port}/mcp", "").client(self.token) as client:
                answer = await client.call_tool(tool, arguments)
        except (Exception, asyncio.CancelledError) as error:
            # Whatever the client makes of a peer that is gone; what we were told to stop for goes on.
            if isinstance(error, asyncio.CancelledError) and asyncio.current_task().cancelling():
                raise
            return None
        return None if answer.is_error and answer.structured_content["error"]["retry"] else answer.structured_content


async def test_attack_34_a_call_is_answered_once_however_gateway_and_database_are_killed(
    control_plane, accounts, at, scene, folder
):
    runs = str(await scene.run(may("create", step=FREE)))
    process = Process(control_plane, folder, await accounts.token())
    await process.start()
    effects = "SELECT count(*) FROM orders WHERE amount = 433.0 + %s / 100.0"

    def there(number):
        return scene.owner(effects.replace("%s", str(number)))[0][0]

    async def make(number):
        values = {"customer_id": 7, "amount": f"433.{number:02}"}
        return await process.make("orders_create", run=runs, idempotencyKey=f"kill-{number}", values=values)

    async def waiting(number):
        """A call whose statement waits for the lock of the session that is returned as well."""
        holder = scene.at.superuser(scene.database)
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM pb.run WHERE id = %s FOR UPDATE", [runs])
        calling = asyncio.create_task(make(number))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock'"
        await until(lambda: scene.admin(waits, [scene.role])[0][0] == 1)
        return holder, calling

    async def gateway_killed_while_its_statement_waits(number):
        """The effect comes after the gateway is gone: its session goes on in the server."""
        holder, calling = await waiting(number)
        await process.kill()
        assert await calling is None
        assert there(number) == 0
        holder.execute("COMMIT")
        holder.close()
        await until(lambda: there(number) == 1)
        await process.start()

    async def gateway_killed_after_the_answer(number):
        assert await make(number)
        await process.kill()
        await process.start()

    async def gateway_killed_at_once(number):
        calling = asyncio.create_task(make(number))
        await process.kill()
        await calling
        await process.start()

    async def database_killed_while_the_statement_waits(number):
        holder, calling = await waiting(number)
        at.process.stop(how=signal.SIGQUIT)
        assert await calling is None
        holder.close()
        at.process.start()
        assert there(number) == 0

    async def database_killed_after_the_answer(number):
        assert await make(number)
        at.process.stop(how=signal.SIGQUIT)
        at.process.start()

    deeds = (
        gateway_killed_while_its_statement_waits, gateway_killed_after_the_answer, gateway_killed_at_once,
        database_killed_while_the_statement_waits, database_killed_after_the_answer,
    )  # fmt: skip
    try:
        for number, deed in enumerate(deeds):
            await deed(number)
            first = await until(lambda number=number: make(number), seconds=120)
            assert "key" in first, (deed, first)
            assert await until(lambda number=number: make(number), seconds=120) == first
            assert there(number) == 1, deed
    finally:
        code = await process.kill(signal.SIGTERM)
    assert code == 0, "told to stop, it ends by itself"
    done = "SELECT calls, rows_written FROM pb.run WHERE id = %s"
    assert scene.admin(done, [runs]) == [(len(deeds), len(deeds))]


@pytest.mark.exhaustive
async def test_attack_34_a_run_is_led_to_its_end_though_its_gateway_is_killed_in_every_step(
    control_plane, accounts, scene, folder
):
    """Each call is sent, the gateway killed at once, and the call sent again to another: every step is made once."""
    opened = str(await led(scene, order=40))
    process = Process(control_plane, folder, await accounts.token())
    await process.start()
    made = []

    async def asked(tool, **said):
        return await until(lambda: process.make(tool, run=opened, **said), seconds=120)

    try:
        while (stands := await asked("run_next"))["next"] != "done":
            assert len(made) < 10, made
            if stands["next"] == "approval":
                assert await approve(scene, opened) == ""
                continue
            tool, said = "run_decide", {"values": {"verdict": "refund"}, "step": stands["step"]}
            if stands["next"] == "call":
                tool, said = stands["tool"], {name: one for name, one in stands["arguments"].items() if name != "run"}
            calling = asyncio.create_task(process.make(tool, run=opened, **said))
            await process.kill()
            await calling
            await process.start()
            answer = await asked(tool, **said)
            made.append((stands["step"], answer.get("error", {}).get("code", "")))
    finally:
        await process.kill(signal.SIGTERM)
    assert [step for step, _ in made] == ["load", "judge", "note", "mark", "tell"]
    # A decision that got through before the kill is refused when it is sent again, with what comes next.
    assert {code for step, code in made if step != "judge"} == {""}
    assert dict(made)["judge"] in ("", "NotNext")
    assert stands["ending"] == "Succeeded"
    assert (await followed(scene, opened)).ending == "Succeeded"
    assert scene.admin("SELECT rows_written FROM pb.run WHERE id = %s", [opened]) == [(3,)]


async def test_the_process_shows_that_it_is_there(control_plane, folder):
    async with gateway(control_plane, folder) as made, httpx2.AsyncClient() as http:
        for path in ("/healthz", "/metrics"):
            assert (await http.get(made.probes + path)).status_code == 200


async def test_it_is_ready_only_while_its_database_answers(control_plane, folder, at):
    async with gateway(control_plane, folder) as made, httpx2.AsyncClient(timeout=60) as http:

        async def answers(status):
            return (await http.get(f"{made.probes}/readyz")).status_code == status

        await until(lambda: answers(200), seconds=60)
        at.process.stop(how=signal.SIGQUIT)
        try:
            await until(lambda: answers(503), seconds=60)
            assert (await http.get(f"{made.probes}/healthz")).status_code == 200, "it is not started again for that"
        finally:
            at.process.start()
        await until(lambda: answers(200), seconds=90)
