"""Requests for the tests of the engines."""

import sys
from pathlib import Path
from typing import Any

from paybill.desired.stack import StackInputs
from paybill.engines.operation import Request

STAND_IN = (sys.executable, "-P", str(Path(__file__).with_name("stand_in.py")))
"""The command of the worker with the engine for tests."""


def stack_inputs(**changes: Any) -> StackInputs:
    """What a tenant's stack follows from."""
    return StackInputs.model_validate(
        {
            "provider": "Embedded",
            "model": "Silo",
            "compute": "Shared",
            "level": "Server",
            "tenant_id": "abcd2345",
            "tenant_uid": "0b6c0f4e-6f5e-4d7a-9c55-111111111111",
            "installation": "tests",
            "cell": "here",
            "namespace": "tenant-a",
        }
        | changes
    )


def request(work_dir: Path, behaviour: str = "good", **changes: Any) -> Request:
    """A request for the stand-in."""
    return Request.model_validate(
        {
            "id": work_dir.name,
            "kind": "up",
            "engine": "Embedded",
            "inputs": stack_inputs(),
            "path": behaviour,
            "work_dir": str(work_dir),
        }
        | changes
    )
