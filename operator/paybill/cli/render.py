"""``paybill render``: the full list of resources of one tenant on one cloud, before anything is made.

It runs the very program that an engine would run, with a monitor in the cloud's place: no login, no state, no network.
Without a cluster it shows what a model is on a provider, with examples for what a Cell would give.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from paybill.api.cell import Cell, CellProvider
from paybill.api.failures import Blocked, Invalid
from paybill.api.limits import PRESETS, IsolationModel
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import contract_of
from paybill.cli.output import JSON, document, reported
from paybill.cli.render_view import VIEWS, as_json
from paybill.cluster.client import Cluster
from paybill.desired import names, stack_inputs
from paybill.desired.resource import Key
from paybill.desired.stack import DatabaseInputs, StackInputs
from paybill.engines.pulumi.rendering import rendering
from paybill.engines.rendered import RenderError, Rendering
from paybill.settings import Settings

PROVIDERS: tuple[CellProvider, ...] = tuple(one for one in get_args(CellProvider) if one != "Embedded")
REGIONS: dict[CellProvider, str] = {
    "AWS": "eu-central-1",
    "Azure": "westeurope",
    "GCP": "europe-west1",
    "OCI": "eu-frankfurt-1",
    "IBM": "eu-de",
}
"""A region to render in where none is named; Kubernetes has none."""
EXAMPLE_ID = "k3x9m2qd"
EXAMPLE_UID = "00000000-0000-0000-0000-000000000000"
TERRAFORM = "paybill.engines.terraform.rendering"

Word = TypeVar("Word", bound=str)


@click.command()
@click.argument("tenant", required=False)
@click.option("--provider", metavar="NAME", help=f"Without TENANT: {', '.join(PROVIDERS)}.")
@click.option("--model", metavar="NAME", help=f"Without TENANT: {', '.join(PRESETS)}.  [default: Silo]")
@click.option("--cell", metavar="NAME", help="The Cell; with TENANT: another one than its own.")
@click.option("--region", metavar="NAME", help="The provider's name of the region.")
@click.option(
    "--set", "foundation", metavar="NAME=VALUE", multiple=True,
    help="A value of the Cell's foundation; may be given several times.",
)  # fmt: skip
@click.option(
    "--output", "-o", type=click.Choice(["table", JSON, "mermaid", "dot"]), default="table", show_default=True
)
@kubeconfig_option
def render(
    *, tenant: str | None, provider: str | None, model: str | None, cell: str | None, region: str | None,
    foundation: Sequence[str], output: str, kubeconfig: Path | None,
) -> None:  # fmt: skip
    """List the infrastructure of TENANT, or of any tenant with --provider and --model; makes nothing."""
    with reported(output):
        given = dict(_pair(one) for one in foundation)
        engine = None
        if tenant is not None:
            if provider or model:
                raise Invalid("Contradiction", "TENANT has a provider and a model already: leave out the options")
            inputs, engine = ask(kubeconfig, lambda cluster: of_tenant(cluster, tenant, cell))
        else:
            inputs = example(provider, model, cell)
        inputs = inputs.model_copy(update={"foundation": inputs.foundation | given, "region": region or inputs.region})
        found = rendered(inputs, engine=engine, examples=tenant is None)
        if output == JSON:
            click.echo(document(as_json(inputs, found)))
            return
        for line in VIEWS[output](inputs, found):
            click.echo(line)


def example(provider: str | None, model: str | None, cell: str | None) -> StackInputs:
    """The inputs of a tenant that does not exist; raises Invalid for a provider or model nobody knows."""
    if provider is None:
        known = ", ".join(PROVIDERS)
        raise Invalid("NoProvider", f"name a TENANT, or a provider with --provider: {known}")
    where = _known("provider", provider, PROVIDERS)
    chosen: IsolationModel = _known("model", model or "Silo", tuple(PRESETS))
    compute, level = PRESETS[chosen]
    place = cell or "example"
    return StackInputs(
        provider=where,
        model=chosen,
        compute=compute,
        level=level,
        tenant_id=EXAMPLE_ID,
        tenant_uid=EXAMPLE_UID,
        installation="paybill",
        cell=place,
        region=REGIONS.get(where, ""),
        namespace=names.pool_namespace(place) if compute == "Shared" else names.namespace(EXAMPLE_ID),
        database=DatabaseInputs() if level == "Server" else None,
    )


async def of_tenant(cluster: Cluster, name: str, cell: str | None) -> tuple[StackInputs, str]:
    """The inputs of a tenant's stack, and the type of the engine that would make it."""
    contract = await contract_of(cluster, name)
    tenant, plan = contract.tenant, contract.plan
    status = tenant.status
    if status.id is None or plan is None or plan.isolation is None:
        raise Blocked("NotProvisioned", f"Tenant {name} has no id or no Plan yet, so nothing can be said of it")
    chosen = cell or (status.placement.cell if status.placement else None)
    place = await cluster.get(Key("Cell", "", chosen)) if chosen else None
    if place is None:
        raise Invalid("NotFound", f"there is no Cell {chosen}" if chosen else f"Tenant {name} is in no Cell yet")
    where = Cell.read(place)
    engine = where.spec.engine
    if engine is None or engine.type == "Embedded":
        made = "its tenants' own servers run on this machine" if engine else "nothing is made in it for single tenants"
        raise Blocked("NoProgram", f"Cell {chosen} has no cloud to render for: {made}")
    own = engine.module_path or engine.program_path
    if own is not None:
        raise Blocked("OwnProgram", f"Cell {chosen} has a program of its own, {own}: only built-in ones are rendered")
    compute, level = plan.isolation.resolved()
    identity = await _identity(cluster, status.id, name, tenant.metadata.uid or "")
    inputs = stack_inputs.build(identity, identity.tenant_uid, where, compute, level, plan, tenant.spec.deletion_policy)
    return inputs, engine.type


