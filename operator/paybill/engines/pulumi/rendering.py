"""The full list of what Pulumi would make for a tenant, without its CLI, a login, a network or a state.

This is the caller's side, which imports no SDK; the program runs in a process of its own (``render_worker``).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from paybill.desired.stack import StackInputs
from paybill.engines.environment import worker_environment
from paybill.engines.rendered import RenderedResource, RenderError, Rendering, RenderRequest

LONGEST_SECONDS = 300.0
"""A cloud's SDK takes ten seconds to load, on a machine that is busy or has read it never before a minute."""


def render(inputs: StackInputs) -> list[RenderedResource]:
    """The resources in the order of their addresses; raises RenderError."""
    return list(rendering(inputs).resources)


def rendering(inputs: StackInputs, *, examples: bool = False) -> Rendering:
    """The resources and what they would hand over; raises RenderError with a reason and words for people.

    ``examples``: whether examples stand in for what the foundation does not give.
    """
    request = RenderRequest(inputs=inputs, examples=examples)
    with tempfile.TemporaryDirectory(prefix="paybill-render-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "paybill.engines.pulumi.render_worker"],
                input=request.model_dump_json().encode(),
                capture_output=True,
                env=worker_environment(Path(folder), Path(folder)),
                cwd=folder,
                timeout=LONGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as failure:
            raise RenderError("RenderTimeout", f"the program did not end within {LONGEST_SECONDS:.0f} s") from failure
    try:
        content = json.loads(done.stdout)
    except ValueError as failure:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise RenderError("RenderFailed", f"the rendering process ended with {done.returncode}: {said}") from failure
    if "error" in content:
        reason, message = content["error"]["reason"], content["error"]["message"]
        raise RenderError(reason, message)
    return Rendering.model_validate(content)
