"""``paybill crds apply`` against a real API server: it upgrades, says what it would do, and refuses what loses data."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from paybill import __version__
from paybill.api.failures import Blocked
from paybill.api.kinds import KINDS
from paybill.cli.crds import crds
from paybill.cluster.client import Cluster
from paybill.cluster.definitions import wanted_definitions
from paybill.local import bootstrap
from tests.chart.helm import NAMESPACE, Helm, HelmError, Object
from tests.chart.server import read, where
from tests.cluster import samples
from tests.cluster.api import Api, Refused, accepted, path, user
from tests.cluster.refusals import APPLY
from tests.cluster.waiting import until
from tests.conftest import LocalThread

KIND = "CustomResourceDefinition"
TENANTS = "tenants.paybill.dev"
NAMES = [definition["metadata"]["name"] for definition in wanted_definitions()]


async def run(plane: LocalThread, *arguments: str) -> Result:
    """The command, in a thread of its own: it brings its own event loop."""
    given = ["apply", "--kubeconfig", str(plane.kubeconfig), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, crds, given)


def results(answer: Result) -> dict[str, str]:
    return {kind["name"]: kind["result"] for kind in json.loads(answer.stdout)["kinds"]}


@pytest.fixture(scope="module", autouse=True)
def nothing_left(plane: LocalThread) -> Iterator[None]:
    """A release does not take over kinds that it has not made, so the other modules find none."""
    yield
    asyncio.run(_removed(plane))


async def _removed(plane: LocalThread) -> None:
    async with user(plane.kubeconfig) as admin:
        await remove(admin, *NAMES)


async def remove(admin: Api, *names: str) -> None:
    for name in names:
        await admin.call("DELETE", f"{where(KIND)}/{name}")
    for name in names:
        await until(lambda name=name: _gone(admin, name))


@pytest.fixture
async def kinds(plane: LocalThread, admin: Api) -> AsyncIterator[dict[str, Object]]:
    """The kinds of this version; what a test put in the place of one of them goes with it."""
    assert (await run(plane)).exit_code == 0
    yield {one["metadata"]["name"]: one for one in wanted_definitions()}
    await remove(admin, TENANTS)


async def _gone(admin: Api, name: str) -> bool:
    return await read(admin, KIND, name) is None


async def put(admin: Api, definition: Object) -> None:
    """Apply a definition as somebody else's version of Paybill would have."""
    query = {"fieldManager": "earlier", "force": "true"}
    name = definition["metadata"]["name"]
    accepted(*await admin.call("PATCH", f"{where(KIND)}/{name}", definition, APPLY, **query))


def tenant_spec(definition: Object) -> Any:
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


async def served_fields(admin: Api) -> set[str]:
    found = await read(admin, KIND, TENANTS)
    assert found is not None
    return set(tenant_spec(found))


async def versions(admin: Api) -> dict[str, str]:
    found = {name: await read(admin, KIND, name) for name in NAMES}
    return {name: obj["metadata"]["resourceVersion"] for name, obj in found.items() if obj is not None}


async def test_every_kind_is_served_when_it_returns_and_a_second_time_nothing_is_written(
    plane: LocalThread, admin: Api, kinds: dict[str, Object]
) -> None:
    for kind in KINDS:
        assert (await admin.call("GET", path(kind.kind)))[0] == 200
    before = await versions(admin)
    answer = await run(plane, "--output", "json")
    assert answer.exit_code == 0
    assert results(answer) == dict.fromkeys(NAMES, "Unchanged")
    assert await versions(admin) == before


async def test_a_kind_that_is_missing_is_made(plane: LocalThread, admin: Api, kinds: dict[str, Object]) -> None:
    await remove(admin, TENANTS)
    answer = await run(plane, "--output", "json")
    assert answer.exit_code == 0
    assert results(answer) == dict.fromkeys(NAMES, "Unchanged") | {TENANTS: "Created"}
    assert (await admin.call("GET", path("Tenant")))[0] == 200


async def test_an_older_kind_is_upgraded_and_a_dry_run_says_so_and_does_nothing(
    plane: LocalThread, admin: Api, kinds: dict[str, Object]
) -> None:
    older = copy.deepcopy(kinds[TENANTS])
    older["metadata"]["labels"] = {"app.kubernetes.io/version": "0.0.9"}
    del tenant_spec(older)["displayName"]
    await put(admin, older)
    before = await versions(admin)

    answer = await run(plane, "--dry-run")
    assert answer.exit_code == 0
    assert f"{TENANTS}" in answer.stdout
    assert "0.0.9" in answer.stdout
    assert "  + spec.displayName: a new field" in answer.stdout.splitlines()
    assert "nothing was changed" in answer.stderr
    assert await versions(admin) == before

    answer = await run(plane, "--output", "json")
    assert answer.exit_code == 0
    assert results(answer)[TENANTS] == "Changed"
    assert "displayName" in await served_fields(admin)
    assert results(await run(plane, "--output", "json"))[TENANTS] == "Unchanged"


