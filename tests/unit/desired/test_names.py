"""The names of things: from the opaque id, short enough for everything that carries them, and never two for one."""

from __future__ import annotations

import re

import pytest

from paybill.desired import names, namespace, revision
from paybill.desired.rbac import pool_operator
from tests.unit.desired.tenants import ACME, PLAN

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (names.namespace("k3x9m2qd"), "t-k3x9m2qd"),
        (names.binding("k3x9m2qd"), "t-k3x9m2qd-db"),
        (names.provider_binding("k3x9m2qd"), "t-k3x9m2qd-db-provider"),
        (names.entitlements("k3x9m2qd"), "k3x9m2qd-entitlements"),
        (names.pool_namespace("eu-west-1"), "paybill-pool-eu-west-1"),
        (names.revision("growth", "0123456789"), "plan-growth-0123456789"),
    ],
)
def test_names_are_what_people_will_look_for(made, name):
    assert made == name


@pytest.mark.parametrize("length", [1, 49, 50, 51, 62, 63])
def test_a_long_cell_gets_a_namespace_that_the_api_server_takes(length):
    name = names.pool_namespace("c" * length)
    assert LABEL.fullmatch(name)
    assert name.startswith("paybill-pool-ccc"[: 13 + min(length, 3)])


@pytest.mark.parametrize("length", [1, 46, 47, 48, 63])
def test_a_long_plan_keeps_its_revision_readable(length):
    name = names.revision("p" * length, "0123456789")
    assert LABEL.fullmatch(name)
    assert name.endswith("-0123456789")


def test_only_what_does_not_fit_is_cut():
    assert names.pool_namespace("c" * 49) == "paybill-pool-" + "c" * 49
    assert re.fullmatch("paybill-pool-c{39}-[0-9a-f]{10}", names.pool_namespace("c" * 50))
    assert names.revision("p" * 46, "0123456789") == "plan-" + "p" * 46 + "-0123456789"
    assert re.fullmatch("plan-p{36}-[0-9a-f]{10}-0123456789", names.revision("p" * 47, "0123456789"))


def test_long_names_that_differ_only_at_their_end_stay_apart():
    assert names.pool_namespace("c" * 62 + "a") != names.pool_namespace("c" * 62 + "b")
    assert names.revision("p" * 62 + "a", "0123456789") != names.revision("p" * 62 + "b", "0123456789")


def test_nobody_can_call_a_cell_like_the_cut_name_of_another():
    cut = names.pool_namespace("victim" * 10)
    assert names.pool_namespace(cut.removeprefix("paybill-pool-")) != cut


def test_a_cut_name_is_the_same_every_time():
    assert names.pool_namespace("c" * 63) == "paybill-pool-" + "c" * 39 + "-bfedee7f8b"


def test_everything_of_a_tenant_carries_its_marks():
    assert names.labels(ACME) == {
        "app.kubernetes.io/managed-by": "paybill",
        "paybill.dev/installation": "paybill",
        "paybill.dev/tenant": "k3x9m2qd",
    }
    assert names.tenant_annotations(ACME) == {
        "paybill.dev/tenant-name": "acme", "paybill.dev/tenant-uid": ACME.tenant_uid,
    }  # fmt: skip


def test_what_a_cell_shares_is_in_the_namespace_that_is_made_for_it():
    cell = "c" * 63
    pool = namespace.build_pool(cell, "paybill")
    assert pool["metadata"]["labels"]["paybill.dev/cell"] == cell
    assert pool_operator(cell, "paybill", "system", "operator")["metadata"]["namespace"] == pool["metadata"]["name"]


def test_a_revision_says_whose_it_is_in_full():
    named = PLAN.model_copy(update={"metadata": PLAN.metadata.model_copy(update={"name": "p" * 63})})
    made = revision.build(named, "0123456789", "system", "paybill")
    assert made["metadata"]["labels"]["paybill.dev/plan"] == made["data"]["plan"] == "p" * 63
    assert made["revision"] == PLAN.metadata.generation
    assert made["data"]["content"] == PLAN.content()
