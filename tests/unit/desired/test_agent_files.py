"""What a gateway is given: files that it reads as they were meant, of those agents that are let in and of no other."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from paybill.api.agent_policy import AgentPolicy
from paybill.api.failures import Blocked
from paybill.desired import agent_files
from paybill.desired.agent_files import Entry
from paybill.desired.resource import texts
from tests.unit.desired.tenants import ACME, ENDPOINT, SYSTEM


def policy(agent: str = "support", value: str = "eu") -> AgentPolicy:
    return AgentPolicy.model_validate({
        "metadata": {"name": f"the-{agent}", "namespace": "t-k3x9m2qd", "uid": "u-1", "labels": {"team": "a"}},
        "spec": {
            "tenantRef": {"name": "acme"},
            "agent": agent,
            "subjects": [{"serviceAccount": {"namespace": "t-k3x9m2qd", "name": "bot"}}],
            "collections": [{
                "name": "orders", "read": {"fields": ["id"]},
                "rows": {"all": [{"field": "a", "op": "eq", "value": value}]},
            }],
        },
        "status": {"login": "pba_k3x9m2qd_a_support"},
    })  # fmt: skip


def entry(agent: str = "support", password: str = "p@ss", value: str = "eu") -> Entry:
    return Entry(
        policy=policy(agent, value), tables='{"name":"t"}', endpoint=ENDPOINT, login=f"pba_k3x9m2qd_a_{agent}",
        password=password,
    )  # fmt: skip


def test_an_agent_has_three_files_and_the_servers_authority_is_beside_them():
    made = agent_files.files(entry())
    assert sorted(made) == ["ca.crt", "support.policy.yaml", "support.schema.json", "support.uri"]
    assert set(yaml.safe_load(made["support.policy.yaml"])) == {"apiVersion", "kind", "metadata", "spec"}
    bare = replace(entry(), endpoint=replace(ENDPOINT, ca=None))
    assert "ca.crt" not in agent_files.files(bare)


@given(st.text(max_size=20), st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_the_gateway_reads_the_policy_and_the_password_as_they_are(value, password):
    made = agent_files.files(entry(password=password, value=value))
    read = AgentPolicy.read(yaml.safe_load(made["support.policy.yaml"]))
    assert read.spec == policy(value=value).spec
    assert conninfo_to_dict(made["support.uri"])["password"] == password
    assert agent_files.password(made, "support") == password


def test_a_server_with_a_public_certificate_is_proved_by_the_systems_authorities():
    for ca, sslmode, roots in ((None, "verify-full", "system"), ("PEM", "verify-full", None), (None, "require", None)):
        one = replace(entry(), endpoint=replace(ENDPOINT, ca=ca, sslmode=sslmode))
        told = conninfo_to_dict(agent_files.files(one)["support.uri"])
        assert (told["sslmode"], told.get("sslrootcert")) == (sslmode, roots)


def test_agents_come_and_go_and_nothing_is_left_of_the_last_one():
    one = agent_files.let_in({}, entry("a"))
    two = agent_files.let_in(one, entry("a-b"))
    assert agent_files.agents(two) == ("a", "a-b")
    assert agent_files.let_in(two, entry("a")) == two, "who is in is in"
    assert agent_files.shut_out(two, "a-b") == one
    assert agent_files.shut_out(two, "b") == two
    assert agent_files.shut_out(one, "a") == {}


def test_more_than_a_secret_holds_is_refused_and_the_agent_is_named():
    large = replace(entry("large"), tables="x" * (agent_files.LARGEST - 4_000))
    there = agent_files.let_in({}, large)
    assert agent_files.let_in(agent_files.shut_out(there, "large"), entry("small"))
    with pytest.raises(Blocked, match="with agent second") as refused:
        agent_files.let_in(there, replace(entry("second"), tables="x" * 4_000))
    assert refused.value.reason == "AgentsTooLarge"


def test_the_secret_is_the_tenants_in_the_operators_namespace():
    made = agent_files.secret(ACME, SYSTEM, agent_files.files(entry()))
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("t-k3x9m2qd-agents", SYSTEM)
    assert made["metadata"]["labels"]["paybill.dev/tenant"] == ACME.id
    assert base64.b64decode(made["data"]["support.schema.json"]) == b'{"name":"t"}'
    assert texts(made) == agent_files.files(entry())


@pytest.mark.parametrize("uri", ["", "nonsense", "postgresql://[::1", "postgresql://user@host/db"])
def test_what_somebody_wrote_there_instead_holds_no_password(uri):
    assert agent_files.password({"support.uri": uri}, "support") == ""


def test_no_password_is_shown_with_the_value():
    assert "p@ss" not in repr(entry())
