"""Which tenants have infrastructure of their own, and what it follows from."""

from __future__ import annotations

from typing import Any

import pytest

from paybill.api.cell import Cell
from paybill.api.plan import Plan, PlanSpec
from paybill.desired import stack_inputs
from paybill.desired.stack import StackInputs
from tests.unit.desired.tenants import ACME, INSTALLATION

UID = "6a0c9a52-8a0e-4b5f-9f5b-2d3c1c7a9e11"
PULUMI = {"type": "Pulumi", "state": {"url": "s3://bucket"}, "secretsProvider": "awskms://alias/x"}


def cell(**spec: Any) -> Cell:
    return Cell.model_validate({"metadata": {"name": "eu"}, "spec": {"provider": "AWS", **spec}})


def plan(**spec: Any) -> PlanSpec:
    content = {"isolation": {"model": "Silo"}, "limits": {}, **spec}
    return Plan.model_validate({"metadata": {"name": "growth"}, "spec": content}).spec


def inputs(
    of: Cell | None = None, *, compute: str = "Namespace", level: str = "Server", policy: str = "Retain", **spec: Any
) -> StackInputs:
    return stack_inputs.build(ACME, UID, of or cell(), compute, level, plan(**spec), policy)  # type: ignore[arg-type]


def database(**limits: Any) -> tuple[int, int]:
    made = stack_inputs.database(plan(limits={"database": limits}))
    return made.connections, made.storage_gib


@pytest.mark.parametrize(
    ("engine", "level", "has"),
    [
        pytest.param(None, "Schema", False, id="a schema of a shared server"),
        pytest.param(None, "Rows", False, id="rows"),
        pytest.param(None, "Database", False, id="a database of a shared server"),
        pytest.param(None, "Server", True, id="a server, though the Cell cannot make one: that is said elsewhere"),
        pytest.param({"type": "Embedded"}, "Schema", False, id="this machine's engine makes servers only"),
        pytest.param({"type": "Embedded"}, "Server", True, id="a server of this machine"),
        pytest.param(PULUMI, "Schema", True, id="on a cloud each has something of its own"),
        pytest.param(PULUMI, "Rows", True, id="with rows as well"),
        pytest.param(PULUMI, "Server", True, id="a server of a cloud"),
    ],
)
def test_who_has_infrastructure(engine: Any, level: str, has: bool) -> None:
    assert stack_inputs.has_infrastructure(cell(**({"engine": engine} if engine else {})), level) is has


@pytest.mark.parametrize(("level", "has"), [("Server", True), ("Schema", False)])
def test_what_a_cell_that_is_gone_made_is_still_there(level: str, has: bool) -> None:
    assert stack_inputs.has_infrastructure(None, level) is has


def test_identity_place_and_plan_are_all_there_is_to_know() -> None:
    place = cell(region="eu-west-1", engine={**PULUMI, "foundation": {"vpc": "vpc-1"}})
    limits = {"database": {"connections": 50, "storage": "100Gi"}}
    assert inputs(place, tier="gold", limits=limits).model_dump(exclude_defaults=True) == {
        "provider": "AWS",
        "model": "Silo",
        "compute": "Namespace",
        "level": "Server",
        "tenant_id": ACME.id,
        "tenant_uid": UID,
        "installation": INSTALLATION,
        "cell": "eu",
        "tier": "gold",
        "region": "eu-west-1",
        "namespace": f"t-{ACME.id}",
        "database": {"connections": 50, "storage_gib": 100},
        "foundation": {"vpc": "vpc-1"},
    }


def test_the_marks_outlive_a_change_of_cluster() -> None:
    """They bear the UID that the tenant was made with, which an adoption keeps, not the object's present one."""
    assert inputs().tenant_uid == UID != ACME.tenant_uid


@pytest.mark.parametrize(
    ("level", "model", "server"),
    [("Rows", "Pooled", False), ("Schema", "Pooled", False), ("Database", "Bridge", False), ("Server", "Silo", True)],
)
def test_a_server_of_its_own_is_made_for_the_level_server_only(level: str, model: str, server: bool) -> None:
    made = inputs(level=level)
    assert (made.model, made.level, made.database is not None) == (model, level, server)


@pytest.mark.parametrize(("compute", "namespace"), [("Shared", "paybill-pool-eu"), ("Namespace", f"t-{ACME.id}")])
def test_the_cloud_identity_is_for_the_pods_of_the_namespace_where_they_run(compute: str, namespace: str) -> None:
    assert inputs(compute=compute).namespace == namespace


@pytest.mark.parametrize(("policy", "retain"), [("Retain", True), ("Snapshot", True), ("Delete", False)])
def test_data_outlives_its_stack_unless_the_policy_says_otherwise(policy: str, retain: bool) -> None:
    assert inputs(policy=policy).retain is retain


def test_plans_that_differ_in_name_only_need_no_operation() -> None:
    assert inputs(tier="gold").digest() == inputs(tier="silver").digest()


@pytest.mark.parametrize(
    ("storage", "gib"),
    [
        ("1Gi", 1), ("1.5Gi", 2), ("20Gi", 20), ("1073741825", 2), ("1M", 1), ("500Mi", 1), ("1T", 932), ("1Ti", 1024),
        ("0", 1),
    ],
)  # fmt: skip
def test_storage_is_rounded_up_to_whole_gib_and_never_nothing(storage: str, gib: int) -> None:
    assert database(storage=storage) == (stack_inputs.DEFAULT_CONNECTIONS, gib)


def test_a_plan_that_says_nothing_of_its_server_gets_a_small_one() -> None:
    assert database() == (20, 20)
    assert database(connections=7) == (7, 20)
