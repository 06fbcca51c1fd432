"""``paybill render`` and what it stands on: a program runs with a monitor in the cloud's place."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from paybill.api.failures import Blocked, Invalid
from paybill.cli.main import main
from paybill.cli.render import PROVIDERS, example, of_tenant, rendered
from paybill.cli.render_view import VIEWS, as_json
from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.rendering import render, rendering
from paybill.engines.rendered import RenderError
from tests.engines.rendered import drawn, inputs, needs

pytestmark = [needs("AWS"), needs("Kubernetes")]

NEVER_IMPORTS = """
import sys
import paybill.app, paybill.cli.run, paybill.cli.render
print([name for name in sys.modules if name == "pulumi" or name.startswith(("pulumi_", "pulumi."))])
"""

SMALL_PROGRAMS = """
import json
import pulumi
from paybill.engines.pulumi.recording import record
from paybill.engines.rendered import RenderError

class Thing(pulumi.CustomResource):
    def __init__(self, name, props=None, opts=None):
        super().__init__("test:index:Thing", name, props or {}, opts)

def twice():
    Thing("one")
    Thing("one")
    return {}

def looks_up():
    pulumi.runtime.invoke("test:index:getThing", {}).value
    return {}

def plain():
    cloud = pulumi.ProviderResource("test", "cloud", {})
    told = {"password": pulumi.Output.secret("hunter2"), "size": 3}
    above = Thing("above", told, pulumi.ResourceOptions(provider=cloud))
    Thing("below", {"of": above.id, "deep": {"of": [above.urn]}}, pulumi.ResourceOptions(
        provider=cloud, protect=True, retain_on_delete=True, ignore_changes=["z", "a"], parent=above,
        custom_timeouts=pulumi.CustomTimeouts(create="60m"), depends_on=[above],
    ))
    return {"bucket": above.id}

def answer(program, preview=False):
    try:
        resources, handed = record(program, project="p", stack="s", region="", preview=preview)
        return {"resources": [one.model_dump(mode="json") for one in resources], "handed": handed}
    except Exception as failure:
        return {"reason": getattr(failure, "reason", type(failure).__name__), "message": str(failure)}

