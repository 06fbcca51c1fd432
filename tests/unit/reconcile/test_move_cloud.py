"""Moves that begin or end on a server which a cloud's engine makes: refused, with the way that there is instead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from paybill.api.cell import Cell
from paybill.api.failures import Blocked
from paybill.control.claims import Claim
from paybill.reconcile.move_job import Wanted, target_server
from paybill.reconcile.world import World
from tests.cluster import samples


def where(level: str, to_level: str, engine: dict[str, Any] | None) -> str:
    spec = {"engine": engine} if engine is not None else {}
    servers = [samples.server(holds="Databases")]
    cell = Cell.model_validate({**samples.cell("cell", servers, **spec)})
    registry = SimpleNamespace(all=list)
    world = cast("World", SimpleNamespace(declared=SimpleNamespace(cells={"cell": cell}), registry=registry))
    claim = SimpleNamespace(
        id="k3x9m2qd", tenant_name="acme", cell="cell", compute="Namespace", level=level, server="here"
    )
    return target_server(world, cast("Claim", claim), Wanted(level=to_level, server=None, point=None))


@pytest.mark.parametrize("engine", [{"type": "Pulumi"}, {"type": "Terraform"}, None], ids=["Pulumi", "Terraform", "no"])
@pytest.mark.parametrize(("level", "to_level"), [("Database", "Server"), ("Server", "Database")])
def test_what_a_cloud_made_is_neither_left_nor_gone_to(level: str, to_level: str, engine: dict[str, Any]) -> None:
    with pytest.raises(Blocked) as refused:
        where(level, to_level, engine)
    assert refused.value.reason == "MoveNotSupported"
    assert f"has engine {engine['type'] if engine else 'none'}" in refused.value.message
    assert "`paybill backup acme`, and `paybill restore BACKUP --to NAME --plan PLAN`" in refused.value.message


@pytest.mark.parametrize(
    ("level", "to_level", "found"), [("Database", "Server", "own-k3x9m2qd"), ("Server", "Database", "schemas-1")]
)
def test_what_engine_embedded_makes_is(level: str, to_level: str, found: str) -> None:
    assert where(level, to_level, {"type": "Embedded"}) == found


def test_between_shared_servers_no_engine_is_asked_for() -> None:
    assert where("Schema", "Database", {"type": "Pulumi"}) == "schemas-1"
