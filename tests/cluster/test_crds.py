"""The API as the API server enforces it: every case of the tables, every manifest, every example of the README."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.cases.api import CASES, CHANGES
from tests.cases.model import Case, Change
from tests.cluster.api import AGENTS, OURS, Api, Object, path, reference_of
from tests.cluster.waiting import until

ROOT = Path(__file__).parents[2]
STRICT = {"dryRun": "All", "fieldValidation": "Strict"}


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}: {case.reason}" for case in CASES])
async def test_an_object_is_taken_or_refused_with_words(case: Case, api: Api) -> None:
    status, answer = await api.call("POST", path(case.kind), case.object, by=_writer(case), **STRICT)

    if case.refused is None:
        assert status == 201, answer["message"]
    else:
        assert status in {400, 422}
        assert case.refused in answer["message"]


@pytest.mark.parametrize("change", CHANGES, ids=[f"{change.kind}: {change.reason}" for change in CHANGES])
async def test_a_change_is_taken_or_refused_with_words(change: Change, api: Api, name: str) -> None:
    before = _named(change.before, name)
    made = await api.create(before, by=_approver(before))
    if change.status is not None:
        made = await api.edit(change.kind, name, {"status": change.status}, status=True)

    after = _named(change.after, name)
    after["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    status, answer = await api.call("PUT", path(change.kind, "", name), after, fieldValidation="Strict")

    if change.refused is None:
        assert status == 200, answer["message"]
    else:
        assert status == 422
        assert change.refused in answer["message"]


def _writer(case: Case) -> str:
    """Who has to write the object: another one would be refused by admission, whatever its schema says."""
    return _approver(case.object) if case.refused is None else ""


def _approver(obj: Object) -> str:
    named = {"Approval": "approver", "AgentRun": "requestedBy"}.get(obj["kind"])
    return str(obj["spec"][named]) if named is not None else ""


def _named(obj: Object, name: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "name": name}}


def _examples() -> list[tuple[str, Object]]:
    """Every object of ours that somebody may copy: the manifests, and what the README and the docs show."""
    found = [(str(file.relative_to(ROOT)), file.read_text()) for file in sorted((ROOT / "manifests").rglob("*.yaml"))]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        blocks = re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        found += [(f"{page.relative_to(ROOT)} #{number}", block) for number, block in enumerate(blocks)]
    objects = [(where, obj) for where, text in found for obj in yaml.safe_load_all(_dated(text))]
    return [
        (f"{where} {obj['kind']}/{obj['metadata']['name']}", obj)
        for where, obj in objects
        if isinstance(obj, dict) and obj.get("apiVersion") in (OURS, AGENTS) and "spec" in obj
    ]


def _dated(text: str) -> str:
    """The moments that the samples write relative to now."""

    def moment(found: re.Match[str]) -> str:
        return (datetime.now(UTC) + timedelta(days=int(found[1]))).strftime("%Y-%m-%dT%H:%M:%SZ")

    return re.sub(r"\{\{now([+-]\d+)d\}\}", moment, text)


EXAMPLES = _examples()


@pytest.mark.parametrize("example", [obj for _, obj in EXAMPLES], ids=[where for where, _ in EXAMPLES])
async def test_an_example_can_be_applied_as_it_stands(example: Object, api: Api) -> None:
    reference = reference_of(example)
    where = path(reference.kind, "", reference.name)
    query = {**STRICT, "fieldManager": "reader", "force": "true"}

    example["metadata"].pop("namespace", None)  # a tenant's, which is not there
    by = _approver(example)  # admission refuses anybody else
    status, answer = await api.call("PATCH", where, example, "application/apply-patch+yaml", by=by, **query)

    assert status in {200, 201}, answer["message"]


@pytest.mark.parametrize("kind", ["Plan", "Tenant", "Subscription", "Cell"])
async def test_a_kind_is_served_with_its_columns_and_docs(kind: str, api: Api) -> None:
    table = await until(lambda: _table(api, kind))
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns[0] == "Name"
    assert "Age" in columns

    _, schema = await api.call("GET", "/openapi/v3/apis/paybill.dev/v1alpha1")
    described = schema["components"]["schemas"][f"dev.paybill.v1alpha1.{kind}"]["properties"]["spec"]
    assert described["description"]
    assert all(field.get("description") for field in described["properties"].values())


async def _table(api: Api, kind: str) -> Object:
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with api.session.http.get(api.session.server + path(kind), headers=headers) as answer:
        return dict(await answer.json())
