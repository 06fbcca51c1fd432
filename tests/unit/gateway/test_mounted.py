"""A gateway takes what the operator writes as it is, and nothing that is another's or broken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg.conninfo import conninfo_to_dict

from paybill.agents.facts import Schema
from paybill.api.agent_policy import AgentPolicy
from paybill.api.failures import Invalid
from paybill.desired import agent_files
from paybill.desired.agent_files import Entry
from paybill.desired.handover import Endpoint
from paybill.gateway.mounted import read
from tests.unit.gateway.test_toolbox import ORDERS, POLICY

TENANT = "k3x9m2qd"
ENDPOINT = Endpoint(host="10.0.0.1", port=5432, database="own", sslmode="verify-full", ca="PEM")


def files(agent="support", account="bot", login="", reads="Gate", endpoint=ENDPOINT):
    spec = {
        **POLICY, "agent": agent, "subjects": [{"serviceAccount": {"namespace": "t", "name": account}}],
        "enforcement": {"reads": reads},
    }  # fmt: skip
    return agent_files.files(
        Entry(
            policy=AgentPolicy.model_validate({"metadata": {"name": "one", "namespace": "t"}, "spec": spec}),
            tables=Schema(name="t_shop", collections=(ORDERS,)).model_dump_json(), endpoint=endpoint,
            login=login or f"pba_{TENANT}_a_{agent}", password="x",
        )
    )  # fmt: skip


def mounted(folder, data):
    for name, text in data.items():
        (folder / name).write_text(text)
    return read(folder, TENANT)


def test_what_the_operator_writes_is_served(tmp_path):
    found = mounted(tmp_path, files() | files("billing", "clerk"))
    assert set(found.agents) == {"support", "billing"}
    assert found.agent_of("system:serviceaccount:t:clerk").name == "billing"
    assert found.agent_of("system:serviceaccount:t:stranger") is None
    assert list(found.agents["support"].toolbox.offered) == ["orders_get", "orders_list", "orders_update"]


def test_the_servers_own_authority_is_the_one_beside_and_else_the_uri_says(tmp_path):
    told = conninfo_to_dict(mounted(tmp_path, files()).agents["support"].uri)
    assert (told["sslmode"], told["sslrootcert"]) == ("verify-full", str(tmp_path / "ca.crt"))
    (tmp_path / "ca.crt").unlink()
    public = files(endpoint=replace(ENDPOINT, ca=None))
    assert conninfo_to_dict(mounted(tmp_path, public).agents["support"].uri)["sslrootcert"] == "system"


def test_an_agent_that_reads_for_itself_is_not_served_and_keeps_nobody_else_out(tmp_path):
    assert set(mounted(tmp_path, files() | files("reader", "reader", reads="Grant")).agents) == {"support"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (files(login="postgres"), "not of the login of agent support"),
        (files(login="pba_k3x9m2qd_a_supporter"), "not of the login of agent support"),
        (files(login="pba_zzzzzzzz_a_support"), "not of the login of agent support"),
        (files() | files("billing"), "is a subject of agent"),
        (files() | {"support.schema.json": "[]"}, "holds no tables"),
        (files() | {"support.uri": "postgresql://[x"}, "no connection string"),
        (files() | {"support.policy.yaml": "{"}, "is no YAML"),
        (files() | {"billing.policy.yaml": files()["support.policy.yaml"]}, "holds the policy of agent support"),
    ],
    ids=["an administrator's", "another agent's", "another tenant's", "two of one account", "tables", "uri", "yaml",
         "another's policy"],
)  # fmt: skip
def test_what_is_not_the_agents_is_refused_whole(tmp_path, data, said):
    with pytest.raises(Invalid, match=said) as refused:
        mounted(tmp_path, data)
    assert refused.value.reason in ("MountUnreadable", "SubjectOfTwoAgents")