async def test_an_older_command_does_not_touch_newer_kinds(
    plane: LocalThread, admin: Api, kinds: dict[str, Object]
) -> None:
    newer = copy.deepcopy(kinds[TENANTS])
    newer["metadata"]["labels"] = {"app.kubernetes.io/version": "99.0.0"}
    await put(admin, newer)
    await remove(admin, "cells.paybill.dev")

    answer = await run(plane)
    assert answer.exit_code == 1
    assert f"the cluster has the kinds of Paybill 99.0.0, and this is {__version__}" in answer.stderr
    with pytest.raises(Blocked, match=r"99\.0\.0"):  # as `paybill up` would
        await bootstrap.apply_crds(Cluster(admin.session))
    assert await _gone(admin, "cells.paybill.dev"), "a refusal leaves all kinds as they were"


@pytest.fixture
async def grown(admin: Api, kinds: dict[str, Object]) -> None:
    """A kind with a field that this version does not know."""
    other = copy.deepcopy(kinds[TENANTS])
    tenant_spec(other)["nickname"] = {"type": "string"}
    await put(admin, other)


async def _with_nickname(admin: Api) -> bool:
    """Make a Tenant that uses the field; the API server learns of a new schema a moment after it took it."""
    with contextlib.suppress(Refused):
        await admin.apply(samples.tenant("chart-kinds", nickname="Joe"))
    found = await admin.get("Tenant", "chart-kinds")
    return found is not None and "nickname" in found["spec"]


async def test_a_field_that_is_in_use_is_not_taken_away(plane: LocalThread, admin: Api, grown: None) -> None:
    await until(lambda: _with_nickname(admin))
    answer = await run(plane, "--output", "json")
    said = json.loads(answer.stdout)
    assert (answer.exit_code, said["error"]["reason"]) == (1, "UpgradeRefused")
    assert f"{TENANTS}: spec.nickname would go, and chart-kinds use it" in said["error"]["message"]
    assert results(answer)[TENANTS] == "Refused"
    assert "nickname" in await served_fields(admin)

    # Once it is not used any more, it may go.
    await admin.edit("Tenant", "chart-kinds", {"spec": {"nickname": None}})
    answer = await run(plane)
    assert answer.exit_code == 0
    assert "  - spec.nickname: the field is gone" in answer.stdout.splitlines()
    assert "nickname" not in await served_fields(admin)


async def test_without_the_look_the_field_would_have_been_lost(
    plane: LocalThread, admin: Api, kinds: dict[str, Object], grown: None
) -> None:
    await until(lambda: _with_nickname(admin))
    await put(admin, kinds[TENANTS])

    async def lost() -> bool:
        await admin.edit("Tenant", "chart-kinds", {"metadata": {"labels": {"touched": "yes"}}})
        found = await admin.get("Tenant", "chart-kinds")
        return found is not None and "nickname" not in found["spec"]

    await until(lost)


async def test_a_version_that_objects_are_stored_as_is_not_taken_away(
    plane: LocalThread, admin: Api, kinds: dict[str, Object]
) -> None:
    other = copy.deepcopy(kinds[TENANTS])
    (ours,) = other["spec"]["versions"]
    other["spec"]["versions"] = [{**ours, "storage": False}, {**copy.deepcopy(ours), "name": "v1alpha2"}]
    await put(admin, other)
    answer = await run(plane, "--dry-run")
    assert answer.exit_code == 1
    assert "objects are stored as v1alpha2, which would not be served any more" in answer.stdout


async def test_the_chart_and_the_command_can_take_turns(
    cluster: Helm, plane: LocalThread, admin: Api, kinds: dict[str, Object]
) -> None:
    await remove(admin, *NAMES)
    cluster.install()
    await until(lambda: _all_served(admin))
    assert results(await run(plane, "--output", "json")) == dict.fromkeys(NAMES, "Unchanged")
    cluster.install({"replicas": 2})
    assert results(await run(plane, "--output", "json")) == dict.fromkeys(NAMES, "Unchanged")
    crd = await read(admin, KIND, TENANTS)
    assert crd is not None
    assert crd["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert crd["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == NAMESPACE


async def test_a_release_takes_kinds_over_only_when_it_is_told_to(
    cluster: Helm, plane: LocalThread, admin: Api, kinds: dict[str, Object]
) -> None:
    await remove(admin, TENANTS)
    assert (await run(plane)).exit_code == 0
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        cluster.install()
    cluster.install(None, "--take-ownership")
    crd = await read(admin, KIND, TENANTS)
    assert crd is not None
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


async def _all_served(admin: Api) -> bool:
    return [(await admin.call("GET", path(kind.kind)))[0] for kind in KINDS] == [200] * len(KINDS)
