"""What is read from a state, and how one is mended."""

import copy
from typing import Any

from paybill.engines.pulumi.recovery import find_all, mended
from paybill.engines.pulumi.state import State

STACK = {"urn": "urn:pulumi:s::p::pulumi:pulumi:Stack::p-s", "type": "pulumi:pulumi:Stack"}


def resource(name: str, type_: str = "aws:s3/bucket:Bucket", **more: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:s::p::{type_}::{name}", "type": type_, "custom": True, "id": name} | more


def creating(name: str, type_: str = "aws:s3/bucket:Bucket", **inputs: Any) -> dict[str, Any]:
    made = resource(name, type_, inputs=inputs)
    del made["id"]
    return {"type": "creating", "resource": made}


def deployment(*resources: dict[str, Any], pending: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"manifest": {"time": "now"}, "resources": [STACK, *resources], "pending_operations": list(pending)}


def test_version_changes_with_the_resources_and_with_nothing_else() -> None:
    one = deployment(resource("a", inputs={"x": 1, "secret": {"ciphertext": "v1:a"}}, modified="today"))
    same = copy.deepcopy(one)
    same["manifest"]["time"] = "later"
    same["resources"][1] |= {"modified": "tomorrow", "inputs": {"x": 1, "secret": {"ciphertext": "v1:b"}}}
    other = copy.deepcopy(one)
    other["resources"][1]["inputs"]["x"] = 2
    assert State(one).version == State(same).version != State(other).version
    assert State({}).version == State(deployment()).version == ""


def test_destruction_takes_what_is_not_retained_and_knows_data() -> None:
    state = State(
        deployment(
            resource("kept", retainOnDelete=True, protect=True),
            resource("gone"),
            resource("role", "aws:iam/role:Role"),
            resource("cloud", "pulumi:providers:aws"),
        )
    )
    assert [(one.address.rpartition("::")[2], one.data) for one in state.deletions()] == [
        ("role", False),
        ("gone", True),
    ]
    assert state.protected
    assert not state.empty
    assert State(deployment()).empty


def test_creation_is_found_by_what_its_id_follows_from() -> None:
    state = State(
        deployment(
            pending=(
                creating("b", bucket="pb-abcd"),
                creating("k", "aws:kms/key:Key", description="no name"),
                creating("s", "kubernetes:core/v1:Secret", metadata={"name": "n", "namespace": "ns"}),
                {"type": "updating", "resource": resource("u")},
            )
        )
    )
    found = {urn.rpartition("::")[2]: id_ for urn, id_ in find_all(state, None).items()}
    assert found == {"b": "pb-abcd", "s": "ns/n"}


def test_found_creation_comes_into_the_state_and_the_others_go() -> None:
    before = deployment(resource("a"), pending=(creating("b", bucket="x"), creating("c")))
    kept = copy.deepcopy(before)
    after = mended(before, {before["pending_operations"][0]["resource"]["urn"]: "x"})
    assert [one.get("id") for one in after["resources"]] == [None, "a", "x"]
    assert after["resources"][-1]["outputs"] == {"bucket": "x"}
    assert "pending_operations" not in after
    assert before == kept


def test_replacement_that_was_cut_off_leaves_no_two_of_one_name() -> None:
    for old, expected in (
        (resource("b", id="old"), [("old", True), ("new", None)]),
        (resource("b", id="old", pendingReplacement=True), [("new", None)]),
        (resource("b", id="new"), [("new", None)]),
    ):
        before = deployment(old, pending=(creating("b", bucket="new"),))
        after = mended(before, {old["urn"]: "new"})
        assert [(one["id"], one.get("delete")) for one in after["resources"][1:]] == expected
