"""Models and CRDs agree about every object that the schema allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paybill.api import crd
from paybill.api.base import Resource
from paybill.api.kinds import KINDS
from paybill.api.plan import Plan
from tests.cases.objects import defaulted, objects

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(data=st.data())
def test_what_was_read_and_written_reads_the_same(kind: type[Resource], data: st.DataObject) -> None:
    read = kind.read(data.draw(objects(kind, status=True)))
    assert kind.read(read.wire()) == read
    assert kind.read(read.wire()).wire() == read.wire()
    assert json.loads(json.dumps(read.wire())) == read.wire()


@few
@given(data=st.data())
def test_defaults_of_the_server_are_those_of_the_model(kind: type[Resource], data: st.DataObject) -> None:
    written: dict[str, Any] = data.draw(objects(kind))
    stored = {**written, "spec": defaulted(crd.schema(kind)["properties"]["spec"], written["spec"])}
    assert kind.read(stored) == kind.read(written)
    if kind is Plan:
        assert Plan.read(stored).revision() == Plan.read(written).revision()
