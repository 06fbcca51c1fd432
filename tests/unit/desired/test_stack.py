"""What says that an operation is due, what an Approval names, and how everything of a tenant is called and marked."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from paybill.api.cell import CellProvider
from paybill.api.limits import Compute, DatabaseLevel, IsolationModel
from paybill.desired.stack import (
    DESTRUCTIVE,
    PROGRAM_VERSION,
    Action,
    Change,
    DatabaseInputs,
    FoundationMissing,
    StackInputs,
    changes_digest,
)

INPUTS = StackInputs(
    provider="AWS",
    model="Silo",
    compute="Namespace",
    level="Server",
    tenant_id="k3x9m2qd",
    tenant_uid="3f0c9a52-8a0e-4b5f-9f5b-2d3c1c7a9e11",
    installation="paybill",
    cell="eu",
    plan="growth",
    tier="gold",
    region="eu-west-1",
    namespace="t-k3x9m2qd",
    database=DatabaseInputs(),
    foundation={"vpc": "vpc-1", "subnets": "a,b"},
)
LABELS = {"plan", "tier"}


def another(model: type[StackInputs | DatabaseInputs], name: str, value: Any) -> Any:
    """Another valid value of a field, whatever its type; a field of a new type needs a line here."""
    closed = {"provider": CellProvider, "model": IsolationModel, "compute": Compute, "level": DatabaseLevel}
    if model is StackInputs and name in closed:
        return next(one for one in get_args(closed[name]) if one != value)
    if name == "tenant_id":
        return "zzzz9999"
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}1"
        case dict():
            return value | {"more": "x"}
        case DatabaseInputs():
            return None
    raise AssertionError(f"no other value of {name} is known")


def changed(name: str) -> StackInputs:
    content = INPUTS.model_dump()
    content[name] = another(StackInputs, name, getattr(INPUTS, name))
    return StackInputs.model_validate(content)


@pytest.mark.parametrize("name", sorted(set(StackInputs.model_fields) - LABELS))
def test_other_inputs_are_another_digest(name: str) -> None:
    assert changed(name).digest() != INPUTS.digest()


@pytest.mark.parametrize("name", sorted(LABELS))
def test_what_is_only_a_label_needs_no_operation(name: str) -> None:
    assert changed(name).digest() == INPUTS.digest()
    assert changed(name).tags() != INPUTS.tags()


@pytest.mark.parametrize("name", sorted(DatabaseInputs.model_fields))
def test_another_server_is_another_digest(name: str) -> None:
    content = DatabaseInputs().model_dump()
    content[name] = another(DatabaseInputs, name, content[name])
    other = INPUTS.model_copy(update={"database": DatabaseInputs.model_validate(content)})
    assert other.digest() != INPUTS.digest()


def test_another_program_is_another_digest() -> None:
    assert INPUTS.digest() == INPUTS.digest(PROGRAM_VERSION) != INPUTS.digest("2")


def test_a_digest_says_how_it_was_made_and_is_the_same_in_every_process() -> None:
    again = StackInputs.model_validate_json(INPUTS.model_dump_json())
    turned = INPUTS.model_copy(update={"foundation": dict(reversed(INPUTS.foundation.items()))})
    assert again.digest() == turned.digest() == INPUTS.digest()
    assert INPUTS.digest().startswith("sha256:")
    assert len(INPUTS.digest()) == len("sha256:") + 64


def test_names_come_from_the_id_alone() -> None:
    assert (INPUTS.name, INPUTS.suffixed, INPUTS.stack) == ("pb-k3x9m2qd", "pb-k3x9m2qd-g1", "k3x9m2qd-eu-west-1")
    assert INPUTS.project == "paybill-aws-silo"
    assert INPUTS.model_copy(update={"region": ""}).stack == "k3x9m2qd-local"


def test_every_resource_can_be_found_by_its_marks() -> None:
    assert INPUTS.tags() == {
        "paybill-installation": "paybill",
        "paybill-tenant": "k3x9m2qd",
        "paybill-tenant-uid": "3f0c9a52-8a0e-4b5f-9f5b-2d3c1c7a9e11",
        "paybill-cell": "eu",
        "paybill-program": PROGRAM_VERSION,
        "paybill-plan": "growth",
        "paybill-tier": "gold",
    }
    assert not {"paybill-plan", "paybill-tier"} & set(INPUTS.model_copy(update={"plan": "", "tier": ""}).tags())


def test_what_a_cell_must_give_is_asked_for_by_name() -> None:
    assert INPUTS.required("vpc") == "vpc-1"


@pytest.mark.parametrize("foundation", [{}, {"keyRing": ""}], ids=["not there", "empty"])
def test_what_a_cell_does_not_give_is_told_with_what_to_do(foundation: dict[str, str]) -> None:
    with pytest.raises(FoundationMissing) as missing:
        INPUTS.model_copy(update={"foundation": foundation}).required("keyRing")
    assert missing.value.name == "keyRing"
    assert str(missing.value) == (
        "Cell eu does not give keyRing, which the AWS Silo infrastructure of a tenant is built on: "
        "add it to spec.engine.foundation"
    )


CHANGES = (
    Change(action="create", address="a", type="t"),
    Change(action="delete", address="b", type="t", fields=("x", "y")),
    Change(action="create", address="b", type="t", data=True),
)
DIGEST = changes_digest(CHANGES, inputs_digest="i", state="7")


def test_in_whatever_order_an_engine_lists_its_changes_they_are_the_same() -> None:
    assert changes_digest(list(reversed(CHANGES)), inputs_digest="i", state="7") == DIGEST


def test_of_two_changes_of_one_kind_at_one_address_the_order_does_not_matter() -> None:
    twice = [CHANGES[1], CHANGES[1].model_copy(update={"fields": ("z",)})]
    assert changes_digest(twice, inputs_digest="i") == changes_digest(twice[::-1], inputs_digest="i")


@pytest.mark.parametrize("name", sorted(Change.model_fields))
def test_another_change_is_not_what_was_approved(name: str) -> None:
    others = {"action": "replace", "address": "c", "type": "u", "fields": ("x",), "data": True}
    other = CHANGES[1].model_copy(update={name: others[name]})
    assert changes_digest((CHANGES[0], other, CHANGES[2]), inputs_digest="i", state="7") != DIGEST


@pytest.mark.parametrize(
    ("changes", "inputs", "state"),
    [
        pytest.param(CHANGES[:2], "i", "7", id="one less"),
        pytest.param((*CHANGES, CHANGES[0]), "i", "7", id="one twice"),
        pytest.param(CHANGES, "j", "7", id="made of other inputs"),
        pytest.param(CHANGES, "i", "8", id="made of another state"),
        pytest.param(CHANGES, "i7", "", id="parts that run into each other"),
    ],
)
def test_other_circumstances_are_not_what_was_approved(changes: tuple[Change, ...], inputs: str, state: str) -> None:
    assert changes_digest(changes, inputs_digest=inputs, state=state) != DIGEST


def test_what_takes_something_away_is_destructive() -> None:
    found = {one for one in get_args(Action) if Change(action=one, address="a", type="t").destructive}
    assert found == set(DESTRUCTIVE) == {"replace", "delete"}


def test_a_change_crosses_a_process_boundary_unharmed() -> None:
    assert [Change.model_validate(json.loads(one.model_dump_json())) for one in CHANGES] == list(CHANGES)
