"""Whatever Cells, Plans and ids are called: names are DNS labels, labels are valid, and two things never share one."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from paybill.api.tenant import ID_PATTERN
from paybill.desired import handover, names, namespace, network, quota, rbac, revision
from tests.unit.desired.tenants import NETWORK, OWNERS, PLAN, QUOTA

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")

labels = st.from_regex("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
long = st.builds(lambda stem, end: f"{stem * 60}"[:61] + end, labels, st.sampled_from(["aa", "ab", "ba"]))
anything = st.one_of(labels, long)
ids = st.from_regex(ID_PATTERN, fullmatch=True)
revisions = st.from_regex("[0-9a-f]{10}", fullmatch=True)


@given(anything, anything)
@example("c" * 50, "c" * 39 + "-" + "0" * 10)
def test_two_cells_never_share_a_namespace(one, other):
    first, second = names.pool_namespace(one), names.pool_namespace(other)
    assert LABEL.fullmatch(first)
    assert LABEL.fullmatch(second)
    assert (first == second) is (one == other)
    assert not first.startswith("t-")


@given(st.tuples(anything, revisions), st.tuples(anything, revisions))
def test_two_revisions_never_share_an_object(one, other):
    first, second = names.revision(*one), names.revision(*other)
    assert LABEL.fullmatch(first)
    assert LABEL.fullmatch(second)
    assert (first == second) is (one == other)


@given(ids, ids)
def test_two_tenants_share_no_name_at_all(one, other):
    made = [
        {names.namespace(each), names.binding(each), names.provider_binding(each), names.entitlements(each)}
        for each in (one, other)
    ]
    assert all(LABEL.fullmatch(name) for each in made for name in each)
    assert all(len(each) == 4 for each in made)
    assert one == other or not made[0] & made[1]


@given(ids, anything, anything, st.text(max_size=300), st.sampled_from(quota.Pods))
def test_no_label_takes_text_that_is_no_label_value(tenant_id, cell, plan, typed, pods):
    """What people type freely (a name in annotations, a displayName) never reaches a label or a name."""
    tenant = names.Identity(id=tenant_id, tenant_name=typed, tenant_uid=typed, installation="paybill")
    place = names.namespace(tenant_id)
    named = PLAN.metadata.model_copy(update={"name": plan})
    sold = PLAN.spec.model_copy(update={"display_name": typed})
    objects = [
        namespace.build(tenant), namespace.build_pool(cell, "paybill"), quota.build(tenant, QUOTA, pods),
        quota.build_limits(tenant), network.build(tenant, NETWORK, []), rbac.service_account(tenant),
        rbac.owners(tenant, OWNERS), rbac.operator(tenant, "system", "operator"),
        rbac.pool_operator(cell, "paybill", "system", "operator"), handover.binding(tenant, place, {}),
        handover.provider_binding(tenant, "system", {}), handover.entitlements(tenant, place, "Active", "full", ()),
        revision.build(PLAN.model_copy(update={"metadata": named, "spec": sold}), "0123456789", "system", "paybill"),
    ]  # fmt: skip
    for obj in objects:
        metadata = obj["metadata"]
        assert LABEL.fullmatch(metadata["name"])
        assert LABEL.fullmatch(metadata.get("namespace", "x"))
        assert all(VALUE.fullmatch(value) for value in metadata["labels"].values())
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "paybill"
        assert json.loads(json.dumps(obj)) == obj