print(json.dumps({
    "plain": answer(plain), "preview": answer(plain, True), "twice": answer(twice), "looks up": answer(looks_up),
}))
"""


@pytest.fixture(scope="module")
def small():
    done = subprocess.run([sys.executable, "-c", SMALL_PROGRAMS], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_operator_imports_no_pulumi():
    done = subprocess.run([sys.executable, "-c", NEVER_IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_resources_of_one_address_are_an_error(small):
    assert small["twice"]["reason"] == "DuplicateResource"
    assert "urn:pulumi:s::p::test:index:Thing::one" in small["twice"]["message"]


def test_a_program_that_asks_the_cloud_is_an_error(small):
    assert "test:index:getThing" in small["looks up"]["message"]


def test_options_and_needs_are_written_down(small):
    _, below, above = sorted(small["plain"]["resources"], key=lambda one: one["name"] == "above")
    assert below["options"] == {
        "protect": True,
        "retain": True,
        "provider": "urn:pulumi:s::p::pulumi:providers:test::cloud",
        "parent": above["address"],
        "ignore_changes": ["a", "z"],
        "timeouts": {"create": "60m"},
    }
    assert below["depends_on"] == [above["address"]]
    assert below["address"] == "urn:pulumi:s::p::test:index:Thing$test:index:Thing::below"
    assert (below["data"], above["data"]) == (True, False)


def test_secrets_are_masked_and_numbers_are_numbers(small):
    above = next(one for one in small["plain"]["resources"] if one["name"] == "above")
    assert above["inputs"] == {"password": "[secret]", "size": 3}


def test_in_a_preview_nothing_is_known_that_the_cloud_gives(small):
    below = next(one for one in small["preview"]["resources"] if one["name"] == "below")
    assert below["inputs"]["of"] == "[known later]"
    assert small["preview"]["handed"] == {}
    assert small["plain"]["handed"] == {"bucket": "thing-above"}


def test_a_process_of_its_own_renders_what_the_program_says():
    given = inputs("Kubernetes", "Silo", foundation={"storage_class": "fast", "operator_namespace": "paybill-system"})
    listed = render(given)
    disk = next(one for one in listed if one.name == "disk")
    assert disk.inputs["spec"]["storageClassName"] == "fast"
    assert rendering(given, examples=True).examples == {}


def test_without_its_foundation_it_says_what_the_cell_lacks():
    with pytest.raises(RenderError) as failure:
        rendering(inputs("Kubernetes", "Silo"))
    assert failure.value.reason == "FoundationMissing"
    assert "Cell example does not give operator_namespace" in str(failure.value)
    assert "spec.engine.foundation" in str(failure.value)


def test_a_provider_that_pulumi_does_not_serve_is_an_error():
    with pytest.raises(RenderError) as failure:
        rendering(inputs("IBM", "Silo"))
    assert failure.value.reason == "NoProgram"


@pytest.mark.parametrize("word", ["aws", "AWS", "Aws"])
def test_providers_and_models_are_known_in_any_case(word):
    assert example(word, "siLO", None).provider == "AWS"
    assert example(word, "siLO", None).model == "Silo"


@pytest.mark.parametrize(("provider", "model"), [("heroku", "Silo"), (None, None), ("aws", "island")])
def test_an_unknown_word_is_answered_with_the_known_ones(provider, model):
    with pytest.raises(Invalid) as failure:
        example(provider, model, None)
    known = ("Pooled", "Bridge", "Silo") if model == "island" else PROVIDERS
    assert all(one in failure.value.message for one in known)


def test_examples_that_stand_in_are_shown_as_such():
    text = "\n".join(VIEWS["table"](example("aws", "pooled", None), drawn("AWS", "Pooled")))
    assert "AWS Pooled" in text
    assert "  account_id=000000000000" in text
    assert "vpc_id" not in text  # a Pooled tenant asks for no network


def test_the_table_says_what_stays():
    lines = list(VIEWS["table"](example("aws", "silo", None), drawn("AWS", "Silo")))
    row = next(line for line in lines if line.startswith("aws:rds:Instance "))
    assert "protected, stays" in row
    assert "Key key" in row


@pytest.mark.parametrize(("view", "arrow"), [("mermaid", " --> "), ("dot", " -> ")])
def test_graphs_lead_from_what_needs_to_what_is_needed(view, arrow):
    lines = list(VIEWS[view](example("kubernetes", "silo", None), drawn("Kubernetes", "Silo")))
    ids = {
        name: next(line.split("[")[0].strip("( ") for line in lines if f'{name}"' in line) for name in ("disk", "place")
    }
    assert any(line.strip(" ;") == f"{ids['disk'].strip()}{arrow}{ids['place'].strip()}" for line in lines)


def test_json_has_everything():
    content = as_json(example("aws", "silo", None), drawn("AWS", "Silo"))
    assert StackInputs.model_validate(content["inputs"]).digest() == content["digest"]
    assert {"resources", "outputs", "examples"} <= set(content)


def test_the_command_renders_and_takes_values():
    done = CliRunner().invoke(
        main,
        ["render", "--provider", "kubernetes", "--set", "storage_class=mine", "--output", "json"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    content = json.loads(done.output)
    assert content["examples"] == {"operator_namespace": "paybill-system"}
    assert any(one["inputs"].get("spec", {}).get("storageClassName") == "mine" for one in content["resources"])


def test_the_command_says_what_is_wrong():
    done = CliRunner().invoke(main, ["render", "--provider", "heroku", "--output", "json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["error"]["reason"] == "Unknown"


ENGINE = {"type": "Pulumi", "state": {"url": "s3://states/paybill"}, "foundation": {"storage_class": "fast"}}


def cluster(*, engine=ENGINE, status=None, kind="Silo"):
    """Answers what the command asks of a cluster."""
    objects = {
        ("Tenant", "acme"): {
            "metadata": {"name": "acme", "uid": "now"},
            "spec": {"deletionPolicy": "Delete"},
            "status": {"id": "k3x9m2qd", "placement": {"cell": "here"}} if status is None else status,
        },
        ("Cell", "here"): {"metadata": {"name": "here"}, "spec": {"provider": "Kubernetes", "engine": engine}},
        ("Plan", "team"): {"metadata": {"name": "team"}, "spec": {"isolation": {"model": kind}, "tier": "gold"}},
        ("Namespace", "t-k3x9m2qd"): {
            "metadata": {
                "labels": {"paybill.dev/installation": "house"},
                "annotations": {"paybill.dev/tenant-uid": "first"},
            }
        },
    }
    subscription = {
        "metadata": {"name": "acme", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"tenantRef": {"name": "acme"}, "planRef": {"name": "team"}, "payment": {"provider": "Manual"}},
    }

    async def get(key):
        return objects.get((key.kind, key.name))

    async def listing(kind):
        return [subscription] if kind == "Subscription" else [objects["Tenant", "acme"]]

    return SimpleNamespace(get=get, list=listing)


def test_a_tenant_is_rendered_from_its_cell_plan_and_marks():
    found, engine = asyncio.run(of_tenant(cluster(), "acme", None))
    assert engine == "Pulumi"
    assert (found.provider, found.model, found.cell, found.tenant_id) == ("Kubernetes", "Silo", "here", "k3x9m2qd")
    assert (found.tenant_uid, found.installation) == ("first", "house")
    assert found.foundation == {"storage_class": "fast"}
    assert not found.retain


@pytest.mark.parametrize(
    ("given", "cell", "reason"),
    [
        ({"status": {}}, None, "NotProvisioned"),
        ({}, "nowhere", "NotFound"),
        ({"status": {"id": "k3x9m2qd"}}, None, "NotFound"),
        ({"engine": None}, None, "NoProgram"),
        ({"engine": {"type": "Embedded"}}, None, "NoProgram"),
    ],
)
def test_what_cannot_be_rendered_is_said(given, cell, reason):
    with pytest.raises((Blocked, Invalid)) as failure:
        asyncio.run(of_tenant(cluster(**given), "acme", cell))
    assert failure.value.reason == reason


def test_what_terraform_makes_is_rendered_by_terraform(monkeypatch):
    shown = drawn("Kubernetes", "Silo").resources
    module = SimpleNamespace(render=lambda given: list(shown), EXAMPLES={})
    monkeypatch.setitem(sys.modules, "paybill.engines.terraform.rendering", module)
    assert rendered(inputs("IBM", "Silo"), engine=None, examples=True).resources == shown
    assert rendered(inputs("AWS", "Silo"), engine="Terraform", examples=False).resources == shown
