"""``paybill agents gateway``: the process that a tenant's agents speak MCP to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from paybill.cli.until_told import until_told


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--tenant", required=True, metavar="ID", help="The tenant's opaque id: status.id of its Tenant.")
@click.option("--audience", required=True, help="What the agents' ServiceAccount tokens must be made for.")
@click.option(
    "--host-name", "hosts", multiple=True, required=True, metavar="NAME[:PORT]",
    help="How clients call the gateway, as their Host header has it; may be given several times.",
)  # fmt: skip
@click.option("--origin", "origins", multiple=True, help="A web page's origin that may call it; none by default.")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", default=8080, show_default=True, help="The port of MCP.")
@click.option("--metrics-port", default=9090, show_default=True, help="The port of metrics and probes.")
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True)
def gateway(
    *, folder: Path, tenant: str, audience: str, hosts: tuple[str, ...], origins: tuple[str, ...], listen: str,
    port: int, metrics_port: int, log_format: str,
) -> None:  # fmt: skip
    """Serve one tenant's agents over MCP, each with its own login (how-to/connect-an-agent.md).

    FOLDER has for each agent AGENT.policy.yaml, AGENT.schema.json and AGENT.uri, as a mounted Secret does. Tokens are
    reviewed by the API server; the gateway needs no other right there.
    """
    from paybill.api.failures import Failure
    from paybill.gateway.process import Settings
    from paybill.reconcile.log import configure

    settings = Settings(
        folder=folder, tenant=tenant, audience=audience, hosts=hosts, origins=origins, host=listen, port=port,
        metrics_port=metrics_port,
    )  # fmt: skip
    configure(log_format, "INFO")
    try:
        asyncio.run(_run(settings))
    except Failure as failure:
        raise click.ClickException(str(failure)) from failure


async def _run(settings: object) -> None:
    from paybill.gateway import process

    await until_told(lambda stop: process.run(settings, stop=stop))  # type: ignore[arg-type]
