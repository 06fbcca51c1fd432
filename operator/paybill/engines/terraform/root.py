"""The generated root of a stack: a backend, the provider, and one call of a module, ours or the user's own.

The module gets those of our variables that it declares; what it outputs is handed over by the names of StackOutputs.
Values are in a file that only we may read, never on a command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paybill.api.cell import CellProvider
from paybill.desired.stack import StackInputs, StackOutputs
from paybill.engines.operation import Exit, Request
from paybill.engines.port import EngineError
from paybill.engines.terraform import declared
from paybill.engines.terraform.backends import ENDPOINTS
from paybill.engines.terraform.declared import Declared
from paybill.engines.terraform.holding import DATA_OUTPUT

MODULES = Path(__file__).parent / "modules"
BUILT_IN: dict[CellProvider, tuple[str, str]] = {"AWS": ("aws", "hashicorp/aws"), "IBM": ("ibm", "IBM-Cloud/ibm")}
"""The name and the source of the provider, by cloud; the module's folder has the provider's name."""
HANDED = (*StackOutputs.model_fields, DATA_OUTPUT)
ROOT, VALUES = "main.tf.json", "inputs.auto.tfvars.json"


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module, and what it takes and gives."""

    path: Path
    declared: Declared
    provider: tuple[str, str] | None
    """Of a built-in one: its provider's name and source. A module of one's own configures its own."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the built-in module for {self.path.name}" if self.provider else f"the module {self.path}"


def module(request: Request) -> Module:
    """The module that a request is about; raises EngineError when there is none or it lacks an output."""
    inputs = request.inputs
    if request.path:
        folder = Path(request.path).resolve()
        if not folder.is_dir():
            happened = f"{request.path} is not a folder: spec.engine.modulePath must be a module's folder"
            raise EngineError(Exit.USER, "ModuleInvalid", happened)
        found = Module(path=folder, declared=declared.read(folder), provider=None)
    elif inputs.provider in BUILT_IN:
        folder = MODULES / BUILT_IN[inputs.provider][0]
        found = Module(path=folder, declared=declared.read(folder), provider=BUILT_IN[inputs.provider])
    else:
        there = " and ".join(sorted(BUILT_IN))
        happened = (
            f"there are Terraform modules for {there}, not for {inputs.provider}: use Pulumi or spec.engine.modulePath"
        )
        raise EngineError(Exit.USER, "ModuleMissing", happened)
    if missing := sorted(required(inputs) - found.declared.outputs):
        raise EngineError(Exit.USER, "OutputsMissing", missing_text(found, missing))
    return found


def required(inputs: StackInputs) -> frozenset[str]:
    """The outputs without which a tenant cannot be served."""
    return frozenset({"database"}) if inputs.level == "Server" and inputs.database is not None else frozenset()


def missing_text(found: Module, missing: list[str]) -> str:
    """The sentence about outputs that a module does not give."""
    return f"{found.name} does not give {', '.join(missing)}: add an output of that name (see the docs on own modules)"


def values(inputs: StackInputs, *, protect: bool) -> dict[str, Any]:
    """All variables that a module may ask for."""
    content = inputs.model_dump(mode="json")
    named = {"name": inputs.name, "suffixed": inputs.suffixed, "stack": inputs.stack, "tags": inputs.tags()}
    return content | named | {"protect": protect}


def document(
    found: Module, backend: Mapping[str, Any], inputs: StackInputs, credentials: Mapping[str, str]
) -> dict[str, Any]:
    """The root's content. ``backend``: its ``backend`` block."""
    passed = sorted(found.declared.variables & values(inputs, protect=True).keys())
    terraform: dict[str, Any] = {"required_version": ">= 1.6", "backend": dict(backend)}
    content: dict[str, Any] = {
        "terraform": terraform,
        "variable": {"inputs": {"type": "any", "description": "What the infrastructure follows from."}},
        "module": {"stack": {name: f"${{var.inputs.{name}}}" for name in passed}},
    }
    outputs = [name for name in HANDED if name in found.declared.outputs]
    if outputs:  # an empty block is an error
        content["output"] = {name: {"value": f"${{module.stack.{name}}}", "sensitive": True} for name in outputs}
    if found.provider is not None:
        name, source = found.provider
        terraform["required_providers"] = {name: {"source": source}}
        content["provider"] = {name: _PROVIDERS[name](inputs, credentials)}
    return content


def write(
    folder: Path, found: Module, backend: Mapping[str, Any], inputs: StackInputs, credentials: Mapping[str, str]
) -> None:
    """Write the root into ``folder``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = document(found, backend, inputs, credentials)
    # Relative, because Terraform copies a module with an absolute path as a package, and that breaks its own "../".
    content["module"]["stack"]["source"] = _relative(found.path, folder)
    _private(folder / ROOT, content)
    write_values(folder, inputs, protect=True)


def write_values(folder: Path, inputs: StackInputs, *, protect: bool) -> None:
    """Write the variables' values; ``protect``: whether the cloud's deletion protection is on."""
    _private(folder / VALUES, {"inputs": values(inputs, protect=protect)})


def _relative(path: Path, folder: Path) -> str:
    text = os.path.relpath(path, folder.resolve())
    return text if text.startswith("..") else f"./{text}"


def _private(path: Path, content: Any) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)


def _aws(inputs: StackInputs, credentials: Mapping[str, str]) -> dict[str, Any]:
    block: dict[str, Any] = {"region": "${var.inputs.region}", "default_tags": {"tags": "${var.inputs.tags}"}}
    if account := inputs.foundation.get("account_id"):
        block["allowed_account_ids"] = [account]  # a login of another account makes nothing
    if any(credentials.get(name) for name in ENDPOINTS):
        block["s3_use_path_style"] = True  # at one address there is no host name per bucket
    return block


def _ibm(_: StackInputs, __: Mapping[str, str]) -> dict[str, Any]:
    return {"region": "${var.inputs.region}"}


_PROVIDERS = {"aws": _aws, "ibm": _ibm}
