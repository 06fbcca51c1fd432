"""``paybill agents waiting`` and ``approve``: what agents wait with for a person, and the person's word.

What is shown is what the operator wrote on the AgentRun, which nobody else may write; the Approval names its digest, so
that nothing else than this can come of it. It is written in the name of whoever calls, and the API server says whether
they may.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from paybill.agents import showing
from paybill.api import duration
from paybill.api.agent_run import AgentRun, RunApproval
from paybill.api.approval import Decision
from paybill.api.base import API_VERSION
from paybill.api.failures import Blocked, Invalid
from paybill.cli import approving
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import utcnow
from paybill.cli.output import JSON, WIDE, age, columns, document, fields, moment, reported, table_output, text_output
from paybill.cluster.client import Cluster

_TITLES = ("NAMESPACE", "RUN", "POLICY", "WORKFLOW", "STEP", "USES", "ASKED BY", "WAITS")
_WIDE = ("DEADLINE", "DIGEST")
_namespace = click.option("--namespace", "-n", metavar="NAME", help="Where the AgentRun is; else every namespace.")


@click.command()
@_namespace
@table_output
@kubeconfig_option
def waiting(*, namespace: str | None, output: str, kubeconfig: Path | None) -> None:
    """List the runs of agents that wait for a person."""
    with reported(output):
        found = ask(kubeconfig, lambda cluster: _waiting(cluster, namespace))
    if output == JSON:
        click.echo(document({"waiting": [_as_json(run, asked) for run, asked in found]}))
        return
    if not found:
        click.echo("No agent waits for a person.", err=True)
        return
    titles = (*_TITLES, *(_WIDE if output == WIDE else ()))
    for line in columns(titles, (_row(run, asked)[: len(titles)] for run, asked in found)):
        click.echo(line)


@click.command()
@click.argument("run")
@_namespace
@click.option("--deny", is_flag=True, help="It may not be done: the run ends.")
@click.option("--digest", metavar="DIGEST", help="Only if what waits has this digest.")
@click.option("--expires", default="10m", show_default=True, metavar="SPAN", help="How long the word holds.")
@click.option("--dry-run", is_flag=True, help="Show what waits, and write nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--wait", default=60.0, show_default=True, metavar="SECONDS", help="How long to wait for the operator.")
@text_output
@kubeconfig_option
def approve(
    *, run: str, namespace: str | None, deny: bool, digest: str | None, expires: str, dry_run: bool, yes: bool,
    wait: float, output: str, kubeconfig: Path | None,
) -> None:  # fmt: skip
    """Allow the one call that RUN waits with, or deny it."""
    with reported(output):
        decision: Decision = "Deny" if deny else "Approve"
        holds = duration.parse(expires)
        found, asked = ask(kubeconfig, lambda cluster: _one(cluster, run, namespace, digest))
        for line in _shown(found, asked):
            click.echo(line, err=output == JSON)
        if not dry_run and not yes:
            click.confirm(f"{decision} this?", abort=True, err=True)
        name = None
        if not dry_run:
            name = ask(kubeconfig, lambda cluster: _decide(cluster, found, asked, decision, holds, wait))
        if output == JSON:
            told = {"decision": decision, "approval": name, "dryRun": dry_run}
            click.echo(document(_as_json(found, asked) | told))
        elif name is not None:
            click.echo(f"Approval {name}: the run was told", err=True)


async def _waiting(cluster: Cluster, namespace: str | None) -> list[tuple[AgentRun, RunApproval]]:
    """The runs that wait, the longest first."""
    runs = [AgentRun.read(obj) for obj in await cluster.list("AgentRun", namespace=namespace or "")]
    found = [(run, asked) for run in runs if (asked := _asked(run)) is not None]
    return sorted(found, key=lambda one: (str(moment(one[1].asked_time)), one[0].metadata.key))


def _asked(run: AgentRun) -> RunApproval | None:
    return run.status.approval if run.status.phase == "AwaitingApproval" else None


async def _one(cluster: Cluster, name: str, namespace: str | None, digest: str | None) -> tuple[AgentRun, RunApproval]:
    """The run of this name and what it waits with; raises Invalid (``NotFound``, ``WhichRun``, ``NotAwaited``)."""
    listed = await cluster.list("AgentRun", namespace=namespace or "", fields=f"metadata.name={name}")
    runs = [AgentRun.read(obj) for obj in listed]
    if not runs:
        raise Invalid("NotFound", f"there is no AgentRun {name} in {namespace or 'any namespace'}")
    if len(runs) > 1:
        places = ", ".join(run.metadata.namespace for run in runs)
        raise Invalid("WhichRun", f"there is an AgentRun {name} in {places}: say which with --namespace")
    (run,) = runs
    asked = _asked(run)
    if asked is None:
        phase = run.status.phase or "Pending"
        raise Invalid("NotAwaited", f"AgentRun {run.metadata.key} waits for no approval: it is {phase}")
    if digest is not None and digest != asked.digest:
        raise Blocked("DigestMismatch", f"what AgentRun {run.metadata.key} waits with has digest {asked.digest}")
    return run, asked


async def _decide(
    cluster: Cluster, run: AgentRun, asked: RunApproval, decision: Decision, holds: timedelta, wait: float
) -> str:
    """Write the Approval and wait until the run was told of it; returns its name."""
    told = run.metadata
    name = f"{told.name[:40].rstrip('-')}-{asked.digest.removeprefix('sha256:')[:16]}-{secrets.token_hex(2)}"
    spec = {
        "subject": {"kind": "AgentRun", "namespace": told.namespace, "name": told.name, "uid": told.uid},
        "decision": decision,
        "digest": asked.digest,
        "approver": await cluster.whoami(),
        "expiresTime": moment(utcnow() + holds),
    }
    await cluster.create({"apiVersion": API_VERSION, "kind": "Approval", "metadata": {"name": name}, "spec": spec})
    await approving.used(cluster, name, wait)
    return name


def _shown(run: AgentRun, asked: RunApproval) -> Iterator[str]:
    """What is asked, for people; the operator has written out whatever a terminal would obey."""
    spec = run.spec
    yield f"AgentRun {run.metadata.key} waits at step {asked.step} for a person to allow:"
    yield f"  {asked.uses}"
    for one in asked.arguments:
        notes = ["may be a stranger's text"] if one.untrusted else []
        notes += [f"cut: it has {one.characters} characters"] if one.characters is not None else []
        yield f"    {one.name} = {one.value}" + (f"   <- {'; '.join(notes)}" if notes else "")
    yield from fields((
        ("asked by", showing.word(spec.requested_by)),
        ("policy", spec.policy_ref.name),
        ("workflow", spec.workflow_ref.name),
        ("waits since", moment(asked.asked_time)),
        ("run ends", moment(run.status.deadline_time)),
        ("digest", asked.digest),
    ))  # fmt: skip


def _row(run: AgentRun, asked: RunApproval) -> tuple[object, ...]:
    spec = run.spec
    since = age(asked.asked_time, utcnow())
    return (
        run.metadata.namespace, run.metadata.name, spec.policy_ref.name, spec.workflow_ref.name, asked.step, asked.uses,
        showing.word(spec.requested_by), since, moment(run.status.deadline_time), asked.digest,
    )  # fmt: skip


def _as_json(run: AgentRun, asked: RunApproval) -> dict[str, Any]:
    return {
        "namespace": run.metadata.namespace,
        "run": run.metadata.name,
        "uid": run.metadata.uid,
        "policy": run.spec.policy_ref.name,
        "workflow": run.spec.workflow_ref.name,
        "requestedBy": run.spec.requested_by,
        "deadlineTime": run.status.deadline_time,
        **asked.wire(),
    }
