"""What the built-in modules would make for a tenant, shown without the program, a provider or a login.

The files are parsed and what follows from the inputs is worked out; what only a cloud knows stays an expression. A
resource of a ``for_each`` is shown once, with ``["*"]``. For IBM this is all the proof there is: its provider was not
run (``unverified`` at the head of its module).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paybill.desired.stack import FoundationMissing, StackInputs
from paybill.engines.rendered import RenderedOptions, RenderedResource, RenderError
from paybill.engines.terraform.expressions import LATER, Scope
from paybill.engines.terraform.holding import DATA_TYPES, MODULE
from paybill.engines.terraform.root import BUILT_IN, MODULES, values

_META = ("count", "for_each", "depends_on", "lifecycle", "timeouts", "provider")
_NAMES = ("bucket_name", "bucket", "identifier", "key_name", "name")
"""Arguments that hold a physical name, the most particular one first."""
_REFERENCE = re.compile(r"\b([a-z]+_[a-z0-9_]+)\.([a-z0-9_]+)\b")


EXAMPLES: dict[str, dict[str, str]] = {
    "IBM": {
        "cluster_crn": "crn:v1:bluemix:public:containers-kubernetes:eu-de:a/0123456789abcdef::cluster::",
        "secrets_manager_id": "11111111-2222-3333-4444-555555555555",
        "resource_group_id": "0123456789abcdef0123456789abcdef",
        "bucket": "shared-example",
        "key_crn": "crn:v1:bluemix:public:kms:eu-de:a/0123456789abcdef:instance:key:example",
    }
}
"""What stands in for a Cell's foundation where there is no Cell."""


def render(inputs: StackInputs) -> list[RenderedResource]:
    """The resources in the order of their addresses; raises RenderError."""
    if inputs.provider not in BUILT_IN:
        raise RenderError("NoProgram", f"there is no Terraform module for {inputs.provider}")
    provider, _ = BUILT_IN[inputs.provider]
    blocks = parsed(MODULES / provider)
    scope = Scope(values(inputs, protect=True), _locals(blocks), inputs.required)
    declared = list(_resources(blocks))
    try:
        made = [
            (f"{kind}.{name}", index, block)
            for kind, name, block in declared
            if (index := _index(block, scope)) is not None
        ]
        addresses = {plain: f"{MODULE}{plain}{index}" for plain, index, _ in made}
        shown = [_shown(plain, block, scope, inputs, addresses) for plain, _, block in made]
    except FoundationMissing as failure:
        raise RenderError("FoundationMissing", str(failure)) from failure
    return sorted(shown, key=lambda one: one.address)


def parsed(folder: Path) -> list[dict[str, Any]]:
    """The files of a module as python-hcl2 reads them; raises RenderError when it is not installed."""
    try:
        hcl2 = importlib.import_module("hcl2")
    except ModuleNotFoundError as failure:
        happened = "to show a Terraform module, python-hcl2 must be installed: pip install 'python-hcl2>=8,<9'"
        raise RenderError("SDKMissing", happened) from failure
    return [hcl2.loads(path.read_text()) for path in sorted(folder.glob("*.tf"))]


def _locals(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for one in blocks for block in one.get("locals", ()) for name, value in block.items()}


def _resources(blocks: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for one in blocks:
        for resource in one.get("resource", ()):
            for kind, named in resource.items():
                if not kind.startswith("__"):
                    yield from ((kind.strip('"'), name.strip('"'), block) for name, block in named.items())


def _shown(
    plain: str, block: dict[str, Any], scope: Scope, inputs: StackInputs, addresses: dict[str, str]
) -> RenderedResource:
    """One resource; ``plain`` is its address in the module, ``addresses`` are those of all that there are."""
    kind, _, name = plain.partition(".")
    given = {field: scope.shown(value) for field, value in block.items() if field not in (*_META, "dynamic")}
    given = {field: value for field, value in given.items() if not field.startswith("__") and value is not None}
    given |= _dynamic(block, scope)
    needs = {f"{one}.{other}" for one, other in _REFERENCE.findall(repr(block))} & addresses.keys() - {plain}
    data = kind in DATA_TYPES
    return RenderedResource(
        address=addresses[plain],
        type=kind,
        name=name,
        physical=next((str(given[field]) for field in _NAMES if _is_name(given.get(field))), ""),
        inputs=given,
        options=RenderedOptions(
            protect=data,
            retain=data and inputs.retain,
            provider=kind.split("_")[0],
            timeouts={name: text for one in block.get("timeouts", ()) for name, text in scope.shown(one).items()},
        ),
        depends_on=tuple(sorted(addresses[one] for one in needs)),
        data=data,
    )


def _index(block: dict[str, Any], scope: Scope) -> str | None:
    """How the resource's address goes on; None when there is none of it."""
    if "count" in block:
        count = scope.value(block["count"]) if isinstance(block["count"], str) else block["count"]
        return None if count == 0 else "[0]"
    if "for_each" in block:
        each = scope.value(block["for_each"])
        return None if each is not LATER and not each else '["*"]'
    return ""


def _dynamic(block: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """Blocks that there is one of for each of something: shown once each."""
    found: dict[str, Any] = {}
    for one in block.get("dynamic", ()):
        for kind, body in one.items():
            if not kind.startswith("__"):
                found.setdefault(kind.strip('"'), []).extend(scope.shown(body["content"]))
    return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "${" not in value
