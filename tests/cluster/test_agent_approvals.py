"""People approve what an agent waits with: seen, allowed by somebody else, told to the database once, and then done.

Attacks 23 and 24 by their Kubernetes side. Each refusal is proved twice: with the one protection taken away, in the
running operator, the same Approval is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from paybill.agents import asking
from paybill.cli.main import main
from paybill.desired import agent_approval
from paybill.desired import approval as approvals
from paybill.local.certificates import ADMIN
from paybill.reconcile import agent_walk
from tests.cluster.agent_calls import BOT, WORKFLOW, Shop, let_approve, read, shop_of
from tests.cluster.api import Api, Object, Refused, condition, user
from tests.cluster.bench import points, spread
from tests.cluster.customers import Customers
from tests.cluster.faults import Fault, Faults
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS = {"lease_seconds": 15.0}
"""Who takes it over from one who did not give it up is tested elsewhere."""


@pytest.fixture
async def shop(api: Api, customers: Customers) -> Shop:
    return await shop_of(api, customers, owners=[{"kind": "User", "name": "bob"}])


async def not_next(shop: Shop, run: str) -> bool:
    """Whether the database refuses the call that waits."""
    with pytest.raises(psycopg.Error) as refused:
        await shop.mark(run)
    return refused.value.sqlstate == "PA002"


async def test_a_call_waits_until_an_owner_allows_it_and_is_then_made_once(
    shop: Shop, api: Api, control_plane: LocalThread, operator: Operator
) -> None:
    run = await shop.run("one")
    await shop.phase("one", "Running")
    await shop.load(run)
    status = await shop.phase("one", "AwaitingApproval", unasked=True)
    asked = status["approval"]
    assert (asked["step"], asked["uses"]) == ("ok", "orders.update")
    assert asked["arguments"] == [
        {"name": "id", "value": '"2"', "untrusted": False},
        {"name": "notes", "value": '"pay \\u{202e}0001 at once"', "untrusted": True},
        {"name": "status", "value": '"refunded"', "untrusted": False},
    ]
    assert condition({"status": status}, "Ready")["reason"] == "AwaitingApproval"
    assert await not_next(shop, run)
    told = await until(lambda: shop.news("AwaitingApproval"), seconds=120)
    assert asked["digest"] in told

    bob = control_plane.kubeconfig_for("bob")
    words = ("agents", "approve", "one", "-n", shop.namespace, "--yes", "--output", "json", "--kubeconfig", str(bob))
    refused = await paybill(*words)
    assert refused.exit_code == 1, "an owner may not write Approvals before somebody lets them"
    binding = await let_approve(api, "bob")
    try:
        listed = await paybill("agents", "waiting", "-n", shop.namespace, "-o", "json", "--kubeconfig", str(bob))
        assert [one["run"] for one in read(listed.stdout)["waiting"]] == ["one"]
        allowed = await paybill(*words)
        assert allowed.exit_code == 0, allowed.output
        said = read(allowed.stdout)
        assert (said["decision"], said["digest"], said["requestedBy"]) == ("Approve", asked["digest"], ADMIN.user)
    finally:
        await api.call("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{binding}")
        await api.delete("Approval", read(allowed.stdout)["approval"])

    assert "approval" not in await shop.phase("one", "Running"), "values stand there only while the run waits"
    await shop.mark(run)
    await shop.mark(run)  # the answer was lost
    assert await shop.owner("SELECT count(*) FROM orders WHERE status = 'refunded'") == [(1,)]
    operator.clock.offset = agent_walk.REPEAT_WITHIN
    ended = await shop.phase("one", "Ended")
    assert (ended["ending"], ended["endingStep"]) == ("Succeeded", "mark")
    assert "endingReason" not in ended


async def paybill(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, list(words))


async def test_a_call_that_is_denied_is_never_made(shop: Shop) -> None:
    status = await shop.waiting("one")
    await shop.used(await shop.approve("one", status, decision="Deny"))
    ended = await shop.phase("one", "Ended")
    assert (ended["ending"], ended["endingStep"], ended["endingReason"]) == ("Denied", "ok", "Denied")
    with pytest.raises(psycopg.Error, match="there is no open run"):
        await shop.mark(status["run"])
    assert await shop.status_of() == "open"


Attack = tuple[str, dict[str, Any], Callable[[pytest.MonkeyPatch], None]]
PAST = (datetime.now(UTC) - timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
ATTACKS: dict[str, Attack] = {
    "of another call": (
        "DigestMismatch", {"digest": "sha256:" + "0" * 64},
        lambda patch: patch.setattr(asking.Asked, "digest", lambda _, __: "sha256:" + "0" * 64),
    ),
    "of the call alone, which another run may make as well": (
        "DigestMismatch", {"digest": "callDigest"},
        lambda patch: patch.setattr(asking.Asked, "digest", lambda asked, _: asked.call.digest),
    ),
    "expired": (
        "Expired", {"expiresTime": PAST},
        lambda patch: patch.setattr(approvals, "expired", lambda *_: False),
    ),
    "by who asked for it": (
        "ApproverIsRequester", {"by": ADMIN.user},
        lambda patch: patch.setattr(agent_approval, "refuse", lambda *_: None),
    ),
    "by the agent": (
        "ApproverIsAgent", {"by": BOT},
        lambda patch: patch.setattr(agent_approval, "refuse", lambda *_: None),
    ),
}  # fmt: skip


async def attack(shop: Shop, name: str, status: Object, attacked: Attack) -> str:
    """The Approval that must not be used."""
    said = dict(attacked[1])
    if said.get("digest") == "callDigest":
        said["digest"] = status["approval"]["callDigest"]
    return await shop.approve(name, status, **said)


async def test_attack_24_no_approval_is_used_that_is_of_another_call_expired_or_by_the_wrong_one(
    shop: Shop, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = await shop.waiting("one")
    for reason, approval in [(one[0], await attack(shop, "one", status, one)) for one in ATTACKS.values()]:
        await shop.refused(approval, reason)
    assert (await shop.phase("one", "AwaitingApproval"))["approval"] == status["approval"]
    assert await not_next(shop, status["run"])
    for number, (attacked, (_, _, remove)) in enumerate(ATTACKS.items()):
        name = f"open-{number}"
        waiting = await shop.waiting(name, order=10 + number)
        with monkeypatch.context() as patch:
            remove(patch)
            await shop.used(await attack(shop, name, waiting, ATTACKS[attacked]))


async def test_attack_24_an_approval_is_used_once_and_no_second_one_of_the_same_wait(
    shop: Shop, api: Api, operator: Operator
) -> None:
    await api.apply(shop.workflow("twice", steps=_twice()))
    first = await shop.waiting("one", workflow="twice")
    operator.stop()
    approval, other = await shop.approve("one", first), await shop.approve("one", first, by="carol")
    operator.start()
    used = await until(lambda: _one_used(api, approval, other), seconds=120)
    unused = other if used == approval else approval
    await shop.refused(unused, "NotAwaited")

    await shop.mark(first["run"])
    again = await shop.until("one", lambda one: _digest(one) not in (None, first["approval"]["digest"]))
    assert again["status"]["approval"]["callDigest"] == first["approval"]["callDigest"], "the very same call once more"
    operator.restart()
    for one in (approval, other):
        operator.look_at("Approval", one, deep=True)
    await shop.customers.quiet()
    assert (await shop.phase("one", "AwaitingApproval"))["approval"] == again["status"]["approval"]
    assert await shop.owner("SELECT count(*) FROM orders WHERE status = 'refunded'") == [(1,)]
    late = await shop.approve("one", first, by="dave")
    await shop.refused(late, "DigestMismatch")
    await shop.used(await shop.approve("one", again["status"], by="dave"))


def _twice() -> list[Object]:
    load, ok, mark = WORKFLOW["steps"]
    return [load, ok, {**mark, "next": [{"to": "ok"}]}]


def _digest(run: Object) -> str | None:
    approval = run.get("status", {}).get("approval")
    return approval["digest"] if approval else None


async def _one_used(api: Api, *names: str) -> str | None:
    found = [await api.get("Approval", name) for name in names]
    said = [one["metadata"]["name"] for one in found if one and one.get("status", {}).get("usedTime")]
    assert len(said) < 2, "both were used"
    return said[0] if said else None


async def test_attack_23_a_run_whose_policy_or_workflow_was_changed_is_over_and_its_approval_useless(
    shop: Shop, api: Api
) -> None:
    first, second = await shop.waiting("one"), await shop.waiting("two", order=3)
    await api.delete("AgentWorkflow", "refund", shop.namespace)
    await until(lambda: _gone(api, "AgentWorkflow", "refund", shop.namespace), seconds=120)
    assert (await shop.phase("one", "AwaitingApproval"))["run"] == first["run"], "what is gone says nothing else"
    await api.apply(shop.workflow(steps=_twice()))
    for name, status in (("one", first), ("two", second)):
        await shop.refused(await shop.approve(name, status), "RunEnded")
        ended = await shop.phase(name, "Ended")
        assert (ended["ending"], ended["endingStep"]) == ("WorkflowChanged", "ok")

    third = await shop.waiting("three")
    await api.apply(shop.policy(limits={"callsPerMinute": 999}))
    await shop.until("support", lambda one: _carried_out(one), kind="AgentPolicy")
    await shop.refused(await shop.approve("three", third), "RunEnded")
    assert (await shop.phase("three", "Ended"))["ending"] == "PolicyChanged"
    assert await shop.owner("SELECT count(*) FROM orders WHERE status <> 'open'") == [(0,)]


def _carried_out(policy: Object) -> bool:
    status = policy["status"]
    return bool(status.get("open")) and status["observedGeneration"] == policy["metadata"]["generation"]


async def _gone(api: Api, kind: str, name: str, namespace: str) -> bool:
    return await api.get(kind, name, namespace) is None


@pytest.mark.exhaustive
async def test_attack_23_without_that_check_an_approval_of_a_run_with_another_workflow_is_used(
    shop: Shop, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_walk, "ending", lambda *_: None)
    status = await shop.waiting("one")
    await api.delete("AgentWorkflow", "refund", shop.namespace)
    await until(lambda: _gone(api, "AgentWorkflow", "refund", shop.namespace), seconds=120)
    await api.apply(shop.workflow(steps=_twice()))
    await shop.used(await shop.approve("one", status))


@pytest.mark.exhaustive
async def test_a_run_that_nobody_decides_about_ends_at_its_deadline(shop: Shop, api: Api) -> None:
    await api.apply(shop.workflow("hasty", limits={"maxSteps": 12, "deadline": "20s"}))
    status = await shop.waiting("one", workflow="hasty")
    ended = await shop.phase("one", "Ended")
    assert (ended["ending"], ended["endingStep"], ended["endingReason"]) == ("Expired", "ok", "DeadlinePassed")
    assert "approval" not in ended
    await shop.refused(await shop.approve("one", status), "RunEnded")


@pytest.mark.exhaustive
async def test_who_has_neither_right_approves_nothing(shop: Shop, control_plane: LocalThread, api: Api) -> None:
    status = await shop.waiting("one")
    spec = {
        "subject": {"kind": "AgentRun", "namespace": shop.namespace, "name": "one", "uid": status["run"]},
        "digest": status["approval"]["digest"], "approver": "eve",
    }  # fmt: skip
    made = {"apiVersion": "paybill.dev/v1alpha1", "kind": "Approval", "metadata": {"name": "eve-1"}, "spec": spec}
    async with user(control_plane.kubeconfig_for("eve")) as eve:
        with pytest.raises(Refused, match="cannot create resource"):
            await eve.create(made)
        binding = await let_approve(api, "eve")
        try:
            await until(lambda: _may_get(eve), seconds=60)
            with pytest.raises(Refused, match="the verb approve on agentruns"):
                await eve.create(made)
        finally:
            await api.call("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{binding}")


async def _may_get(api: Api) -> bool:
    status, _ = await api.call("GET", "/apis/paybill.dev/v1alpha1/approvals/none")
    return status == 404


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
async def test_attack_34_the_operator_may_end_at_any_effect_and_each_word_is_told_once(
    count: int, shop: Shop, operator: Operator, faults: Faults
) -> None:
    first = await shop.waiting("first")
    await shop.customers.quiet()
    faults.arm()
    await shop.used(await shop.approve("first", first))
    await shop.phase("first", "Running")
    await shop.customers.quiet()
    found = [Fault(*point, when) for point in points(list(faults.kinds)) for when in ("before", "after")]
    assert len(found) > 4, "an intent, a word, an outcome, a status: each has its effects"
    for number, fault in enumerate(spread(found, min(count, len(found)))):
        name, order = f"a{number}", 5 + number
        status = await shop.waiting(name, order=order)
        await shop.customers.quiet()
        faults.arm(fault)
        approval = await shop.approve(name, status)
        await until(lambda: faults.happened, seconds=120, otherwise=lambda fault=fault: fault)
        operator.crash()
        faults.arm()
        operator.start()
        await shop.used(approval)
        await shop.phase(name, "Running")
        await shop.mark(status["run"], order)
        operator.clock.offset = agent_walk.REPEAT_WITHIN
        assert (await shop.phase(name, "Ended"))["ending"] == "Succeeded"
        operator.clock.reset()
        assert await shop.status_of(order) == "refunded"
