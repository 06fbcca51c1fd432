"""An AgentPolicy on a tenant with a database of its own: let in, shut out, looked after, taken out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from paybill.gateway.mounted import Mounted, read
from paybill.local.certificates import ADMIN
from tests.cluster import samples
from tests.cluster.api import AGENTS, Api, Object, Refused, condition, holds, user
from tests.cluster.bench import points, spread
from tests.cluster.customers import Customer, Customers, secret
from tests.cluster.faults import Fault, Faults
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS = {"lease_seconds": 15.0}
"""Who takes it over from one who did not give it up is tested elsewhere."""
ORDERS = """
CREATE TABLE orders (id integer PRIMARY KEY, region text NOT NULL, amount numeric(10,2) NOT NULL, card text);
INSERT INTO orders SELECT n, CASE n % 2 WHEN 0 THEN 'eu' ELSE 'us' END, n, '4111' FROM generate_series(1, 10) n;
"""
POLICY: Object = {
    "agent": "support",
    "collections": [
        {
            "name": "orders",
            "read": {"fields": ["id", "amount"], "filterable": ["id"], "maxRows": 5},
            "rows": {"all": [{"field": "region", "op": "eq", "value": "eu"}]},
        }
    ],
}


def policy(customer: Customer, name: str = "support", namespace: str = "", **changes: object) -> Object:
    return {
        "apiVersion": AGENTS,
        "kind": "AgentPolicy",
        "metadata": {"name": name, "namespace": namespace or customer.namespace},
        "spec": {"tenantRef": {"name": customer.name}, **POLICY, **changes},
    }


async def owner(api: Api, customer: Customer, statement: str) -> None:
    """What the provider's migrations do, as the tenant's owner."""
    data = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(data["mig-uri"], autocommit=True, connect_timeout=30) as session:
        await session.execute(statement)


async def given(api: Api, customer: Customer) -> dict[str, str]:
    """The files that the tenant's gateway is given."""
    return await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-agents")


async def login_of(api: Api, customer: Customer, agent: str = "support") -> dict[str, str]:
    """How the agent logs in, as libpq reads it; empty where it has no files."""
    uri = (await given(api, customer)).get(f"{agent}.uri")
    if uri is None:
        return {}
    told = conninfo_to_dict(uri)
    return {"uri": uri, "username": str(told["user"]), "password": str(told["password"])}


async def let_in(data: dict[str, str]) -> bool:
    """Whether the agent's login is open, asked with what its Secret says and nothing else."""
    try:
        async with await psycopg.AsyncConnection.connect(data["uri"], connect_timeout=30):
            return True
    except psycopg.OperationalError as error:
        refused = ("not permitted to log in", "does not exist", "authentication failed")
        if not any(words in str(error) for words in refused):
            raise
        return False


async def shop_of(api: Api, customers: Customers) -> Customer:
    customer = await customers.onboard(database="Database")
    await owner(api, customer, ORDERS)
    return customer


async def ready(customers: Customers, customer: Customer, name: str = "support", *, open_: bool = True) -> Object:
    return await customers.until(
        name,
        lambda one: (
            holds(one, "Ready")
            and bool(one["status"].get("open")) is open_
            and one["status"]["observedGeneration"] == one["metadata"]["generation"]
        ),
        kind="AgentPolicy",
        namespace=customer.namespace,
        seconds=90,
    )


