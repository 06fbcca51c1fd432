"""What a saved plan says, and what must stay when its stack goes: documents in, values out."""

from typing import Any

import pytest

from paybill.engines.terraform import plan
from paybill.engines.terraform.holding import Holding, kept, plain
from tests.engines.terraform.conftest import inputs


def change(address: str, actions: list[str], kind: str = "terraform_data", **more: Any) -> dict[str, Any]:
    return {"address": address, "mode": "managed", "type": kind, "change": {"actions": actions, **more}}


def planned(*changes: dict[str, Any], **more: Any) -> plan.Plan:
    return plan.read({"resource_changes": list(changes), **more}, state="lineage:1")


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        (["create"], "create"),
        (["update"], "update"),
        (["delete"], "delete"),
        (["delete", "create"], "replace"),
        (["create", "delete"], "replace"),
        (["forget"], "delete"),
    ],
)
def test_actions(actions: list[str], action: str):
    assert [one.action for one in planned(change("a.b", actions)).changes] == [action]


def test_what_stays_and_what_is_only_read_is_no_change():
    reading = {"address": "data.a.b", "mode": "data", "type": "a", "change": {"actions": ["read"]}}

    found = planned(change("a.b", ["no-op"]), reading)

    assert found.changes == ()
    assert found.same == 1
    assert not found.applyable


def test_a_change_of_outputs_alone_is_something_to_apply():
    found = planned(output_changes={"bucket": {"actions": ["create"]}})

    assert found.applyable


@pytest.mark.parametrize(
    ("before", "after", "unknown", "fields"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {}, ("b",)),
        ({"tags": {"x": "1"}}, {"tags": {"x": "2", "y": "3"}}, {}, ("tags.x", "tags.y")),
        ({"rule": [{"port": 1}]}, {"rule": [{"port": 2}]}, {}, ("rule[0].port",)),
        ({"rule": [{"port": 1}]}, {"rule": []}, {}, ("rule",)),
        ({"id": "x"}, {}, {"id": True}, ("id",)),
        ({"list": ["a", "b"]}, {"list": ["a"]}, {"list": [False, True]}, ("list",)),
    ],
)
def test_fields(before: Any, after: Any, unknown: Any, fields: tuple[str, ...]):
    found = planned(change("a.b", ["update"], before=before, after=after, after_unknown=unknown))

    assert found.changes[0].fields == fields


def test_what_forces_a_replacement_is_among_the_fields():
    found = planned(change("a.b", ["delete", "create"], before={}, after={}, replace_paths=[["engine"], ["rule", 0]]))

    assert found.changes[0].fields == ("engine", "rule[0]")


def test_the_digest_binds_the_state_and_the_inputs():
    document = {"resource_changes": [change("a.b", ["create"])]}
    one, other = plan.read(document, state="lineage:1"), plan.read(document, state="lineage:2")

    assert one.digest(inputs()) == plan.read(document, state="lineage:1").digest(inputs())
    assert one.digest(inputs()) != other.digest(inputs())
    assert one.digest(inputs()) != one.digest(inputs(region="eu-west-1"))


def test_what_the_cloud_moves_on_by_itself_is_no_drift():
    moved = change("d.b", ["update"], before={"latest_restorable_time": 1}, after={"latest_restorable_time": 2})
    changed = change("d.c", ["update"], before={"multi_az": True}, after={"multi_az": False})

    assert [one.address for one in planned(resource_drift=[moved, changed]).drift] == ["d.c"]


def test_data_is_known_by_type_and_by_what_the_module_says_now_or_said_before():
    said = {"outputs": {"data_resources": {"value": ["x_store.mine", "module.deep.x_store.deep[0]"]}}}
    before, now = {"prior_state": {"values": said}}, {"planned_values": said}

    for document in (before, now):
        holding = Holding.of_plan(document)
        assert holding.holds_data("x_store", 'module.stack.x_store.mine["a"]')
        assert holding.holds_data("x_store", "module.stack.module.deep.x_store.deep[1]")
        assert not holding.holds_data("x_store", "module.stack.x_store.other")
    assert Holding().holds_data("aws_db_instance", "module.stack.aws_db_instance.x[0]")


@pytest.mark.parametrize(
    ("address", "without"),
    [
        ("module.stack.a.b", "module.stack.a.b"),
        ("module.stack.a.b[0]", "module.stack.a.b"),
        ('module.stack.a.b["x.y[0]"]', "module.stack.a.b"),
        ('module.stack.a.b["quote\\"d"]', "module.stack.a.b"),
        ('module.m["k"].a.b[3]', "module.m.a.b"),
    ],
)
def test_an_address_without_indexes(address: str, without: str):
    assert plain(address) == without


def test_what_stays_is_the_data_its_guards_and_its_ground():
    def resource(address: str, *needs: str, **values: Any) -> dict[str, Any]:
        kind = address.split(".")[0]
        return {"address": address, "mode": "managed", "type": kind, "values": values, "depends_on": list(needs)}

    listed = [
        resource("aws_vpc.v", id="vpc-1"),
        resource("aws_subnet.s[0]", "aws_vpc.v", id="subnet-1"),
        resource("aws_db_instance.d", "aws_subnet.s", arn="arn:db", id="db"),
        resource("aws_s3_bucket.b", arn="arn:bucket", id="b"),
        resource("aws_s3_bucket_policy.p", "aws_s3_bucket.b", id="b"),
        resource("aws_iam_role.r", id="r"),
        resource("aws_iam_role_policy.rp", "aws_iam_role.r", "aws_s3_bucket.b", id="r:p"),
        resource("aws_flow_log.f", "aws_vpc.v", id="fl"),
    ]
    document = {"values": {"root_module": {"child_modules": [{"resources": listed}]}}}

    found = kept(document)

    assert [one.id for one in found if one.data] == ["arn:db", "arn:bucket"]
    assert [one.address for one in found if not one.data] == ["aws_s3_bucket_policy.p", "aws_subnet.s[0]", "aws_vpc.v"]
