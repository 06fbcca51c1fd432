"""Where a new Tenant is put: first fit, in the order that a person can read off the Cells."""

import pytest

from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Invalid
from paybill.lifecycle.placement import Place, capacity, choose, crowded, next_server


def server(name: str, holds: str = "Schemas", **capacities: int) -> dict[str, object]:
    reference = {"name": "admins", "key": name}
    return {"name": name, "holds": holds, "adminSecretRef": reference, "capacity": capacities}


def cell(name: str, *servers: dict[str, object], default: bool = False) -> Cell:
    spec = {"provider": "Embedded", "default": default, "servers": servers}
    return Cell.model_validate({"metadata": {"name": name}, "spec": spec})


CELLS = {
    one.metadata.name: one
    for one in (
        cell("a", server("rows", "Rows"), server("s1", schemas=2), server("s2", schemas=1), default=True),
        cell("b", server("s1", schemas=1), default=True),
        cell("c", server("s1", schemas=1)),
        cell("d", server("own", "Databases")),
    )
}
FULL_A = {("a", "s1"): 2, ("a", "s2"): 1}


@pytest.mark.parametrize(
    ("wanted", "level", "counts", "place"),
    [
        pytest.param(None, "Schema", {}, ("a", "s1"), id="the first server of the first default cell"),
        pytest.param(None, "Schema", {("a", "s1"): 1}, ("a", "s1"), id="until it is full"),
        pytest.param(None, "Schema", {("a", "s1"): 2}, ("a", "s2"), id="then the next server"),
        pytest.param(None, "Schema", FULL_A, ("b", "s1"), id="then the next default cell"),
        pytest.param("c", "Schema", {}, ("c", "s1"), id="the cell it names, default or not"),
        pytest.param(
            "b", "Schema", {("a", "s1"): 2}, ("b", "s1"), id="counts of a namesake in another cell are not its"
        ),
        pytest.param(None, "Rows", {}, ("a", "rows"), id="only servers that hold the level"),
        pytest.param(None, "Schema", {("a", "s1"): 99}, ("a", "s2"), id="a capacity that was lowered adds nobody"),
    ],
)
def test_a_tenant_is_put_where_there_is_room_first(wanted, level, counts, place):
    assert choose(CELLS, wanted, level, counts) == Place(cell=place[0], server=place[1])


@pytest.mark.parametrize(
    ("wanted", "level", "counts", "kind", "reason"),
    [
        pytest.param("nowhere", "Schema", {}, Invalid, "UnknownCell", id="a cell that does not exist"),
        pytest.param("b", "Schema", {("b", "s1"): 1}, Blocked, "CellFull", id="a full cell never spills into another"),
        pytest.param(None, "Schema", FULL_A | {("b", "s1"): 1}, Blocked, "CellFull", id="every default cell full"),
        pytest.param("b", "Rows", {}, Blocked, "NoServerForLevel", id="no server holds the level"),
        pytest.param("a", "Server", {}, Blocked, "NoEngine", id="a server of one's own where nothing makes one"),
        pytest.param("d", "Schema", {}, Blocked, "NoServerForLevel", id="own databases hold no schemas"),
    ],
)
def test_where_there_is_no_place_it_says_why(wanted, level, counts, kind, reason):
    with pytest.raises(kind) as refused:
        choose(CELLS, wanted, level, counts)
    assert refused.value.reason == reason


def test_without_a_default_cell_one_must_be_named():
    with pytest.raises(Blocked, match="NoDefaultCell"):
        choose({"c": CELLS["c"]}, None, "Schema", {})
    assert choose({"c": CELLS["c"]}, "c", "Schema", {}).cell == "c"


def test_the_first_full_cell_is_the_one_that_is_named():
    with pytest.raises(Blocked, match="Cell a is full"):
        choose(CELLS, None, "Schema", FULL_A | {("b", "s1"): 1})


@pytest.mark.parametrize(("holds", "room"), [("Rows", 1), ("Schemas", 2), ("Databases", 3)])
def test_the_capacity_is_that_of_what_it_holds(holds, room):
    found = cell("x", server("s", holds, rows=1, schemas=2, databases=3)).spec.servers[0]
    assert capacity(found) == room


def test_the_next_server_is_the_one_that_a_tenant_would_get():
    assert next_server(CELLS["a"], "Schemas", {}) == "s1"
    assert next_server(CELLS["a"], "Schemas", {("a", "s1"): 2}) == "s2"
    assert next_server(CELLS["a"], "Schemas", FULL_A) is None
    assert next_server(CELLS["d"], "Databases", {}) == "own"
    assert next_server(CELLS["d"], "Rows", {}) is None


@pytest.mark.parametrize(
    ("tenants", "found"),
    [
        ({}, ()), ({"s1": 9}, ()), ({"s1": 9, "s2": 8}, ()), ({"s1": 9, "s2": 9}, ("Schemas",)),
        ({"rows": 100_000}, ("Rows",)),
    ],
)  # fmt: skip
def test_a_cell_is_crowded_when_each_of_its_servers_is(tenants, found):
    crowd = cell("x", server("s1", schemas=10), server("s2", schemas=10), server("rows", "Rows", rows=100_000))

    assert crowded(crowd, tenants) == found
