"""``paybill up``, ``down``, ``kubeconfig`` and ``doctor``: the control plane on one machine, for people.

Progress goes to standard error and results to standard output, so ``--output json`` can be piped. What it takes to
start a control plane is imported by ``up`` alone: the others work without the extra ``local``.
"""

import asyncio
import dataclasses
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from paybill.api.failures import Blocked, Failure
from paybill.cli.output import document, reported, text_output
from paybill.local import running
from paybill.local.home import DEFAULT_NAME, Home
from paybill.local.running import RunningInstance

if TYPE_CHECKING:
    from paybill.local.doctor import Check
    from paybill.local.instance import Progress
    from paybill.local.supervisor import AfterStart, Ready

_SETTLE_SECONDS = 10.0
_STYLES = {"ok": "green", "warning": "yellow", "missing": "red"}

_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)

name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="Which instance; each has its own data and ports."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What ``up`` was asked for; all as given, ``timeout`` in seconds, ``name`` of the instance."""

    name: str
    detach: bool
    samples: Path | None
    agents: Path | None
    timeout: float
    output: str


Finish = Callable[[Request, RunningInstance, str], None]
"""Called last, with the instance that runs and how that came about: what else is to be done, then how to use it."""


def finish(request: Request, instance: RunningInstance, state: str) -> None:
    """The end of an ``up`` that does nothing but start the servers."""
    show(instance, request.output, state)


def up_command(after_start: "Callable[[Request], AfterStart] | None" = None, finish: Finish = finish) -> click.Command:
    """The command ``up``.

    ``after_start`` gives what is done once the servers answer and before the instance counts as ready. Samples and
    agents are in what it gets only where nobody else will see to them: in the foreground. Otherwise ``finish`` does,
    from the process that the user looks at.
    """

    @click.command()
    @click.option("--detach", is_flag=True, help="Return when everything is ready and leave it running.")
    @name_option
    @click.option("--samples", type=click.Path(exists=True, path_type=Path), help="Manifests to apply when it is up.")
    @click.option("--agents", type=_FOLDER, help="A folder with an AI agent's objects and tables, to show it at work.")
    @click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds until it must be ready.")
    @click.option("--webhook", is_flag=True, help="Also receive Stripe's events; without an account what you sign.")
    @click.option("--stripe-key", type=_FILE, help="A file with a key of Stripe's API, to follow events with.")
    @click.option("--stripe-signing", type=_FILE, help="A file with the endpoint's signing secret; else one is made.")
    @click.option("--signup", type=_FILE, help="A file with the template of who signs up by paying, YAML or JSON.")
    @text_output
    def up(
        *, detach: bool, name: str, samples: Path | None, agents: Path | None, timeout: float, webhook: bool,
        stripe_key: Path | None, stripe_signing: Path | None, signup: Path | None, output: str,
    ) -> None:  # fmt: skip
        """Start a Kubernetes control plane and a Postgres on this machine; Ctrl-C stops them.

        A second `up` finds the first and shows how to use it.
        """
        if not webhook and (stripe_key is not None or stripe_signing is not None):
            raise click.UsageError("--stripe-key and --stripe-signing are for --webhook: say that as well")
        if signup is not None and stripe_key is None:
            raise click.UsageError("--signup asks Stripe who paid: say --webhook and --stripe-key as well")
        request = Request(
            name=name, detach=detach, samples=samples, agents=agents, timeout=timeout, output=output
        )  # fmt: skip
        with reported(output):
            home = Home.of(name)
            _require_local()
            _require_agents(agents)
            left = dataclasses.replace(request, samples=None, agents=None) if detach else request
            hook = after_start(left) if after_start is not None else None
            try:
                start = _detach if detach else _foreground
                sys.exit(start(home, hook, request, finish))
            except Blocked as failure:
                if failure.reason != "AlreadyRunning":
                    raise
            finish(request, running.wait_until_ready(home, deadline=timeout), "runs already")

    return up


def _foreground(home: Home, hook: "AfterStart | None", request: Request, finish: Finish) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    done = dataclasses.replace(request, samples=None, agents=None)

    def ready(_: object) -> None:
        finish(done, _found(home), "is ready; Ctrl-C stops it")

    return _serve(home, progress, ready, hook, request.timeout)


def _detach(home: Home, hook: "AfterStart | None", request: Request, finish: Finish) -> int:
    from paybill.local import supervisor

    def work(report: "Progress", ready: "Ready") -> int:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        return _serve(home, report, ready, hook, request.timeout)

    home.create()
    supervisor.detach(work, log=home.logs / "supervisor.log", progress=progress)
    finish(request, running.wait_until_ready(home, deadline=_SETTLE_SECONDS), "is ready")
    return 0


def _serve(home: Home, report: "Progress", ready: "Ready", hook: "AfterStart | None", timeout: float) -> int:
    from paybill.local import supervisor
    from paybill.local.instance import Instance

    after_start = hook or supervisor.nothing_more
    work = supervisor.serve(Instance(home), progress=report, ready=ready, after_start=after_start, deadline=timeout)
    return asyncio.run(work)


@click.command()
@click.option("--purge", is_flag=True, help="Also remove all its data, certificates and logs.")
@name_option
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds until it is killed.")
@text_output
def down(*, purge: bool, name: str, timeout: float, output: str) -> None:
    """Stop what `up` started; its data stays and is there at the next `up`."""
    with reported(output):
        home = Home.of(name)
        stopped = running.bring_down(home, deadline=timeout)
        removed = running.purge(home) if purge else False
        if output == "json":
            click.echo(document({"name": name, "stopped": stopped, "purged": removed}))
            return
        click.echo(f"{name} is stopped" if stopped else f"{name} did not run")
        if purge:
            click.echo(f"its data in {home.path} is removed" if removed else "there was no data")


@click.command()
@click.option("--raw", is_flag=True, help="Print the file's content instead of its path.")
@name_option
def kubeconfig(*, raw: bool, name: str) -> None:
    """Print where the administrator's kubeconfig is: export KUBECONFIG=$(paybill kubeconfig)."""
    with reported("text"):
        home = Home.of(name)
        if not home.kubeconfig.exists():
            raise Blocked("NoInstance", f"there is no instance {name!r}: `paybill up` makes one")
        click.echo(home.kubeconfig.read_text() if raw else str(home.kubeconfig), nl=not raw)


