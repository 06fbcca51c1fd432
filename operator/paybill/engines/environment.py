"""The environment of a worker: what is named here and nothing else.

The operator's own environment has logins of its own (to its cluster, to its databases, and on a cloud to all of it),
and every tool that an engine starts inherits what the worker has.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import paybill

PASSED = (
    "PATH",
    "LANG",
    # Where tools and what they need are; none is a secret.
    "PAYBILL_PULUMI",
    "PAYBILL_PULUMI_PLUGINS",
    "PAYBILL_TERRAFORM",
    "TF_CLI_CONFIG_FILE",
    "TF_PLUGIN_CACHE_DIR",
    # How this house reaches the clouds.
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
"""The variables of ours that a worker gets."""


NAMELESS = "paybill"
"""What an account is called that the system has no name for, as in a container."""


def account() -> str:
    """The name of the account that we run as: tools write it into the locks that they take."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return NAMELESS


def worker_environment(home: Path, temporary: Path, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """All that a worker sees: ``home`` is its work folder, so nobody's dotfiles are read or written."""
    passed = {name: ours[name] for name in PASSED if name in ours}
    return {
        "PATH": os.defpath,
        **passed,
        "HOME": str(home),
        # Where the system has no name for the account, tools take this one, and Pulumi takes no lock without any.
        "USER": account(),
        "TMPDIR": str(temporary),
        # Where this very code is, wherever it was started from; the tools that load programs need it too.
        "PYTHONPATH": str(Path(paybill.__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
