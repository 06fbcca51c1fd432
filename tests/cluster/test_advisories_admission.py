"""Those of Capsule's advisories that are answered by admission alone; the others are in test_advisories.py.

One test per advisory, named after it. The requests are those of test_admission.py, which also proves that each passes
once its policy is out of force.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from paybill.desired import admission
from tests.cluster.admission_cases import LABELS, REFUSED
from tests.cluster.admission_scene import Stage
from tests.cluster.api import Api
from tests.cluster.refusals import Request, patch


async def test_cve_2025_55205_what_is_nobodys_is_refused_not_let_through(stage: Stage) -> None:
    """Capsule 0.10.3: a namespace without a tenant fell through every branch of the webhook to its end, which allowed.

    Here the end of every expression refuses: what has no labels, no status, no namespace of a known name is the
    operator's to leave alone and nobody's to mark. (Each of these requests passes without its policy: test_admission.)
    """
    bare = [
        *_named("paybill-confinement", "a ConfigMap elsewhere", "a namespace whose name is one longer"),
        *_named("paybill-own-namespaces", "no mark", "a stranger's taken over", "a stranger's deleted", "another name"),
        *_named("paybill-namespace-marks", "a stranger's", "without labels", "by finalize"),
    ]
    answers = await stage.ask(*bare)
    assert [status for status, _ in answers] == [403] * len(bare)
    # An expression that cannot be evaluated refuses too, but then it would say so: these were decided.
    assert [answer["message"] for _, answer in answers if "resulted in error" in answer["message"]] == []


def _named(policy: str, *wanted: str) -> list[Request]:
    found = {request.id: request for request in REFUSED[policy]}
    return [found[one] for one in wanted]


@pytest.mark.parametrize("by", ["by status", "by finalize"])
async def test_cve_2026_30963_marks_cannot_be_changed_through_a_subresource(stage: Stage, by: str) -> None:
    """Capsule < 0.13.0: ``namespaces/status`` and ``namespaces/finalize`` take metadata too, and were not looked at."""
    ((status, answer),) = await stage.ask(*_named("paybill-namespace-marks", by))
    assert status == 403
    assert LABELS in answer["message"]
    ((status, answer),) = await stage.ask(*_named("paybill-own-namespaces", by.removeprefix("by ")))
    assert status == 403
    assert "no subresource of a namespace" in answer["message"]


async def test_ghsa_gwxr_7h77_7777_every_rule_names_what_the_api_server_serves_and_has_been_seen_to_fire(
    api: Api,
) -> None:
    """Capsule's fix for the one before had a typo (``namespace/finalize``): a rule that never matched anything.

    Here each resource that a policy looks at is one that the API server serves, and each is in a request which
    test_admission.py sees refused by that policy.
    """
    served = {pair async for pair in _served(api)}
    for policy in admission.POLICIES:
        looked_at = {(match.group, resource) for match in policy.match for resource in match.resources}
        assert looked_at - served == set(), policy.name
        fired = {_resource(request) for request in REFUSED[policy.name]}
        assert looked_at - fired == set(), f"{policy.name} was never seen to refuse these"


async def _served(api: Api) -> AsyncIterator[tuple[str, str]]:
    _, groups = await api.call("GET", "/apis")
    places = [("", "/api/v1")]
    places += [(one["name"], f"/apis/{one['preferredVersion']['groupVersion']}") for one in groups["groups"]]
    for group, place in places:
        _, answer = await api.call("GET", place)
        for resource in answer["resources"]:
            yield group, resource["name"]


def _resource(request: Request) -> tuple[str, str]:
    """The group and the resource, with its subresource, that a request is for."""
    _, root, *parts = request.where.split("/")
    group = "" if root == "api" else parts[0]
    rest = parts[1:] if root == "api" else parts[2:]
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        rest = rest[2:]
    return group, "/".join([rest[0], *rest[2:3]])


async def test_ghsa_gjw4_3v3v_rqxg_a_mark_is_found_wherever_it_stands(stage: Stage) -> None:
    """Capsule < 0.13.7: forbidden labels were sorted without case and then searched by halves, which misses some.

    Here every label is looked at: one of ours is found among many, wherever it comes in any order.
    """
    chance = random.Random(7)
    asked, free = [], []
    for number in range(12):
        others = {f"{chance.choice('AaMmZz0')}{chance.randrange(10**6)}.x": "1" for _ in range(30)}
        ours = f"paybill.dev/{chance.choice(['A', 'a', 'Z', 'z', 'tenant', 'M.m'])}{number}"
        mixed = sorted([*others, ours], key=str.lower) if number % 2 else chance.sample([*others, ours], 31)
        marked = {"metadata": {"labels": dict.fromkeys(mixed, "1")}}
        asked.append(patch(str(number), "eve", "Namespace", "<elsewhere>", marked))
        free.append(patch(str(number), "eve", "Namespace", "<elsewhere>", {"metadata": {"labels": others}}))
    assert [status for status, _ in await stage.ask(*asked)] == [403] * len(asked)
    assert [status for status, _ in await stage.ask(*free)] == [200] * len(free)
