"""Attacks on agents by way of Kubernetes, at the running operator: what is exchanged, widened, forged, changed behind
its back, or asked for without an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from tests.cluster.api import Api, Object, Refused, condition, path, user
from tests.cluster.customers import Customer, Customers
from tests.cluster.refusals import MERGE, without
from tests.cluster.running import Operator
from tests.cluster.test_advisories import powers
from tests.cluster.test_agent_policies import (
    POLICY,
    WORKFLOW,
    get,
    let_in,
    login_of,
    owner,
    phase,
    policy,
    ready,
    run,
    shop_of,
    stalled,
    within,
)
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS = {"lease_seconds": 15.0}
ORDERS = POLICY["collections"][0]
WIDER = {"name": "orders", "read": {**ORDERS["read"], "fields": ["id", "amount", "card"]}}


async def refused(data: dict[str, str], run_id: str, order: int = 2) -> str:
    """The words in which a call was refused; "" when it was made."""
    try:
        await get(data, run_id, order)
    except psycopg.Error as error:
        return error.diag.message_primary or ""
    return ""


async def test_attack_31_and_32_a_run_stays_on_the_policy_and_workflow_that_it_was_opened_with(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    look = within(customer, "AgentWorkflow", "look", WORKFLOW)
    await api.apply(policy(customer), look, run(customer, "one"), run(customer, "two"))
    one, two = [(await phase(customers, customer, "Running", name))["status"] for name in ("one", "two")]
    data = await login_of(api, customer)

    # The workflow: it cannot be changed, and another one under its name is none of the open runs' business.
    wider = {**WORKFLOW, "limits": {**WORKFLOW["limits"], "rowsRead": 500, "maxSteps": 500}}
    with pytest.raises(Refused, match="spec cannot be changed: make a new AgentWorkflow"):
        await api.edit("AgentWorkflow", "look", {"spec": wider}, customer.namespace)
    await api.delete("AgentWorkflow", "look", customer.namespace)
    await until(lambda: missing(api, customer))
    await api.apply(within(customer, "AgentWorkflow", "look", wider), run(customer, "three"))
    three = (await phase(customers, customer, "Running", "three"))["status"]
    operator.look_at("AgentRun", f"{customer.namespace}/one", deep=True)
    await customers.quiet()
    still = (await phase(customers, customer, "Running", "one"))["status"]
    assert (still["workflowHash"], still["rowsRead"]["limit"]) == (one["workflowHash"], 5)
    assert (three["workflowHash"] != one["workflowHash"], three["rowsRead"]["limit"]) == (True, 500)
    assert await get(data, one["run"]) == {"id": 2, "amount": "2.00"}

    # The policy: who was let in under another one is refused from that moment, and a new run sees what is granted now.
    await api.apply(policy(customer, collections=[WIDER]))
    await ready(customers, customer)
    assert await refused(data, two["run"]) == "there is no open run"
    operator.look_at("AgentRun", f"{customer.namespace}/two", deep=True)
    assert (await phase(customers, customer, "Ended", "two"))["status"]["ending"] == "PolicyChanged"
    await api.apply(run(customer, "four", input={"order": "3"}))
    four = (await phase(customers, customer, "Running", "four"))["status"]
    assert await get(data, four["run"], 3) == {"id": 3, "amount": "3.00", "card": "4111"}


async def missing(api: Api, customer: Customer) -> bool:
    return await api.get("AgentWorkflow", "look", customer.namespace) is None


async def test_attack_32_no_owner_forges_what_the_operator_says_of_an_agent(
    api: Api, customers: Customers, operator: Operator, control_plane: LocalThread
) -> None:
    customer = await customers.onboard(database="Database", spec={"owners": [{"kind": "User", "name": "ann"}]})
    await owner(api, customer, "CREATE TABLE orders (id integer PRIMARY KEY, region text, amount numeric, card text)")
    await api.apply(policy(customer), within(customer, "AgentWorkflow", "look", WORKFLOW))
    await ready(customers, customer)
    forged = {"status": {"open": True, "login": "forged"}}
    mine = run(customer, "mine", requestedBy="ann")
    async with user(control_plane.kubeconfig_for("ann")) as ann:

        async def answer() -> tuple[int, Object]:
            where = path("AgentPolicy", customer.namespace, "support") + "/status"
            return await ann.call("PATCH", where, forged, MERGE)

        async def forge() -> int:
            return (await answer())[0]

        assert await forge() == 403
        with pytest.raises(Refused, match="is forbidden"):
            await ann.create(mine)
        # Nor whoever may everything by RBAC: the admission policy refuses. Where that is gone, it is written over.
        async with powers(api, {"kind": "User", "name": "ann"}):
            await until(lambda: refused_by(answer, "ValidatingAdmissionPolicy 'paybill-statuses'"))
            async with without(api, "paybill-statuses", forge):
                assert await forge() == 200
    operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)

    def true_again(one: Object) -> bool:
        return bool(one["status"]["login"] == f"pba_{customer.id}_a_support")

    await customers.until("support", true_again, kind="AgentPolicy", namespace=customer.namespace)


async def refused_by(answer: Callable[[], Awaitable[tuple[int, Object]]], who: str) -> bool:
    status, said = await answer()
    return status == 403 and who in said["message"]


CHANGES = (
    ("CREATE POLICY slip ON orders USING (true)", "DROP POLICY slip ON orders", "row policies"),
    ("ALTER TABLE orders DISABLE TRIGGER pba_write_insert", "ALTER TABLE orders ENABLE ALWAYS TRIGGER pba_write_insert",
     "triggers"),
    ('GRANT SELECT (card) ON orders TO "{gate}"', 'REVOKE SELECT (card) ON orders FROM "{gate}"', "grants"),
    ("ALTER TABLE orders ADD COLUMN pin text", "ALTER TABLE orders DROP COLUMN pin", "column orders.pin is new"),
)  # fmt: skip


@pytest.mark.exhaustive
async def test_attack_33_one_look_closes_the_login_whatever_the_owner_changed(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    writes = {"create": {"fields": ["id", "region", "amount"]}}
    await api.apply(policy(customer, collections=[{**ORDERS, **writes}]))
    await ready(customers, customer)
    gate = f"pba_{customer.id}_g_support"
    for change, back, says in CHANGES:
        data = await login_of(api, customer)  # its password lasts as long as it is let in
        await owner(api, customer, "CREATE TABLE notes (id integer); DROP TABLE notes")
        async with await psycopg.AsyncConnection.connect(data["uri"], autocommit=True, connect_timeout=30) as session:
            await owner(api, customer, change.format(gate=gate))
            operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
            assert says in await stalled(customers, customer, "AgentDrifted")
            assert not await let_in(data)
            with pytest.raises(psycopg.OperationalError):
                await session.execute("SELECT 1")
        await owner(api, customer, back.format(gate=gate))
        operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
        await ready(customers, customer)
        await customers.quiet()
        assert await let_in(await login_of(api, customer)), f"what was put right lets the agent in again: {back}"


async def test_attack_22_runs_beyond_the_bound_wait_for_the_end_of_another(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await shop_of(api, customers)
    look = within(customer, "AgentWorkflow", "look", WORKFLOW)
    await api.apply(policy(customer, limits={"openRuns": 1}), look, run(customer, "one"))
    first = (await phase(customers, customer, "Running", "one"))["status"]
    await api.apply(run(customer, "two"), run(customer, "three"))
    data = await login_of(api, customer)
    for name in ("two", "three"):
        waiting = await customers.until(
            name, lambda one: bool(one.get("status", {}).get("phase")), kind="AgentRun", namespace=customer.namespace
        )
        assert waiting["status"]["phase"] == "Pending"
        assert condition(waiting, "Ready")["reason"] == "TooManyRuns"
        assert await refused(data, str(waiting["metadata"]["uid"])) == "there is no open run"
    assert await refused(data, first["run"]) == ""

    await api.edit("AgentRun", "one", {"spec": {"cancel": True}}, customer.namespace)
    await phase(customers, customer, "Ended", "one")
    for name in ("two", "three"):
        operator.look_at("AgentRun", f"{customer.namespace}/{name}", deep=True)
    await until(lambda: one_runs(api, customer))


@pytest.mark.exhaustive
async def test_attack_22_objects_beyond_the_quota_are_refused(api: Api, customers: Customers) -> None:
    """Exhaustive for its wait: the controller-manager finds out only now and then which kinds there are to count."""
    customer = await customers.onboard()
    few = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "runs", "namespace": customer.namespace},
           "spec": {"hard": {"count/agentruns.agents.paybill.dev": "2"}}}  # fmt: skip
    await api.apply(few)

    async def counted() -> bool:
        quota = await api.get("ResourceQuota", "runs", customer.namespace) or {}
        return "count/agentruns.agents.paybill.dev" in quota.get("status", {}).get("used", {})

    await until(counted, seconds=300)
    for name in ("one", "two"):
        await api.create(run(customer, name))
    with pytest.raises(Refused, match="exceeded quota: runs"):
        await api.create(run(customer, "three"))
    await api.delete("ResourceQuota", "runs", customer.namespace)
    await until(lambda: created(api, run(customer, "three")))


async def created(api: Api, one: Object) -> bool:
    try:
        await api.create(one)
    except Refused:
        return False
    return True


async def one_runs(api: Api, customer: Customer) -> bool:
    found = [await api.get("AgentRun", name, customer.namespace) or {} for name in ("two", "three")]
    return sorted(one["status"]["phase"] for one in found) == ["Pending", "Running"]