async def _identity(cluster: Cluster, tenant_id: str, name: str, uid: str) -> names.Identity:
    """As the tenant's namespace carries it: an adopted Tenant has another UID than what was made for it."""
    found = await cluster.get(Key("Namespace", "", names.namespace(tenant_id)))
    metadata = (found or {}).get("metadata", {})
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return names.Identity(
        id=tenant_id,
        tenant_name=name,
        tenant_uid=annotations.get(names.TENANT_UID_ANNOTATION, uid),
        installation=labels.get(names.INSTALLATION_LABEL, Settings().installation),
    )


def rendered(inputs: StackInputs, *, engine: str | None, examples: bool) -> Rendering:
    """The rendering by the engine that serves the provider; raises Blocked with why there is none."""
    try:
        if engine == "Terraform" or inputs.provider == "IBM":
            module = _terraform()
            stands_in = module.EXAMPLES.get(inputs.provider, {}) if examples else {}
            whole = inputs.model_copy(update={"foundation": stands_in | inputs.foundation})
            return Rendering(resources=tuple(module.render(whole)))
        return rendering(inputs, examples=examples)
    except RenderError as failure:
        raise Blocked(failure.reason, str(failure)) from failure


def _terraform() -> Any:
    """The module that renders a Terraform module: the engine for IBM, for which there is no Pulumi SDK."""
    try:
        return importlib.import_module(TERRAFORM)
    except ModuleNotFoundError as failure:
        lacking = "this version cannot do" if failure.name == TERRAFORM else f"needs {failure.name}, which is missing"
        raise RenderError("TerraformOnly", f"IBM is rendered from the Terraform module, which {lacking}") from failure


def _known(what: str, word: str, known: Sequence[Word]) -> Word:
    """The word as it is spelt, whatever the case it was typed in; raises Invalid with those there are."""
    found = next((one for one in known if one.lower() == word.lower()), None)
    if found is None:
        raise Invalid("Unknown", f"there is no {what} {word}; there are: {', '.join(known)}")
    return found


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise Invalid("Unknown", f"--set {text}: write NAME=VALUE")
    return name, value
