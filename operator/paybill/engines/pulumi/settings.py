"""What the CLI is told besides its arguments, for one operation. Every setting has its reason here.

Secrets are in none of the arguments and in no file but the passphrase's, which only the worker's account can read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pulumi.automation import ProjectBackend, ProjectSettings, StackSettings

from paybill.engines.operation import Exit, Request
from paybill.engines.port import EngineError

PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"  # noqa: S105 - a name
"""Among the credentials: what secrets in the state are encrypted with, when nothing else does."""
PARALLEL = 8
"""Resources at the same time: the CLI's default follows the machine, and costs gigabytes with some providers."""

FIXED: Mapping[str, str] = {
    # Neither asks the outside world anything that is not about the stack.
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    # Plugins are those of the image, and not whatever PATH has.
    "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
    # The stack's settings file is lost with the folder; the state knows how its secrets are encrypted.
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    # Dynamic providers run in the interpreter that we run in, with the same packages.
    "PULUMI_PYTHON_CMD": sys.executable,
}


class Folders:
    """The folders of one operation, below its own."""

    def __init__(self, request: Request) -> None:
        base = Path(request.work_dir)
        self.project = base / "pulumi"
        """Where the CLI runs and the project's settings are."""
        self.home = base / "pulumi-home"
        """PULUMI_HOME: nothing that another operation could be confused by, or write at the same time."""
        self.scratch = base / "pulumi-scratch"
        """Output of commands, in files that have no name."""
        self.aside = base / "pulumi-aside"
        """The project's settings where it is looked at what would become of a stack that is not as it is."""
        self.aside_state = base / "pulumi-aside-state"
        """The state then: of a stack that does not exist yet, or of one whose protection stands in the way."""
        for folder in (self.project, self.home, self.scratch, self.aside, self.aside_state):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        plugins = os.environ.get("PAYBILL_PULUMI_PLUGINS")
        if plugins and not (self.home / "plugins").exists():
            (self.home / "plugins").symlink_to(plugins)


def state_url(request: Request) -> str:
    """Where the state is; raises EngineError when the Cell does not say it."""
    if not request.state_url:
        message = f"Cell {request.inputs.cell} does not say where Pulumi keeps its state: add spec.engine.state.url"
        raise EngineError(Exit.USER, "StateMissing", message)
    return request.state_url


def environment(request: Request, folders: Folders, *, url: str) -> dict[str, str]:
    """The variables of the CLI and of the providers that it starts: logins too, which only these get."""
    logins = {name: value for name, value in request.credentials.items() if name != PASSPHRASE}
    path = [request.path, os.environ.get("PYTHONPATH")]
    ours = {
        "PULUMI_BACKEND_URL": url,
        # Dynamic providers are loaded in processes of their own, from the modules of the user's folder.
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    # The last word is ours: a login must not replace where the state is or which plugins run.
    return {**logins, **FIXED, **ours, **_passphrase(request, folders)}


def _passphrase(request: Request, folders: Folders) -> dict[str, str]:
    passphrase = request.credentials.get(PASSPHRASE)
    if passphrase:
        path = folders.home / "passphrase"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(passphrase)
        return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(path)}
    if request.secrets_provider in (None, "", "default", "passphrase"):
        message = (
            f"Secrets in the state of cell {request.inputs.cell} have nothing to be encrypted with: set "
            f"spec.engine.secretsProvider (such as awskms://…), or put {PASSPHRASE} into the Secret of spec.credentials"
        )
        raise EngineError(Exit.USER, "PassphraseMissing", message)
    return {}


def project_settings(request: Request, *, url: str) -> ProjectSettings:
    """The project's settings file."""
    return ProjectSettings(name=request.inputs.project, runtime="python", backend=ProjectBackend(url=url))


def stack_settings(request: Request) -> StackSettings:
    """The stack's settings file: no resource without an explicit provider, whatever the machine is logged in to."""
    config = {"pulumi:disable-default-providers": ["*"]}
    return StackSettings(secrets_provider=request.secrets_provider or None, config=config)
