"""Where the local control plane keeps things: a cache that may be thrown away and one folder of state per instance.

Binaries are the same for every instance and cost minutes to build, so they live in the user's cache. Everything an
instance must find again after ``paybill down`` (data, certificates, ports, logs) lives in one folder, so removing
that folder removes the instance. The folder holds private keys and data: 0700, and 0600 for every file.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paybill.api.failures import Invalid
from paybill.files import write_private

__all__ = [
    "DEFAULT_NAME",
    "Home",
    "cache_folder",
    "make_folder",
    "private_folder",
    "state_folder",
    "write_private",
]

DEFAULT_NAME = "local"
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what can be fetched or built again: ``$PAYBILL_CACHE``, else the user's cache folder."""
    return _folder(environ, own="PAYBILL_CACHE", base="XDG_CACHE_HOME", fallback=".cache")


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds one sub-folder per instance: ``$PAYBILL_HOME``, else the user's state folder."""
    return _folder(environ, own="PAYBILL_HOME", base="XDG_STATE_HOME", fallback=".local/state")


def _folder(environ: Mapping[str, str], *, own: str, base: str, fallback: str) -> Path:
    if environ.get(own):
        return Path(environ[own]).expanduser().absolute()
    if environ.get(base):
        return Path(environ[base]).absolute() / "paybill"
    return Path.home() / fallback / "paybill"


@dataclass(frozen=True)
class Home:
    """The folder of one instance and the place of each thing in it; nothing is created by naming it."""

    path: Path

    @classmethod
    def of(cls, name: str = DEFAULT_NAME, environ: Mapping[str, str] = os.environ) -> "Home":
        """The home of the instance ``name``: lower-case letters, digits and dashes, at most 40 characters."""
        if not name or len(name) > 40 or not set(name) <= _NAME_CHARACTERS or name.startswith("-"):
            raise Invalid(
                "InstanceName", f"{name!r} is no instance name: use at most 40 lower-case letters, digits and dashes"
            )
        return cls(state_folder(environ) / name)

    @property
    def name(self) -> str:
        """The instance's name, which is its folder's."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """The file that the running supervisor holds locked; its content is that supervisor's process id."""
        return self.path / "lock"

    @property
    def state(self) -> Path:
        """What the instance was given and where it listens, as JSON."""
        return self.path / "state.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.path / "kubeconfig"

    @property
    def control_database(self) -> Path:
        """The file with the control database's connection string, once Paybill was installed."""
        return self.path / "control-database"

    @property
    def certificates(self) -> Path:
        """Authorities, certificates and keys."""
        return self.path / "certificates"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.path / "logs"

    @property
    def etcd(self) -> Path:
        """etcd's data."""
        return self.path / "etcd"

    @property
    def postgres(self) -> Path:
        """Postgres' data, unless the account it runs as cannot reach this folder (see postgres.py)."""
        return self.path / "postgres"

    @property
    def servers(self) -> Path:
        """The Postgres servers of tenants that have one of their own (see keeper.py)."""
        return self.path / "servers"

    @property
    def agents_database(self) -> Path:
        """The file with the connection string by which the agents' journal is read, once agents were shown."""
        return self.path / "agents-database"

    @property
    def gateways(self) -> Path:
        """The gateways of tenants' agents (see agents_gateways.py)."""
        return self.path / "gateways"

    def create(self) -> None:
        """Make the folder and those in it, readable by their owner only."""
        private_folder(self.path)
        if os.geteuid() == 0:
            self.path.chmod(0o711)  # Postgres, under another account, must pass through to its own folder
        for folder in (self.certificates, self.logs):
            private_folder(folder)

    def read_state(self) -> dict[str, Any]:
        """The state file's content; empty when there is none or it was cut short by a crash."""
        try:
            content = json.loads(self.state.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return content if isinstance(content, dict) else {}

    def write_state(self, **changes: Any) -> None:
        """Merge ``changes`` into the state file; a value of ``None`` removes its key."""
        state = {key: value for key, value in (self.read_state() | changes).items() if value is not None}
        write_private(self.state, json.dumps(state, indent=2, sort_keys=True) + "\n")

    def remove(self) -> None:
        """Remove the instance's folder with all its data."""
        if self.path.exists():
            shutil.rmtree(self.path)


def make_folder(path: Path) -> Path:
    """Make ``path`` a folder, with those above it, for things that are no secret, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def private_folder(path: Path) -> Path:
    """Make ``path`` a folder that only its owner may enter, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
