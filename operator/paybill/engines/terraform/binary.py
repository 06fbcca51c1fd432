"""Which terraform or tofu is run, and what of the worker's environment it sees."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from paybill.engines.environment import PASSED
from paybill.engines.operation import Exit
from paybill.engines.port import EngineError

OLDEST = (1, 6, 0)
LOCKS_ON_S3 = (1, 10, 0)
"""Since then the S3 backend locks with a file beside the state (use_lockfile), in both programs."""
PROGRAM = "PAYBILL_TERRAFORM"
_PASSED = frozenset(PASSED) - {"PAYBILL_PULUMI", "PAYBILL_PULUMI_PLUGINS", PROGRAM} | {"HOME", "TMPDIR"}
_OURS = {
    "CHECKPOINT_DISABLE": "1",
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "0",
    # A login that the request does not give is none: not the machine's role, not a file in somebody's home.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_FORBIDDEN = re.compile(r"^(PATH|HOME|LD_.*|TF_(?!VAR_|TOKEN_).*)$")


@dataclass(frozen=True, kw_only=True)
class Binary:
    """The program that is run."""

    path: str
    version: tuple[int, int, int]


def environment(ambient: Mapping[str, str], credentials: Mapping[str, str]) -> dict[str, str]:
    """What the program sees: what a worker passes on to tools, ours, and the credentials; nothing else.

    Raises EngineError when a credential would change which program runs or what it does.
    """
    wrong = sorted(name for name in credentials if _FORBIDDEN.match(name))
    if wrong:
        happened = f"the credentials hold {', '.join(wrong)}, which is no login: take it out of the Cell's Secret"
        raise EngineError(Exit.USER, "CredentialsRefused", happened)
    passed = {name: ambient[name] for name in _PASSED if name in ambient}
    return {"PATH": os.defpath} | passed | _OURS | dict(credentials)


def find(ambient: Mapping[str, str]) -> Binary:
    """The program to run; raises EngineError when there is none, or one that is too old."""
    named = ambient.get(PROGRAM)
    search = ambient.get("PATH", os.defpath)
    path = next(
        filter(None, (shutil.which(name, path=search) for name in ((named and [named]) or ["terraform", "tofu"]))), None
    )
    if path is None:
        looked = f"{PROGRAM} names {named}, which is no program" if named else "neither terraform nor tofu is on PATH"
        happened = f"{looked}: install Terraform or OpenTofu 1.6 or newer, or set {PROGRAM}"
        raise EngineError(Exit.USER, "CliMissing", happened)
    version = _version(path, environment(ambient, {}))
    if version < OLDEST:
        happened = f"{path} is version {'.'.join(map(str, version))}; 1.6 or newer is needed"
        raise EngineError(Exit.USER, "CliTooOld", happened)
    return Binary(path=path, version=version)


def _version(path: str, env: Mapping[str, str]) -> tuple[int, int, int]:
    try:
        ran = subprocess.run(  # noqa: S603 - the program that the installation chose
            [path, "version", "-json"], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
        )
        answer = json.loads(ran.stdout)["terraform_version"]
        major, minor, patch = re.match(r"(\d+)\.(\d+)\.(\d+)", answer).groups()  # type: ignore[union-attr]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError) as error:
        happened = f"{path} does not say its version ({type(error).__name__}): is it Terraform or OpenTofu?"
        raise EngineError(Exit.USER, "CliMissing", happened) from error
    return int(major), int(minor), int(patch)
