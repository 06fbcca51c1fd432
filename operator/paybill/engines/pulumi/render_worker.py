"""The process that renders: ``python -m paybill.engines.pulumi.render_worker``, a RenderRequest on its standard input.

It writes one JSON document, a Rendering or ``{"error": {"reason": …, "message": …}}``, and ends. The SDK keeps what it
knows in globals of the process, and a cloud's SDK costs hundreds of megabytes: both go when it ends.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paybill.desired.stack import FoundationMissing, StackInputs, StackOutputs
from paybill.engines.pulumi.programs import catalog
from paybill.engines.pulumi.recording import record
from paybill.engines.pulumi.shown import LATER
from paybill.engines.rendered import SECRET, RenderError, Rendering, RenderRequest

EXTRAS = {
    "pulumi_aws": "aws",
    "pulumi_azure_native": "azure",
    "pulumi_gcp": "gcp",
    "pulumi_oci": "oci",
    "pulumi_kubernetes": "kubernetes",
    "cryptography": "kubernetes",
}
"""Which extra of the distribution brings a module."""


class Exemplified(dict[str, str]):
    """A foundation in which examples stand in for what is not given; it remembers which."""

    def __init__(self, given: Mapping[str, str], examples: Mapping[str, str]) -> None:
        super().__init__(given)
        self._examples = examples
        self.used: dict[str, str] = {}

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value that is given, else the example, else ``default``."""
        value = super().get(name)
        if not value and name in self._examples:
            value = self.used[name] = self._examples[name]
        return value or default


def answered(request: RenderRequest) -> Rendering:
    """The rendering that is asked for."""
    if not request.examples:
        return rendered(request.inputs)
    foundation = Exemplified(request.inputs.foundation, catalog.program(request.inputs.provider).EXAMPLE)
    # Not validated again: that would make a plain dict of it.
    found = rendered(request.inputs.model_copy(update={"foundation": foundation}))
    return found.model_copy(update={"examples": dict(sorted(foundation.used.items()))})


def rendered(inputs: StackInputs) -> Rendering:
    """What the program declares. It is run twice, for it must not depend on what a preview cannot know."""
    resources, handed = _run(inputs, preview=False)
    previewed, _ = _run(inputs, preview=True)
    differing = {one.address for one in resources} ^ {one.address for one in previewed}
    if differing:
        raise RenderError(
            "PreviewDiffers",
            f"a preview does not show {', '.join(sorted(differing))}, which depends on what only the cloud knows",
        )
    return Rendering(resources=tuple(resources), outputs=_masked(StackOutputs.model_validate(handed)))


def _run(inputs: StackInputs, *, preview: bool) -> tuple[list[Any], dict[str, Any]]:
    return record(
        lambda: catalog.declare(inputs),
        project=inputs.project,
        stack=inputs.stack,
        region=inputs.region,
        preview=preview,
    )


def _masked(outputs: StackOutputs) -> StackOutputs:
    database = outputs.database
    if database is None:
        return outputs
    # A program that makes the authority itself makes another one each time.
    shown = {"admin_password": SECRET if database.admin_password else None, "ca": LATER if database.ca else None}
    return outputs.model_copy(update={"database": database.model_copy(update=shown)})


def main() -> int:
    """Answer one request; 1 when there is no rendering, with the reason in the answer."""
    # Whatever a program prints goes where people look for it, and not into the answer.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    content: dict[str, Any]
    try:
        content = answered(RenderRequest.model_validate_json(sys.stdin.buffer.read())).model_dump(mode="json")
    except Exception as failure:  # noqa: BLE001 - a program may raise anything, and its author needs to see where
        told = _told(failure)
        content = {"error": {"reason": told.reason, "message": str(told)}}
    with answer:
        json.dump(content, answer)
    return 1 if "error" in content else 0


def _told(failure: Exception) -> RenderError:
    match failure:
        case RenderError():
            return failure
        case FoundationMissing():
            return RenderError("FoundationMissing", str(failure))
        case catalog.NoProgramError():
            return RenderError("NoProgram", str(failure))
        case ModuleNotFoundError(name=str(module)) if not module.startswith("paybill"):
            return RenderError(
                "SDKMissing", f"{module} is not installed: pip install 'paybill[{EXTRAS.get(module, 'pulumi')}]'"
            )
        case _:
            said = f"the program raised {type(failure).__name__}: {failure} ({_place(failure)})"
            return RenderError("ProgramFailed", said)


def _place(failure: BaseException) -> str:
    """Where it was raised: the innermost line of a program, not of the SDK that called it back."""
    frames = traceback.extract_tb(failure.__traceback__)
    own = [one for one in frames if "/programs/" in one.filename] or list(frames)
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}"


if __name__ == "__main__":
    sys.exit(main())
