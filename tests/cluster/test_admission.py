"""What the API server itself refuses, and that it is our policies that do: without the policy the same request passes.

Those who ask have every right that RBAC can give (cluster-admin, and here the operator's account is made one too), so
nothing but a policy can refuse them. Requests are dry runs: they go through all of admission and change nothing.
"""

from __future__ import annotations

import pytest

from paybill.desired import admission
from tests.cluster.admission_cases import PASSED, REFUSED
from tests.cluster.admission_scene import Stage
from tests.cluster.api import Api, Object
from tests.cluster.refusals import Request, filled, weakened, without
from tests.cluster.waiting import until

CASES = [(policy, request) for policy, requests in REFUSED.items() for request in requests]


def test_every_policy_has_requests_that_it_refuses() -> None:
    assert set(REFUSED) == {policy.name for policy in admission.POLICIES}


@pytest.mark.parametrize(("policy", "asked"), CASES, ids=[f"{policy}: {asked.id}" for policy, asked in CASES])
async def test_it_is_refused(policy: str, asked: Request, stage: Stage) -> None:
    ((status, answer),) = await stage.ask(asked)
    assert status == 403, answer
    assert f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request" in answer["message"]
    assert filled(asked.says, stage.words) in answer["message"]
    # Nobody else refuses it: what another policy says too would hide that this one is gone.
    assert answer["message"].count("ValidatingAdmissionPolicy") == 1


@pytest.mark.parametrize("policy", REFUSED)
async def test_without_the_policy_the_same_requests_pass(policy: str, stage: Stage, api: Api) -> None:
    asked = REFUSED[policy]

    async def probe() -> int:
        return (await stage.ask(asked[0]))[0][0]

    async with without(api, policy, probe):
        answers = await stage.ask(*asked)
    refused = {one.id: answer for one, (status, answer) in zip(asked, answers, strict=True) if status >= 300}
    assert refused == {}


CHECKS = [(policy.name, number) for policy in admission.POLICIES for number in range(len(policy.checks))]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("policy", "number"), CHECKS)
async def test_each_check_refuses_something_that_no_other_does(
    policy: str, number: int, stage: Stage, api: Api
) -> None:
    async def passes() -> bool:
        return any(status < 300 for status, _ in await stage.ask(*REFUSED[policy]))

    async with weakened(api, policy, number, passes):
        await until(passes, otherwise="every request is still refused: the check adds nothing")


@pytest.mark.parametrize("asked", PASSED, ids=[one.id for one in PASSED])
async def test_what_nobody_has_to_fear_is_not_refused(asked: Request, stage: Stage) -> None:
    ((status, answer),) = await stage.ask(asked)
    assert status < 300, answer.get("message")


async def test_the_api_server_finds_no_mistake_in_a_policy(api: Api) -> None:
    """It checks every expression against the schemas of what the policy matches, when the policy is made."""

    async def checked() -> dict[str, Object]:
        _, answer = await api.call("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
        found = {one["metadata"]["name"]: one.get("status", {}) for one in answer["items"]}
        return found if all(status.get("observedGeneration") for status in found.values()) else {}

    found = await until(checked)
    assert {name: status["typeChecking"] for name, status in found.items()} == {
        policy.name: {} for policy in admission.POLICIES
    }
