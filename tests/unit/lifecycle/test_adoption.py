"""Which Tenant may take over which row: by name and UID, the same list before, between and after its adoptions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paybill.lifecycle.adoption import Adoption, Present, Row, adoptions

ACME = Row(id="aaaaaaaa", name="acme", uid="old")
BACK = Present(name="acme", uid="new")
FOUND = Adoption(id="aaaaaaaa", name="acme", uid="new")


@pytest.mark.parametrize(
    ("rows", "tenants", "wanted", "reason"),
    [
        ([ACME], [BACK], [FOUND], "a Tenant came back under its name"),
        ([ACME], [Present(name="acme", uid="old")], [], "the Tenant is the one that it was"),
        ([ACME], [], [], "its Tenant did not come back"),
        ([ACME], [Present(name="globex", uid="new")], [], "another name is another customer"),
        ([ACME], [replace(BACK, id="aaaaaaaa")], [FOUND], "it asks for this very id"),
        ([ACME], [replace(BACK, id="bbbbbbbb")], [], "it asks for another id"),
        (
            [ACME, Row(id="bbbbbbbb", name="other", uid="new")], [BACK], [],
            "the Tenant has a tenant already (it adopted one that had another name)",
        ),
        ([ACME, replace(ACME, id="bbbbbbbb", uid="older")], [BACK], [], "two orphans of one name: a person must say"),
        ([replace(ACME, uid="new", adopted_by="another")], [BACK], [], "another Approval has adopted it"),
        ([replace(ACME, uid="new", adopted_by="this")], [BACK], [FOUND], "this Approval has adopted it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_adopted(rows: list[Row], tenants: list[Present], wanted: list[Adoption], reason: str) -> None:
    assert adoptions(rows, tenants, "this") == tuple(wanted), reason


def test_the_list_is_the_same_whatever_was_adopted_already() -> None:
    rows = [Row(id=f"{n:08}", name=f"t{n}", uid=f"old-{n}") for n in range(9)]
    tenants = [Present(name=f"t{n}", uid=f"new-{n}") for n in reversed(range(9))]
    before = adoptions(rows, tenants, "this")
    assert [one.id for one in before] == [row.id for row in rows]
    for done in range(10):
        half = [replace(row, uid=f"new-{n}", adopted_by="this") if n < done else row for n, row in enumerate(rows)]
        assert adoptions(half, tenants, "this") == before


def test_tenants_that_are_new_or_have_their_own_row_change_nothing_in_it() -> None:
    mine = Row(id="cccccccc", name="initech", uid="initech-1")
    tenants = [BACK, Present(name="initech", uid="initech-1"), Present(name="hooli", uid="hooli-1")]
    assert adoptions([ACME, mine], tenants) == (FOUND,)
