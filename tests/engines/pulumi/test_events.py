"""What is made of the engine's events."""

from typing import Any

import pytest
from pulumi.automation.events import EngineEvent

from paybill.engines.operation import Progress
from paybill.engines.pulumi.events import Events
from paybill.engines.pulumi.holding import holds_data

URN = "urn:pulumi:s::p::aws:s3/bucket:Bucket::files"


def event(kind: str, op: str, type_: str = "aws:s3/bucket:Bucket", **more: Any) -> EngineEvent:
    metadata = {"op": op, "urn": URN, "type": type_, "provider": "x"} | more
    return EngineEvent.from_json({kind: {"metadata": metadata}})


def listen(*events: EngineEvent, looking: bool = True) -> tuple[Events, list[Progress]]:
    told: list[Progress] = []
    listener = Events(told.append, "preview", looking=looking)
    for one in events:
        listener(one)
    return listener, told


def test_replacement_is_one_change_with_its_reasons() -> None:
    diff = {"kmsKey": {"diffKind": "update-replace"}, "acl": {"diffKind": "update"}}
    listener, told = listen(
        event("resourcePreEvent", "create-replacement"),
        event("resourcePreEvent", "replace", detailedDiff=diff),
        event("resourcePreEvent", "delete-replaced"),
    )
    (change,) = listener.changes
    assert (change.action, change.fields, change.data) == ("replace", ("acl", "kmsKey"), True)
    assert {one.resource for one in told} == {URN}


@pytest.mark.parametrize("op", ["same", "read", "refresh", "discard"])
def test_steps_that_change_nothing_are_no_changes(op: str) -> None:
    listener, told = listen(event("resourcePreEvent", op))
    assert (listener.changes, told) == ((), [])


def test_while_something_is_done_only_what_succeeded_is_a_change() -> None:
    begun = event("resourcePreEvent", "create")
    assert listen(begun, looking=False)[0].changes == ()
    done, told = listen(begun, event("resOutputsEvent", "create"), looking=False)
    assert len(done.changes) == len(told) == 1
    failed, _ = listen(begun, event("resOpFailedEvent", "create", looking=False), looking=False)
    assert (failed.changes, failed.failed) == ((), {URN})


def test_values_never_leave_the_event() -> None:
    state = {"type": "aws:s3/bucket:Bucket", "urn": URN, "id": "i", "parent": "", "provider": ""}
    old, new = state | {"inputs": {"password": "old-secret"}}, state | {"inputs": {"password": "new-secret"}}
    listener, told = listen(event("resourcePreEvent", "update", old=old, new=new))
    assert listener.changes[0].fields == ("password",)
    assert "secret" not in f"{listener.changes}{told}"


def test_counts_and_complaints_are_kept() -> None:
    listener, _ = listen(
        EngineEvent.from_json(
            {"summaryEvent": {"resourceChanges": {"create": 2, "same": 1, "create-replacement": 1, "new-step": 1}}}
        ),
        EngineEvent.from_json({"diagnosticEvent": {"message": "boom\n", "severity": "error", "urn": URN}}),
        EngineEvent.from_json({"diagnosticEvent": {"message": "hm", "severity": "warning"}}),
        EngineEvent.from_json({"cancelEvent": {}}),
    )
    assert dict(listener.counts) == {"create": 2, "same": 1, "replace": 1, "new-step": 1}
    assert [(one.message, one.urn) for one in listener.complaints] == [("boom", URN)]


@pytest.mark.parametrize(
    ("type_", "protected", "data"),
    [
        ("aws:rds/instance:Instance", False, True),
        ("azure-native:dbforpostgresql/v20240801:Server", False, True),
        ("azure-native:dbforpostgresql:Server", False, True),
        ("aws:iam/role:Role", False, False),
        ("aws:iam/role:Role", True, True),
    ],
)
def test_data_is_known_by_type_and_by_protection(type_: str, protected: bool, data: bool) -> None:
    assert holds_data(type_, protected=protected) is data
