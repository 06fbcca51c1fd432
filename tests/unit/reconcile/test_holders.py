"""Whose lock of a stack may be freed: who is proven gone, and nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from paybill.control.operations import Holder
from paybill.desired.resource import Key
from paybill.engines import runner
from paybill.reconcile import holders

HERE = runner.holder_here()
ELSEWHERE = "paybill@operator-1"


class Cluster:
    """Knows some pods of the operator's namespace."""

    def __init__(self, *pods: str) -> None:
        self.pods = {Key("Pod", "paybill-system", pod) for pod in pods}

    async def get(self, key: Key) -> dict[str, Any] | None:
        return {"metadata": {"name": key.name}} if key in self.pods else None


def world(cluster: Cluster, *known: Holder) -> Any:
    async def found(tenant_id: str) -> tuple[Holder, ...]:
        assert tenant_id == "k3x9m2qd"
        return known

    settings, store = SimpleNamespace(namespace="paybill-system"), SimpleNamespace(holders=found)
    return SimpleNamespace(cluster=cluster, settings=settings, operations=SimpleNamespace(store=store))


@pytest.mark.parametrize(
    ("known", "pods", "proven"),
    [
        ((), (), [HERE]),
        ((Holder(holder=ELSEWHERE, pod="operator-1", lost=False),), ("operator-1",), sorted([HERE, ELSEWHERE])),
        ((Holder(holder=ELSEWHERE, pod="operator-1", lost=True),), ("operator-1",), [HERE]),
        ((Holder(holder=ELSEWHERE, pod="operator-1", lost=True),), ("operator-2",), sorted([HERE, ELSEWHERE])),
        ((Holder(holder=ELSEWHERE, pod=None, lost=True),), (), [HERE]),
    ],
    ids=["nobody but us", "its end was seen", "its pod is there", "its pod is gone", "it was no pod"],
)
async def test_whose_lock_may_be_freed(known: tuple[Holder, ...], pods: tuple[str, ...], proven: list[str]) -> None:
    assert list(await holders.gone(world(Cluster(*pods), *known), "k3x9m2qd")) == proven


async def test_a_host_that_is_no_pod_of_ours_is_never_looked_for_among_the_pods() -> None:
    assert await holders.ours(world(Cluster())) == (HERE, None)
    assert await holders.ours(world(Cluster(runner.host()))) == (HERE, runner.host())