@click.command()
@name_option
@text_output
def doctor(*, name: str, output: str) -> None:
    """Look whether `up` can work on this machine; exit 1 when something that it needs is missing."""
    from paybill.local.doctor import Verdict, examine

    with reported(output):
        checks = [*asyncio.run(examine(Home.of(name))), *_mode(Home.of(name))]
        if output == "json":
            click.echo(document([dataclasses.asdict(check) for check in checks]))
        else:
            Console().print(_as_table(checks))
        if any(check.verdict is Verdict.MISSING for check in checks):
            sys.exit(1)


def _mode(home: Home) -> "list[Check]":
    """Whether the installation on this machine is halted; nothing where none runs."""
    from paybill.cli.connection import ask
    from paybill.cli.halt import notice
    from paybill.local.doctor import Check, Verdict

    instance = running.find(home)
    if instance is None or not instance.ready:
        return []
    try:
        halted = ask(instance.kubeconfig, notice)
    except Failure as failure:
        return [Check("mode", Verdict.WARNING, "not known", failure.message)]
    if halted is None:
        return [Check("mode", Verdict.OK, "Full: everything is done")]
    return [Check("mode", Verdict.WARNING, halted, "`paybill resume` ends it")]


COMMANDS: tuple[click.Command, ...] = (up_command(), down, kubeconfig, doctor)


def progress(line: str) -> None:
    """One line about what is going on, for people."""
    click.echo(line, err=True)


def show(instance: RunningInstance, output: str, state: str) -> None:
    """How to use a running instance; no secret is in it, only where the secrets are."""
    if output == "json":
        click.echo(document(facts(instance)))
        return
    click.echo(f"The instance {instance.home.name} {state}.")
    click.echo(f"  kubectl:  export KUBECONFIG={instance.kubeconfig}")
    if instance.psql:
        click.echo(f"  psql:     {instance.psql}")
    click.echo(f"  logs:     {instance.home.logs}")


def facts(instance: RunningInstance) -> dict[str, Any]:
    """A running instance as programs see it."""
    return {
        "name": instance.home.name,
        "pid": instance.pid,
        "api_url": instance.api_url,
        "kubeconfig": str(instance.kubeconfig),
        "psql": instance.psql,
        "logs": str(instance.home.logs),
    }


def _found(home: Home) -> RunningInstance:
    instance = running.find(home)
    if instance is None:
        raise Blocked("NotStarted", f"the instance in {home.path} ended while it was starting: see {home.logs}")
    return instance


def _require_local() -> None:
    if sys.platform != "linux":
        raise Blocked("NotLinux", "the local control plane needs Linux; use kind here (kind-config.yaml)")
    if importlib.util.find_spec("cryptography") is None:
        raise Blocked("ExtraMissing", "the local control plane needs the extra `local`: pip install 'paybill[local]'")


def _require_agents(agents: Path | None) -> None:
    if agents is not None and importlib.util.find_spec("mcp") is None:
        raise Blocked("ExtraMissing", "--agents needs the extra `agents`: pip install 'paybill[local,agents]'")


def _as_table(checks: "list[Check]") -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("CHECK", "", "FOUND", "WHAT TO DO"):
        table.add_column(title, overflow="fold")
    for check in checks:
        table.add_row(check.name, f"[{_STYLES[check.verdict]}]{check.verdict}[/]", check.found, check.advice)
    return table
