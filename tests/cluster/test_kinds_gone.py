"""A kind is not served any more: the operator ends, rather than look alive without its eyes, and starts when it is."""

from __future__ import annotations

import asyncio

from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.local import bootstrap
from tests.cluster.api import Api, accepted
from tests.cluster.customers import Customers
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

KIND = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/approvals.paybill.dev"


async def test_an_operator_whose_kind_is_gone_ends_and_its_successor_waits_for_the_kind(
    api: Api, operator: Operator, customers: Customers, control_plane: LocalThread, name: str
) -> None:
    steady = await customers.onboard()
    accepted(*await api.call("DELETE", KIND))
    try:
        await until(lambda: not operator.running, seconds=30)
        operator.start(wait=False)
        await until(lambda: operator.running)
        assert not operator.leads
    finally:
        async with open_session(control_plane.kubeconfig) as session:
            await bootstrap.apply_crds(Cluster(session))
    await asyncio.to_thread(operator.wait_until_leading)
    assert (await customers.ready(steady.name)).id == steady.id
