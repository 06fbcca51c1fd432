"""The Subscription that was bound a moment ago."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from paybill.api.failures import Retry
from paybill.cluster.declared import Declared
from paybill.lifecycle.binding import Candidate
from paybill.reconcile.contract import still_there
from paybill.reconcile.world import World
from tests.unit.lifecycle.contracts import START

BOUND = Candidate(name="acme", uid="uid-1", created=START)


def world(*, uid: str | None) -> World:
    """One in which that Subscription has this UID, or is gone."""
    declared = Declared()
    if uid is not None:
        metadata = {"name": "acme", "uid": uid, "resourceVersion": "1"}
        spec: dict[str, Any] = {"tenantRef": {"name": "acme"}, "planRef": {"name": "growth"}}
        declared.put("Subscription", {"metadata": metadata, "spec": spec})
    return cast("World", SimpleNamespace(declared=declared))


def test_it_is_taken_as_it_is_now() -> None:
    assert still_there(world(uid="uid-1"), BOUND).metadata.uid == "uid-1"


@pytest.mark.parametrize("uid", [None, "uid-2"], ids=["gone", "made anew"])
def test_one_that_went_meanwhile_is_looked_at_again_at_once(uid: str | None) -> None:
    with pytest.raises(Retry, match="went while") as failed:
        still_there(world(uid=uid), BOUND)
    assert failed.value.after is not None
    assert failed.value.after < 1