async def test_an_agent_is_let_in_as_its_policy_says(api: Api, customers: Customers) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    status = (await ready(customers, customer))["status"]
    assert status["login"] == f"pba_{customer.id}_a_support"
    assert status["policyHash"].startswith("sha256:")

    data = await login_of(api, customer)
    assert data["username"] == status["login"]
    assert status["binding"] == {"name": f"t-{customer.id}-agents"}
    async with await psycopg.AsyncConnection.connect(data["uri"], autocommit=True, connect_timeout=30) as session:
        for statement in (f"SELECT * FROM t_{customer.id}.orders", "SELECT * FROM pb.agent", "SET ROLE pb_admin"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await session.execute(statement)
        with pytest.raises(psycopg.Error, match="there is no open run"):
            await session.execute("SELECT pba_support.orders_get('{\"id\": 2}')")


async def test_a_gateway_is_given_those_agents_that_are_let_in_and_the_tenants_owners_cannot_read_it(
    api: Api, customers: Customers, control_plane: LocalThread, tmp_path: Path
) -> None:
    customer = await customers.onboard(database="Database", spec={"owners": [{"kind": "User", "name": "ann"}]})
    await owner(api, customer, ORDERS)
    bot, clerk = ({"serviceAccount": {"namespace": customer.namespace, "name": name}} for name in ("bot", "clerk"))
    await api.apply(policy(customer, subjects=[bot]), policy(customer, "billing", agent="billing", subjects=[clerk]))
    for name in ("support", "billing"):
        await ready(customers, customer, name)
    served = mounted(tmp_path / "both", await given(api, customer), customer)
    assert set(served.agents) == {"support", "billing"}
    found = served.agent_of(f"system:serviceaccount:{customer.namespace}:clerk")
    assert found is not None
    assert found.name == "billing"
    assert [table.name for table in found.schema.collections] == ["orders"]
    async with user(control_plane.kubeconfig_for("ann")) as ann:
        assert await ann.get("Secret", f"t-{customer.id}-db", customer.namespace) is not None
        with pytest.raises(Refused):
            await ann.get("Secret", f"t-{customer.id}-agents", samples.OPERATOR_NAMESPACE)

    await api.apply(policy(customer, "third", agent="third", subjects=[bot]))
    assert f"{customer.namespace}/bot is agent support" in await stalled(customers, customer, "SubjectTaken", "third")
    await api.apply(policy(customer, subjects=[bot], suspend=True))
    await ready(customers, customer, open_=False)
    assert set(mounted(tmp_path / "one", await given(api, customer), customer).agents) == {"billing"}
    for name in ("third", "billing"):
        await api.delete("AgentPolicy", name, customer.namespace)
    await until(lambda: gone(api, customer, "billing"), seconds=60)
    assert await given(api, customer) == {}


def mounted(folder: Path, data: dict[str, str], customer: Customer) -> Mounted:
    """The files as a gateway has them, read by its own code."""
    folder.mkdir()
    for name, text in data.items():
        (folder / name).write_text(text)
    return read(folder, customer.id)


async def test_what_an_agent_holds_is_no_stray_and_what_others_hold_still_is(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.ready(customer.name)
    assert "pba_" in await held(api, customer), "the agent keeps its grants through a look at its tenant"

    await owner(api, customer, "GRANT SELECT ON orders TO pg_monitor")
    assert "pg_monitor" in await held(api, customer)

    async def taken_back() -> bool:
        operator.look_at("Tenant", customer.name, deep=True)
        return "pg_monitor" not in await held(api, customer)

    await until(taken_back, seconds=60)
    assert "pba_" in await held(api, customer)

    await api.delete("AgentPolicy", "support", customer.namespace)
    await until(lambda: gone(api, customer), seconds=60)
    assert "pba_" not in await held(api, customer)


async def held(api: Api, customer: Customer) -> str:
    """Everything that is granted on the table and its columns, as its owner sees it."""
    data = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    query = """
SELECT coalesce(string_agg(acl::text, ' '), '') FROM (
  SELECT relacl AS acl FROM pg_class WHERE relname = 'orders'
  UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = 'orders'::regclass) a
"""
    async with await psycopg.AsyncConnection.connect(data["mig-uri"], connect_timeout=30) as session:
        row = await (await session.execute(query)).fetchone()
    assert row is not None
    return str(row[0])


async def gone(api: Api, customer: Customer, name: str = "support") -> bool:
    return await api.get("AgentPolicy", name, customer.namespace) is None


async def test_a_suspended_tenant_has_no_agents_and_a_resumed_one_has_the_same(api: Api, customers: Customers) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    data = await login_of(api, customer)
    async with await psycopg.AsyncConnection.connect(data["uri"], autocommit=True, connect_timeout=30) as inside:
        await api.edit("Tenant", customer.name, hold("Access"))
        await customers.until(customer.name, lambda one: holds(one, "Suspended"), seconds=60)
        assert not await let_in(data), "by the time that the Tenant says so, its agents are out"
        with pytest.raises(psycopg.OperationalError):
            await inside.execute("SELECT 1")
    assert await given(api, customer) == {}, "a gateway that still runs has nobody left to serve"
    status = (await ready(customers, customer, open_=False))["status"]
    assert condition({"status": status}, "Ready")["reason"] == "ShutOut"
    await api.apply(policy(customer, suspend=False, expiresTime="2099-01-01T00:00:00Z"))
    await ready(customers, customer, open_=False)
    assert not await let_in(data), "a policy that is edited meanwhile lets nobody in"

    await api.edit("Tenant", customer.name, {"spec": {"holds": None}})
    await ready(customers, customer)
    again = await login_of(api, customer)
    assert await let_in(again)
    assert again["username"] == data["username"]
    assert not await let_in(data), "what was written down before is of no use any more"


def hold(blocks: str) -> Object:
    return {"spec": {"holds": [{"name": "test", "reason": "a test", "blocks": blocks}]}}


async def test_a_column_that_changed_closes_the_login_until_somebody_has_looked(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    data = await login_of(api, customer)

    await owner(api, customer, "CREATE TABLE other (id integer)")
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
    await customers.quiet()
    assert await let_in(data), "what no policy names is no business of an agent's"

    await owner(api, customer, "ALTER TABLE orders ADD COLUMN secret text")
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
    said = await stalled(customers, customer, "AgentDrifted")
    assert "column orders.secret is new" in said
    assert not await let_in(data)

    renewed = said.rsplit("paybill.dev/renew=", 1)[1]
    note = {"metadata": {"annotations": {"paybill.dev/renew": "sha256:another"}}}
    await api.edit("AgentPolicy", "support", note, customer.namespace)
    await customers.quiet()
    assert not await let_in(data)
    note = {"metadata": {"annotations": {"paybill.dev/renew": renewed}}}
    await api.edit("AgentPolicy", "support", note, customer.namespace)
    await ready(customers, customer)
    data = await login_of(api, customer)
    assert await let_in(data)

    await owner(api, customer, "ALTER TABLE orders RENAME COLUMN amount TO total")
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
    assert "orders has no column amount" in await stalled(customers, customer, "PolicyDoesNotFit")
    assert not await let_in(data)


async def stalled(customers: Customers, customer: Customer, reason: str, name: str = "support") -> str:
    return await customers.stalled(name, reason, kind="AgentPolicy", namespace=customer.namespace, seconds=90)


@pytest.mark.exhaustive
async def test_another_agents_plan_of_a_newer_version_shuts_out_nobody_and_somebody_elses_function_does(
    api: Api, customers: Customers, operator: Operator, control_plane: LocalThread
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    data = await login_of(api, customer)
    changed = "CREATE OR REPLACE FUNCTION pb.number(p_text text) RETURNS numeric LANGUAGE sql AS 'SELECT 1.0'"

    async def spoiled(*statements: str) -> None:
        dsn = make_conninfo(control_plane.postgres_dsn, dbname=conninfo_to_dict(data["uri"])["dbname"])
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
            for one in statements:
                await session.execute(one.encode())
        operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)

    await spoiled(changed, "UPDATE pb.agent SET books = 'of an older version', plan_hash = 'of an older version'")
    await until(lambda: made_anew(control_plane, data["uri"]), seconds=90)
    assert await let_in(data)
    await spoiled(changed)
    assert "functions" in await stalled(customers, customer, "AgentDrifted")
    assert not await let_in(data)


async def made_anew(control_plane: LocalThread, uri: str) -> bool:
    dsn = make_conninfo(control_plane.postgres_dsn, dbname=conninfo_to_dict(uri)["dbname"])
    async with await psycopg.AsyncConnection.connect(dsn) as session:
        row = await (await session.execute("SELECT books FROM pb.agent")).fetchone()
    return row is not None and str(row[0]).startswith("sha256:")


@pytest.mark.exhaustive
async def test_a_secret_that_is_lost_is_made_anew_with_another_password(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    before = await login_of(api, customer)
    await api.delete("Secret", f"t-{customer.id}-agents", samples.OPERATOR_NAMESPACE)
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
    await until(lambda: login_of(api, customer), seconds=60)
    await customers.quiet()
    after = await login_of(api, customer)
    assert after["password"] != before["password"]
    assert await let_in(after)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(before["uri"], connect_timeout=30)


@pytest.mark.exhaustive
async def test_no_agent_where_tenants_share_a_database(api: Api, customers: Customers) -> None:
    customer = await customers.onboard(database="Schema")
    await api.apply(policy(customer))
    assert "isolation.database Database or Server" in await stalled(customers, customer, "IsolationTooLow")
    assert await login_of(api, customer) == {}


@pytest.mark.exhaustive
async def test_a_policy_in_another_namespace_or_of_the_same_agent_is_not_carried_out(
    api: Api, customers: Customers
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer, namespace="default"))
    said = await customers.stalled("support", "WrongNamespace", kind="AgentPolicy", namespace="default", seconds=90)
    assert customer.namespace in said
    await api.apply(policy(customer))
    await ready(customers, customer)
    await api.apply(policy(customer, name="second"))
    assert f"{customer.namespace}/support" in await stalled(customers, customer, "AgentTaken", "second")

    await api.delete("AgentPolicy", "second", customer.namespace)
    await until(lambda: gone(api, customer, "second"), seconds=60)
    assert await let_in(await login_of(api, customer)), "the agent is the older object's"


@pytest.mark.exhaustive
async def test_agents_go_with_their_tenant(api: Api, customers: Customers, control_plane: LocalThread) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    assert await roles(control_plane, customer) == [
        f"pba_{customer.id}_{one}" for one in ("a_support", "g_support", "keeper")
    ]
    await api.delete("Tenant", customer.name)

    async def dropped() -> bool:
        return await roles(control_plane, customer) == [] and await gone(api, customer)

    await until(dropped, seconds=90)


async def roles(control_plane: LocalThread, customer: Customer) -> list[str]:
    async with await psycopg.AsyncConnection.connect(control_plane.postgres_dsn) as session:
        query = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
        rows = await (await session.execute(query, [f"pba\\_{customer.id}\\_%"])).fetchall()
    return [name for (name,) in rows]


@pytest.mark.exhaustive
async def test_owners_read_what_agents_may_do_and_write_nothing_of_it(
    api: Api, customers: Customers, control_plane: LocalThread
) -> None:
    customer = await customers.onboard(database="Database", spec={"owners": [{"kind": "User", "name": "ann"}]})
    await owner(api, customer, ORDERS)
    await api.apply(policy(customer))
    await ready(customers, customer)
    async with user(control_plane.kubeconfig_for("ann")) as ann:
        assert (await ann.get("AgentPolicy", "support", customer.namespace) or {})["status"]["open"] is True
        for change in (lambda: ann.edit("AgentPolicy", "support", {"spec": {"suspend": True}}, customer.namespace),
                       lambda: ann.create(policy(customer, name="mine", agent="mine")),
                       lambda: ann.delete("AgentPolicy", "support", customer.namespace)):  # fmt: skip
            with pytest.raises(Refused) as refused:
                await change()
            assert refused.value.status == 403
    await api.edit("AgentPolicy", "support", {"spec": {"suspend": True}}, customer.namespace)
    await ready(customers, customer, open_=False)
    assert await login_of(api, customer) == {}


@pytest.mark.exhaustive
async def test_a_tenant_with_agents_is_backed_up_and_restored_whole(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    customer = await shop_of(api, customers)
    writes = {"create": {"fields": ["id", "region", "amount"]}}
    await api.apply(policy(customer, collections=[{**POLICY["collections"][0], **writes}]))
    await ready(customers, customer)
    await api.apply(samples.ours("TenantBackup", name, {"tenantRef": {"name": customer.name}}))
    await customers.until(name, lambda one: holds(one, "Ready"), kind="TenantBackup", seconds=90)

    await owner(api, customer, "DELETE FROM orders WHERE id > 3")
    spec = {"backupRef": {"name": name}, "confirm": customer.name}
    await api.apply(samples.ours("TenantRestore", name, spec))
    restored = await customers.until(name, lambda one: holds(one, "Ready"), kind="TenantRestore", seconds=120)
    assert restored["status"]["rows"] == 10

    data = await login_of(api, customer)
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
    said = await stalled(customers, customer, "AgentDrifted")
    assert not await let_in(data), "nobody has said that the agent may work on what was put there"
    renewed = said.rsplit("paybill.dev/renew=", 1)[1]
    note = {"metadata": {"annotations": {"paybill.dev/renew": renewed}}}
    await api.edit("AgentPolicy", "support", note, customer.namespace)
    await ready(customers, customer)
    data = await login_of(api, customer)
    assert await let_in(data)


WORKFLOW: Object = {
    "input": {"order": "Integer"},
    "initial": "load",
    "steps": [{"name": "load", "uses": "orders.get", "with": {"id": "$input.order"}, "trusted": ["id"], "maxCalls": 2}],
    "limits": {"maxSteps": 2, "rowsRead": 5, "rowsWritten": 0},
}


def within(customer: Customer, kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": customer.namespace}
    return {"apiVersion": AGENTS, "kind": kind, "metadata": metadata, "spec": spec}


def run(customer: Customer, name: str = "one", **spec: object) -> Object:
    asked = {"policyRef": {"name": "support"}, "workflowRef": {"name": "look"}, "requestedBy": ADMIN.user}
    return within(customer, "AgentRun", name, {**asked, "input": {"order": "2"}, **spec})


async def phase(customers: Customers, customer: Customer, wanted: str, name: str = "one") -> Object:
    def there(one: Object) -> bool:
        return bool(one.get("status", {}).get("phase") == wanted)

    return await customers.until(name, there, kind="AgentRun", namespace=customer.namespace, seconds=90)


async def get(data: dict[str, str], run_id: str, order: int = 2) -> object:
    """What the gateway does for its agent: one call in a run and a step."""
    async with await psycopg.AsyncConnection.connect(data["uri"], autocommit=True, connect_timeout=30) as session:
        chosen = "SELECT set_config('pb.run', %s, false), set_config('pb.step', 'load', false)"
        await session.execute(chosen, [run_id])
        row = await (await session.execute("SELECT pba_support.orders_get(%s)", [f'{{"id": {order}}}'])).fetchone()
    assert row is not None
    return row[0]


async def test_a_run_is_opened_with_its_budgets_used_and_cancelled(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer), within(customer, "AgentWorkflow", "look", WORKFLOW), run(customer))
    opened = (await phase(customers, customer, "Running"))["status"]
    assert opened["calls"] == {"used": 0, "limit": 4}
    data, run_id = await login_of(api, customer), opened["run"]

    assert await get(data, run_id) == {"id": 2, "amount": "2.00"}
    operator.look_at("AgentRun", f"{customer.namespace}/one", deep=True)
    used = await customers.until(
        "one", lambda one: one["status"]["calls"]["used"] == 1, kind="AgentRun", namespace=customer.namespace
    )
    assert used["status"]["rowsRead"] == {"used": 1, "limit": 5}
    with pytest.raises(psycopg.Error, match="not what comes next"):
        await get(data, run_id, 4)

    await api.apply(run(customer, "two"))
    second = (await phase(customers, customer, "Running", "two"))["status"]["run"]
    await get(data, second)
    await api.edit("AgentRun", "two", {"spec": {"cancel": True}}, customer.namespace)
    ended = await phase(customers, customer, "Ended", "two")
    assert ended["status"]["ending"] == "Cancelled"
    assert ended["status"]["journalHead"].startswith(f"{second}:3:")
    with pytest.raises(psycopg.Error, match="there is no open run"):
        await get(data, second)


@pytest.mark.exhaustive
async def test_a_run_ends_with_the_policy_that_it_was_opened_under(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    load = WORKFLOW["steps"][0]
    twice = {**WORKFLOW, "steps": [{**load, "next": [{"to": "more"}]}, {**load, "name": "more"}]}
    await api.apply(policy(customer), within(customer, "AgentWorkflow", "look", twice), run(customer))
    run_id = (await phase(customers, customer, "Running"))["status"]["run"]
    data = await login_of(api, customer)
    assert await get(data, run_id)
    await api.apply(policy(customer, limits={"rowsReadPerDay": 4000}))
    await ready(customers, customer)
    with pytest.raises(psycopg.Error, match="there is no open run"):
        await get(data, run_id)
    operator.look_at("AgentRun", f"{customer.namespace}/one", deep=True)
    assert (await phase(customers, customer, "Ended"))["status"]["ending"] == "PolicyChanged"


@pytest.mark.exhaustive
async def test_no_run_of_what_is_not_granted_or_not_asked_for(api: Api, customers: Customers) -> None:
    customer = await shop_of(api, customers)
    workflows = {
        "writes": {**WORKFLOW, "steps": [{"name": "load", "uses": "orders.delete", "with": {"id": "$input.order"}}]},
        "look": WORKFLOW,
    }
    await api.apply(policy(customer), *(within(customer, "AgentWorkflow", *one) for one in workflows.items()))
    await ready(customers, customer)
    refused = {
        "writes": ("WorkflowUnsound", {"workflowRef": {"name": "writes"}}),
        "none": ("InputDoesNotFit", {"input": {}}),
        "words": ("InputDoesNotFit", {"input": {"order": "2 OR 1=1"}}),
    }
    for name, (reason, spec) in refused.items():
        await api.apply(run(customer, name, **spec))
        await customers.stalled(name, reason, kind="AgentRun", namespace=customer.namespace, seconds=90)


@pytest.fixture
def faults(operator: Operator) -> Iterator[Faults]:
    """The operator with doors that can be shut in its face."""
    made = Faults(operator.end_soon)
    operator.stop()
    operator.doors = made.doors
    operator.start()
    yield made
    made.arm()


@pytest.mark.exhaustive
@pytest.mark.parametrize("count", [6, 1000])
async def test_attack_34_the_operator_may_end_at_any_effect_and_each_run_is_opened_once(
    count: int, api: Api, customers: Customers, operator: Operator, faults: Faults
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(within(customer, "AgentWorkflow", "look", WORKFLOW))
    await customers.quiet()
    faults.arm()
    await asked_for(api, customer, "first")
    await opened_once(api, customers, customer, "first")
    await customers.quiet()
    found = [Fault(*point, when) for point in points(list(faults.kinds)) for when in ("before", "after")]
    assert len(found) > 20, "a login, a Secret, a plan, a run: each has its effects"
    for number, fault in enumerate(spread(found, min(count, len(found)))):
        faults.arm(fault)
        await asked_for(api, customer, f"a{number}")
        await until(lambda: faults.happened, seconds=90, otherwise=lambda fault=fault: fault)
        operator.crash()
        operator.start()
        await opened_once(api, customers, customer, f"a{number}")
    operator.look_at("AgentPolicy", f"{customer.namespace}/first", deep=True)
    await customers.quiet()
    await ready(customers, customer, "first")
    assert await let_in(await login_of(api, customer, "first")), "no new operator takes away what the last one gave"


async def asked_for(api: Api, customer: Customer, name: str) -> None:
    await api.apply(policy(customer, name, agent=name), run(customer, name, policyRef={"name": name}))


async def opened_once(api: Api, customers: Customers, customer: Customer, name: str) -> None:
    """It is open, its agent gets in with what the Secret says, and its journal begins once."""
    status = (await phase(customers, customer, "Running", name))["status"]
    assert status["journalHead"].startswith(f"{status['run']}:1:")
    data = await login_of(api, customer, name)
    async with await psycopg.AsyncConnection.connect(data["uri"], autocommit=True, connect_timeout=30) as session:
        chosen = "SELECT set_config('pb.run', %s, false), set_config('pb.step', 'load', false)"
        await session.execute(chosen, [status["run"]])
        query = SQL("SELECT {}.orders_get(%s)").format(Identifier(f"pba_{name}"))
        assert await (await session.execute(query, ['{"id": 2}'])).fetchone() is not None


async def test_a_password_is_made_anew_when_that_is_asked_for_and_only_then(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    await api.apply(policy(customer))
    await ready(customers, customer)
    before = await login_of(api, customer)

    async def rotated(word: str) -> dict[str, str]:
        note = {"metadata": {"annotations": {"paybill.dev/rotate": word}}}
        await api.edit("AgentPolicy", "support", note, customer.namespace)
        await customers.until(
            "support", lambda one: one["status"].get("rotated") == word, kind="AgentPolicy",
            namespace=customer.namespace, seconds=90,
        )  # fmt: skip
        return await login_of(api, customer)

    async with await psycopg.AsyncConnection.connect(before["uri"], autocommit=True, connect_timeout=30) as inside:
        after = await rotated("july")
        assert after["username"] == before["username"]
        assert after["password"] != before["password"]
        await inside.execute("SELECT 1")
    assert await let_in(after)
    assert not await let_in(before)
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
    await customers.quiet()
    assert await login_of(api, customer) == after, "once asked for, once done"
    last = await rotated("august")
    assert last["password"] != after["password"]

    # After a theft: the thief's session goes on through a rotation, and ends when the policy is suspended.
    async with await psycopg.AsyncConnection.connect(last["uri"], autocommit=True, connect_timeout=30) as inside:
        await api.apply(policy(customer, suspend=True))
        await ready(customers, customer, open_=False)
        with pytest.raises(psycopg.OperationalError):
            await inside.execute("SELECT 1")
    assert not await let_in(last)
    ends = {"expiresTime": "2020-01-01T00:00:00Z"}
    await api.apply(policy(customer, **ends))
    await ready(customers, customer, open_=False)
    await api.apply(policy(customer))
    await ready(customers, customer)
    assert (await login_of(api, customer))["password"] != last["password"]
