"""Rows of objects: the whole content comes back, and what tenants have in common is kept once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from paybill.cluster import rows
from paybill.cluster.rows import Contents
from paybill.desired import names, quota

UIDS = iter(range(1_000_000))


def sent(obj: dict[str, Any]) -> dict[str, Any]:
    """As the API server sends it."""
    made = {"uid": f"u{next(UIDS)}", "resourceVersion": "7", "managedFields": [{"manager": "paybill"}]}
    return {**obj, "metadata": {**obj["metadata"], **made}}


def limits(tenant_id: str) -> dict[str, Any]:
    identity = names.Identity(id=tenant_id, tenant_name="acme", tenant_uid="u-1", installation="paybill")
    return quota.build_limits(identity)


def whole(obj: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name != "apiVersion"}


def test_two_tenants_limits_are_the_same_bytes_and_come_back_as_their_own():
    contents = Contents()
    one, other = contents.row(sent(limits("k3x9m2qd"))), contents.row(sent(limits("aaaaaaaa")))
    assert one.content is other.content
    assert one.parsed() == whole(limits("k3x9m2qd"))
    assert other.parsed() == whole(limits("aaaaaaaa"))
    assert (one.owner, other.owner) == ("k3x9m2qd", "aaaaaaaa")


def test_an_object_without_a_mark_is_nobodys_and_kept_as_it_is():
    obj = {"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b", "labels": {"x": "y"}}, "data": {"k": "v"}}
    row = Contents().row(sent(obj))
    assert row.owner is None
    assert row.parsed() == obj


@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4),
    st.from_regex(r"[0-9a-z]{8}", fullmatch=True),
)
def test_whatever_is_in_it_comes_back(data, owner):
    labels = {names.TENANT_LABEL: owner}
    obj = {
        "kind": "ConfigMap",
        "metadata": {"name": f"{owner}-x", "labels": labels},
        "data": data | {"\0": f"\0{owner}"},
    }
    assert Contents().row(sent(obj)).parsed() == obj


def test_what_was_shared_once_does_not_pile_up(monkeypatch):
    monkeypatch.setattr(rows, "_SHARED_AT_MOST", 10)
    contents = Contents()
    for number in range(100):
        obj = {"kind": "ConfigMap", "metadata": {"name": f"n{number}"}}
        assert contents.row(sent(obj)).parsed() == obj
    assert len(contents._shared) <= 10
